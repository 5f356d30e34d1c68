"""Asking for a vector: a picture or a text in, float32 of unit norm out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.identity import Json, ModelIdentity, canonical_sha256
from models.picture import Picture

Vector: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """One thing to be embedded: a picture or a text."""

    model: str
    revision: str
    subject: Picture | str

    def canonical(self) -> Json:
        """The request as recorded: a picture by its hash."""
        what: dict[str, Json] = (
            {"text": self.subject} if isinstance(self.subject, str) else {"image_sha256": self.subject.sha256}
        )
        return {"kind": "embed", "model": self.model, "revision": self.revision} | what

    def key(self) -> str:
        return canonical_sha256(self.canonical())


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """`vector` is float32 of shape (dims,), finite, of unit norm to 1e-5.

    `backend` is what the encoder told of this answer alone (the batch it was computed in): recorded, never compared.
    """

    vector: Vector
    backend: Mapping[str, Json] = field(default_factory=dict)


class Encoder(Protocol):
    """Anything that embeds pictures and texts; vectors of two encoders are never compared."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def at_once(self) -> int:
        """How many requests it can answer at a time; more would only wait inside it. May change as it goes."""
        ...

    @property
    def dims(self) -> int: ...

    async def embed(self, request: EmbedRequest) -> Embedding: ...
