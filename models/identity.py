"""Who a model is, and the canonical form of what it is asked."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import rfc8785

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """A model as it is recorded. `name` and `revision` enter every call's key; all else is provenance.

    `licence` is that of what the model makes or is, as an SPDX expression where there is one; `fingerprint`
    is whatever else the backend says of itself (library versions, quantisation, server build).
    """

    name: str
    revision: str
    licence: str
    weights_sha256: str | None = None
    fingerprint: Mapping[str, str] = field(default_factory=dict)


def canonical_sha256(value: Json) -> str:
    """Hex sha256 over the RFC 8785 encoding of a JSON value; ValueError for what JSON cannot hold."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
