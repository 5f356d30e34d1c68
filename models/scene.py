"""What is on a procedural picture, as the picture itself tells it; knows nothing of captions or pixels."""

import json
from dataclasses import asdict, dataclass

import rfc8785

SCENE_MARK = "interlake:scene"


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneObject:
    """One drawing on the picture: its centre and longest side in pixels, and the colours it was given, if any."""

    name: str
    codepoint: str
    x: int
    y: int
    size: int
    colour: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdrop:
    """The painted place (`field`, `sea`, `table`, …) and its light (`day`, `night`, `sunset`, `space`)."""

    ground: str
    light: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that is on a picture, from back to front, and which of the caption's content words it shows."""

    objects: tuple[SceneObject, ...]
    background: Backdrop
    drawn_words: tuple[str, ...]
    undrawn_words: tuple[str, ...]

    def to_text(self) -> str:
        """Canonical JSON (RFC 8785), the text of the mark `interlake:scene`."""
        return rfc8785.dumps(
            {
                "objects": [asdict(each) for each in self.objects],
                "background": asdict(self.background),
                "drawn_words": list(self.drawn_words),
                "undrawn_words": list(self.undrawn_words),
            }
        ).decode()

    @classmethod
    def from_text(cls, text: str) -> "Scene":
        """The scene of a mark; ValueError when the text is none."""
        try:
            value = json.loads(text)
            return cls(
                objects=tuple(SceneObject(**each) for each in value["objects"]),
                background=Backdrop(**value["background"]),
                drawn_words=tuple(str(word) for word in value["drawn_words"]),
                undrawn_words=tuple(str(word) for word in value["undrawn_words"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a scene: {error}") from error
