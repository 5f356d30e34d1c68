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
    if _is_plain(value):
        try:
            return _encode(value).encode()
        except UnicodeEncodeError:  # a lone surrogate, of which the other tells more
            pass
    return rfc8785.dumps(value)


_MOST = 2**53 - 1
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True).encode


def _is_plain(value: object) -> bool:
    """Whether Python's own encoder, ten times as fast, writes the very bytes of RFC 8785.

    It escapes the same characters in the same way (section 3.2.2.2). But it writes numbers with a fraction otherwise,
    puts names beyond ASCII in another order (by code points instead of UTF-16), and lets integers of any size pass.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return -_MOST <= cast("int", value) <= _MOST
    if kind is list or kind is tuple:
        return all(map(_is_plain, cast("list[object]", value)))
    if kind is dict:
        members = cast("dict[object, object]", value)
        return all(type(name) is str and name.isascii() for name in members) and all(map(_is_plain, members.values()))
    return False


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
