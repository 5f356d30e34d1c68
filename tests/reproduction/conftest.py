"""The fixtures of `tests/flows`, for those who run flows and commands here."""

from tests.flows.conftest import interlake, prefect_server

__all__ = ["interlake", "prefect_server"]
