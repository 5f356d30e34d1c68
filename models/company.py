"""The company that a request was answered in: what each member of a batch tells of it, so that it can be made again."""

from collections.abc import Sequence
from typing import Protocol

from models.identity import Json

KEY_DIGITS = 16


class Keyed(Protocol):
    """A request of any kind."""

    def key(self) -> str: ...


def companies_of(requests: Sequence[Keyed]) -> list[dict[str, Json]]:
    """For each of the requests that are answered together: how many they are, its place, and the first digits of all
    keys, in order."""
    keys = [request.key()[:KEY_DIGITS] for request in requests]
    return [{"batch": len(keys), "place": place, "keys": keys} for place in range(len(keys))]
