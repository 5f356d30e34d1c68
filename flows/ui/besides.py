"""What is shown besides the work: when it cannot be, that is logged, and the work goes on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger("interlake")


@contextmanager
def besides(what: str) -> Iterator[None]:
    """Log an error within as a warning that names `what`; the lake holds everything that would have been shown."""
    try:
        yield
    except Exception as error:
        LOG.warning("%s could not be shown: %s", what, error)
