"""The canonical encoding behind every content hash: RFC 8785 JSON, then sha256."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import rfc8785

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

ID_DIGITS = 32


def canonical_bytes(value: Json) -> bytes:
    """RFC 8785 bytes of a JSON value; ValueError for NaN, lone surrogates and integers beyond 2**53."""
    try:
        return _encode(_plain(value)).encode()
    except (_Uncommon, UnicodeEncodeError):  # the other writes everything, or says what is wrong
        return rfc8785.dumps(value)


_MOST = 2**53 - 1
_LEAST_FRACTION = 1e-4
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True).encode


class _Uncommon(Exception):
    """A value that Python's own encoder may write otherwise than RFC 8785 has it."""


def _plain(value: object) -> object:
    """An equal value of which Python's own encoder, ten times as fast, writes the very bytes of RFC 8785.

    It escapes the same characters in the same way (section 3.2.2.2). But it writes whole floats with a fraction, small
    ones with another exponent, puts names beyond ASCII in another order (by code points instead of UTF-16), and lets
    integers of any size pass. _Uncommon where no such value is known.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict:
        members = cast("dict[str, object]", value)
        try:
            is_ascii = "".join(members).isascii()
        except TypeError as error:  # a name that is no text
            raise _Uncommon from error
        if not is_ascii:
            raise _Uncommon
        return {name: member if type(member) is str else _plain(member) for name, member in members.items()}
    if kind is list or kind is tuple:
        return [member if type(member) is str else _plain(member) for member in cast("list[object]", value)]
    return _plain_number(value)


def _plain_number(value: object) -> int | float:
    """Fractions from 0.0001 on have the same shortest digits in both, and no exponent; infinity and NaN are neither."""
    if type(value) is int and -_MOST <= value <= _MOST:
        return value
    if type(value) is float:
        if value.is_integer() and -_MOST <= value <= _MOST:
            return int(value)
        if not value.is_integer() and _LEAST_FRACTION <= abs(value) <= _MOST:
            return value
    raise _Uncommon


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
