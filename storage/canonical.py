"""The canonical encoding behind every content hash: RFC 8785 JSON, then sha256."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import orjson
import rfc8785

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

ID_DIGITS = 32


def canonical_bytes(value: Json) -> bytes:
    """RFC 8785 bytes of a JSON value; ValueError for NaN, lone surrogates and integers beyond 2**53."""
    try:
        return orjson.dumps(_as_common(value), option=_OPTIONS)
    except (_UncommonError, TypeError, RecursionError):  # the other writes it all the same, or says what is wrong
        return rfc8785.dumps(value)


_MOST = 2**53 - 1
_LEAST_FRACTION = 1e-4
"""Fractions from here on have the same shortest digits in both, and no exponent; infinity and NaN are none."""
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SIMPLE = frozenset({str, bool, int, type(None)})


class _UncommonError(Exception):
    """A value that orjson writes otherwise, or that is no JSON."""


def _as_common(value: object) -> object:
    """An equal value of which orjson, many times as fast, writes the very bytes of RFC 8785, or refuses to.

    It escapes the same characters in the same way (section 3.2.2.2). But it writes whole and small floats otherwise,
    and NaN as null, sorts names beyond ASCII by code points instead of UTF-16, and knows more types than JSON has.
    _UncommonError where no such value is known. What need not change is handed back as it is.
    """
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is dict:
        return _with_common_members(cast("dict[str, object]", value))
    if kind is list or kind is tuple:
        return _with_common_items(cast("Sequence[object]", value))
    if kind is float:
        return _common_number(cast("float", value))
    raise _UncommonError


def _with_common_members(members: dict[str, object]) -> object:
    if not "".join(members).isascii():  # TypeError for a name that is no text
        raise _UncommonError
    changed = None
    for name, member in members.items():
        if type(member) not in _SIMPLE:
            common = _as_common(member)
            if common is not member:
                changed = dict(members) if changed is None else changed
                changed[name] = common
    return members if changed is None else changed


def _with_common_items(items: Sequence[object]) -> object:
    changed = None
    for place, item in enumerate(items):
        if type(item) not in _SIMPLE:
            common = _as_common(item)
            if common is not item:
                changed = list(items) if changed is None else changed
                changed[place] = common
    return items if changed is None else changed


def _common_number(number: float) -> float:
    """Whole ones as integers, which is how RFC 8785 writes them."""
    if number.is_integer() and -_MOST <= number <= _MOST:
        return int(number)
    if _LEAST_FRACTION <= abs(number) <= _MOST:
        return number
    raise _UncommonError


def canonical_text(value: Json) -> str:
    return canonical_bytes(value).decode()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_sha256(value: Json) -> str:
    """Hex sha256 over the canonical encoding of a JSON value."""
    return sha256_hex(canonical_bytes(value))


def derive_id(kind: str, *parts: str | int | None) -> str:
    """An id: the first 32 hex digits of the sha256 over the canonical array [kind, *parts]."""
    return content_sha256([kind, *parts])[:ID_DIGITS]


def derive_seed(*parts: str | int) -> int:
    """A seed from 0 to 2**31 - 1, which every backend accepts."""
    return int(content_sha256(["seed", *parts])[:8], 16) & 0x7FFF_FFFF
