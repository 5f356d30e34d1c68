"""The canonical encoding behind every content hash: RFC 8785 JSON, then sha256."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import rfc8785

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

ID_DIGITS = 32


def canonical_bytes(value: Json) -> bytes:
    """RFC 8785 bytes of a JSON value; ValueError for NaN, lone surrogates and integers beyond 2**53."""
    return rfc8785.dumps(value)


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
