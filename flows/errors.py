"""What a user can mend: bad input, told in one sentence. Light, so that the command line can know it."""


class UserError(ValueError):
    """Input that cannot be used; the message says what, where and what to do."""
