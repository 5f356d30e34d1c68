"""Every way in which asking a model can fail, and what each one means for whoever asked.

ModelError
├── TransientError   the same request may succeed later: ask again, the same seed
├── TerminalError    no request can succeed (backend down, key refused, another model, files missing): stop the run
└── ContentError     this request can never yield usable content: the slot tries another attempt, then fails
"""


class ModelError(Exception):
    """Root of all errors that adapters raise."""


class TransientError(ModelError):
    """The backend could not answer now; `retry_after` seconds is its own wish, if it gave one."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TerminalError(ModelError):
    """The backend cannot answer anything; the message says what is wrong and what to do about it."""


class ContentError(ModelError):
    """The backend answered, but not with content; `reason` is a stable word such as `blank_picture`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
