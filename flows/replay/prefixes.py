"""Ids by their first digits, looked up among those that the packages have."""

import re
from collections.abc import Iterable

from storage.errors import NoSuchThing

_PREFIX = re.compile(r"[0-9a-f]{4,64}")


def find_by_prefix(ids: Iterable[str], prefix: str, *, what: str) -> str:
    """The one id that begins like this; NoSuchThing says what a person can do when it is not one."""
    if not _PREFIX.fullmatch(prefix):
        raise NoSuchThing(f"{prefix!r} is no id of a {what}: give at least its first 4 hex digits; see 'interlake sql'")
    found = {each for each in ids if each.startswith(prefix)}
    if len(found) != 1:
        many = f"{len(found)} {what}s' ids begin" if found else f"no {what}'s id begins"
        raise NoSuchThing(f"{many} with {prefix}; {'give more digits' if found else 'see interlake sql'}")
    return found.pop()
