"""Asking for a picture: a caption and a size in, a marked picture out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from models.identity import Json, ModelIdentity, canonical_sha256
from models.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """One picture to be drawn. `width` and `height` in pixels; `steps` and `guidance` are 0 where they mean nothing."""

    model: str
    revision: str
    caption: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int

    def canonical(self) -> Json:
        return {"kind": "draw"} | {name: getattr(self, name) for name in self.__slots__}

    def key(self) -> str:
        return canonical_sha256(self.canonical())


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture and the licence of what is on it (SPDX expression), as the painter knows it.

    `backend` is what it told of this answer alone (the batch it was drawn in): recorded, never compared.
    """

    picture: Picture
    licence: str
    backend: Mapping[str, Json] = field(default_factory=dict)


class TextToImage(Protocol):
    """Anything that draws captions; raises the errors of `models.errors`."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def at_once(self) -> int:
        """How many requests it can answer at a time; more would only wait inside it. May change as it goes."""
        ...

    async def draw(self, request: DrawRequest) -> Drawing: ...
