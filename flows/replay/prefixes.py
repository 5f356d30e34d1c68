"""Ids by their first digits, looked up among those that the packages have."""

import re
from collections.abc import Iterable

from storage.errors import NoSuchThing

_PREFIX = re.compile(r"[0-9a-f]{4,64}")


def find_by_prefix(ids: Iterable[str], prefix: str, *, what: str) -> str:
    """The one id that begins like this; NoSuchThing says what a person can do when it is not one."""
    prefix = prefix.lower()
    if not _PREFIX.fullmatch(prefix):
        raise NoSuchThing(f"{prefix!r} is no id of a {what}: give at least its first 4 hex digits, {_see(what)}")
    found = {each for each in ids if each.startswith(prefix)}
    if len(found) > 1:
        raise NoSuchThing(f"{len(found)} {what}s' ids begin with {prefix}; give more digits")
    if not found:
        raise NoSuchThing(f"no {what}'s id begins with {prefix}; give one of those {_see(what)}")
    return found.pop()


def _see(what: str) -> str:
    return f"that 'interlake sql \"select {what}_id from {what}s\"' shows"
