"""Every way in which asking a model can fail, and what each one means for whoever asked.

ModelError
├── TransientError   the same request may succeed later: ask again, the same seed
│   └── NobodyThere      nobody listens at the address: who would does not run, and holds no memory
├── TerminalError    no request can succeed (backend down, key refused, another model, files missing): stop the run
│   └── RefusedRequest   the backend is there and takes no such request: the settings may be wrong, or this content is
└── ContentError     this request can never yield usable content: the slot tries another attempt, then fails
"""

from collections.abc import Mapping

from models.identity import Json


class ModelError(Exception):
    """Root of all errors that adapters raise."""


class TransientError(ModelError):
    """The backend could not answer now; `retry_after` seconds is its own wish, if it gave one."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NobodyThere(TransientError):
    """The address of the backend refuses connections."""


class TerminalError(ModelError):
    """The backend cannot answer anything; the message says what is wrong and what to do about it."""


class RefusedRequest(TerminalError):
    """The backend refuses this request as it is (400, 413, 422): its settings do not fit, or what it was sent does not.

    Who asks cannot tell which by one request; whoever knows that others like it are answered takes it for the content.
    `said` is what the backend said, without its address: it may be recorded.
    """

    def __init__(self, message: str, *, said: str) -> None:
        super().__init__(message)
        self.said = said


class ContentError(ModelError):
    """The backend answered, but not with content; `reason` is a stable word such as `blank_picture`.

    `backend` are facts about how it was answered, as a reply has them.
    """

    def __init__(self, reason: str, message: str, *, backend: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.backend = backend or {}
