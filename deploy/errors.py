"""What can go wrong with the stack, told to whoever runs it."""


class StackError(Exception):
    """The stack cannot be brought up or down; the message says why, and what to do."""
