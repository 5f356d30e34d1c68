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
    common = _as_common(value)
    if common is not _UNCOMMON:
        try:
            return orjson.dumps(common, option=_OPTIONS)
        except TypeError:  # the other writes it all the same, or says what is wrong
            pass
    return rfc8785.dumps(value)


_MOST = 2**53 - 1
_LEAST_FRACTION = 1e-4
"""Fractions from here on have the same shortest digits in both, and no exponent; infinity and NaN are none."""
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SIMPLE = frozenset({str, bool, int, type(None)})
_NESTED = frozenset({dict, list, tuple})
_UNCOMMON = object()


def _as_common(value: object) -> object:
    """An equal value of which orjson, many times as fast, writes the very bytes of RFC 8785, or refuses to.

    It escapes the same characters in the same way (section 3.2.2.2). But it writes whole and small floats otherwise,
    and NaN as null, sorts names beyond ASCII by code points instead of UTF-16, and knows more types than JSON has.
    _UNCOMMON where no such value is known.
    """
    found: list[object] = [value]
    waiting: list[object] = []
    has_whole_floats = False
    while True:
        for each in found:
            kind = type(each)
            if kind in _SIMPLE:
                continue
            if kind in _NESTED:
                waiting.append(each)
            elif kind is float and _is_whole(cast("float", each)):
                has_whole_floats = True
            elif not (kind is float and _LEAST_FRACTION <= abs(cast("float", each)) <= _MOST):
                return _UNCOMMON
        if not waiting:
            return _with_integers(value) if has_whole_floats else value
        nested = waiting.pop()
        if type(nested) is dict:
            if not _are_common_names(nested):
                return _UNCOMMON
            found = list(nested.values())
        else:
            found = cast("list[object]", nested)


def _with_integers(value: object) -> object:
    """The same with integers for whole floats, as RFC 8785 writes them."""
    if type(value) is dict:
        return {name: _with_integers(member) for name, member in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_with_integers(member) for member in cast("list[object]", value)]
    return int(value) if type(value) is float and _is_whole(value) else value


def _are_common_names(members: dict[object, object]) -> bool:
    try:
        return "".join(cast("dict[str, object]", members)).isascii()
    except TypeError:  # a name that is no text
        return False


def _is_whole(value: float) -> bool:
    return value.is_integer() and -_MOST <= value <= _MOST


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
