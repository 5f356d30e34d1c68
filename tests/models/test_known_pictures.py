"""Known pictures through the shipped encoders: what is the same to them at the shipped thresholds, and what is not.

What the encoders do is written down here as it is; the thresholds were not chosen for it.
"""

import asyncio
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from dedup.decide import Thresholds, decide
from dedup.kept import KeptTurns
from dedup.similarity import Vector, cosine
from dedup.turns import TurnVectors
from flows.settings import THRESHOLDS, default_settings, parse_settings
from models.descriptor_encoder import DescriptorEncoder
from models.drawing import DrawRequest
from models.embedding import EmbedRequest, Encoder
from models.openmoji_painter import OpenmojiPainter
from models.picture import ALGORITHMIC, LARGEST_SIDE, Picture
from models.picture_file import read_picture_file
from models.scene_clip_encoder import SceneClipEncoder

CAPTIONS = {
    "apples": "Three red apples on a wooden table in a kitchen.",
    "boat": "A yellow sailing boat on the sea under a blue sky.",
    "owl": "A barn owl on a branch in a dark forest at night.",
    "car": "A red car on a street in the city.",
    "penguins": "Two penguins on the ice in the snow.",
    "tea": "A cup of tea beside a book.",
}

Edit = Callable[[Image.Image], Image.Image]


def jpeg(quality: int) -> Edit:
    def edit(image: Image.Image) -> Image.Image:
        return Image.open(io.BytesIO(saved(image, "JPEG", quality=quality))).convert("RGB")

    return edit


def crop(share: float) -> Edit:
    """Cut away a share of both sides, evenly."""

    def edit(image: Image.Image) -> Image.Image:
        width, height = image.size
        across, down = round(width * share / 2), round(height * share / 2)
        return image.crop((across, down, width - across, height - down))

    return edit


def brightness(factor: float) -> Edit:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


EDITS: Mapping[str, Edit] = {
    "jpeg 90": jpeg(90),
    "jpeg 60": jpeg(60),
    "three quarters": lambda image: image.resize((384, 384), Image.Resampling.LANCZOS),
    "2 % cropped": crop(0.02),
    "5 % brighter": brightness(1.05),
    "5 % darker": brightness(0.95),
}
HEAVIER: Mapping[str, Edit] = {
    "10 % cropped": crop(0.1),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "grey": lambda image: image.convert("L").convert("RGB"),
}
STILL_THE_SAME = {
    "scene_clip": {"10 % cropped": 6, "mirrored": 6, "grey": 0},
    "descriptor": {"10 % cropped": 0, "mirrored": 0, "grey": 0},
}
"""How many of the six pictures an encoder takes for the same after a heavier edit."""

ENCODERS: Mapping[str, Callable[[], Encoder]] = {"scene_clip": SceneClipEncoder, "descriptor": DescriptorEncoder}


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@cache
def drawn(topic: str) -> Picture:
    painter = OpenmojiPainter()
    who = painter.identity
    size = {"width": 512, "height": 512, "steps": 0, "seed": 1}
    request = DrawRequest(model=who.name, revision=who.revision, caption=CAPTIONS[topic], guidance=0.0, **size)
    return asyncio.run(painter.draw(request)).picture


def edited(picture: Picture, edit: Edit) -> Picture:
    return plain(np.asarray(edit(Image.fromarray(picture.pixels()))))


def plain(pixels: NDArray[np.uint8]) -> Picture:
    return Picture.from_pixels(pixels, source=ALGORITHMIC, marks={})


class Eye:
    """An encoder that ships, with the thresholds that ship for it."""

    def __init__(self, name: str) -> None:
        image, text = THRESHOLDS[name]
        self.name, self.thresholds, self._encoder = name, Thresholds(image=image, text=text), ENCODERS[name]()

    def see(self, subject: Picture | str) -> Vector:
        who = self._encoder.identity
        request = EmbedRequest(model=who.name, revision=who.revision, subject=subject)
        return asyncio.run(self._encoder.embed(request)).vector

    def turn(self, sample_id: str, picture: Picture, caption: str) -> TurnVectors:
        return TurnVectors(sample_id=sample_id, turn=1, image=self.see(picture), text=self.see(caption))

    def groups(self, turns: list[TurnVectors]) -> dict[str, set[str]]:
        """Kept samples, each with those that repeat it."""
        decision = decide(KeptTurns(encoder=self.name), turns, self.thresholds)
        found: dict[str, set[str]] = {sample_id: set() for sample_id in decision.kept_samples}
        for repeat in decision.duplicates:
            found[repeat.kept_sample_id].add(repeat.sample_id)
        return found


@pytest.fixture(scope="module", params=ENCODERS)
def eye(request: pytest.FixtureRequest) -> Eye:
    return Eye(request.param)


def test_the_embedded_profile_has_the_thresholds_of_its_encoder() -> None:
    selection = parse_settings(default_settings("embedded"), Path("interlake.toml")).selection
    assert selection.encoder.backend == "scene_clip"
    assert (selection.duplicates.image, selection.duplicates.text) == THRESHOLDS["scene_clip"]
    assert selection.duplicates.policy == "both"


def test_small_edits_are_repeats_of_their_picture_and_other_topics_are_not(eye: Eye) -> None:
    turns = []
    for topic, caption in CAPTIONS.items():
        turns.append(eye.turn(f"{topic} 0", drawn(topic), caption))
        turns += [eye.turn(f"{topic} {name}", edited(drawn(topic), edit), caption) for name, edit in EDITS.items()]
    assert eye.groups(turns) == {f"{topic} 0": {f"{topic} {name}" for name in EDITS} for topic in sorted(CAPTIONS)}


def test_pictures_of_other_topics_are_far_from_the_threshold(eye: Eye) -> None:
    seen = [eye.see(drawn(topic)) for topic in CAPTIONS]
    nearest = max(cosine(a, b) for place, a in enumerate(seen) for b in seen[:place])
    assert nearest < eye.thresholds.image - 0.05


def test_what_heavier_edits_leave_the_same_is_as_it_was_measured(eye: Eye) -> None:
    same = {
        name: sum(
            cosine(eye.see(drawn(topic)), eye.see(edited(drawn(topic), edit))) >= eye.thresholds.image
            for topic in CAPTIONS
        )
        for name, edit in HEAVIER.items()
    }
    assert same == STILL_THE_SAME[eye.name]


def test_the_same_picture_with_the_caption_of_another_topic_is_no_repeat(eye: Eye) -> None:
    turns = [
        eye.turn("a", drawn("owl"), CAPTIONS["owl"]),
        eye.turn("b", edited(drawn("owl"), EDITS["jpeg 90"]), CAPTIONS["tea"]),
    ]
    assert eye.groups(turns) == {"a": set(), "b": set()}


# Hard files

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
GOOD = plain(np.asarray(RGB))


def exif(orientation: int, *, order: str = "<") -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + chunk + data[33:]


def claiming(width: int, height: int) -> bytes:
    """The good file with another size in its header."""
    header = b"IHDR" + struct.pack(">II", width, height) + GOOD.data[24:29]
    return GOOD.data[:12] + header + struct.pack(">I", zlib.crc32(header)) + GOOD.data[33:]


def hard_files() -> Iterator[tuple[str, bytes, str]]:
    """What it is, the file, and what is said of it."""
    turned = Image.Exif()
    turned[0x0112] = 6
    stills = {"save_all": True, "append_images": [RGB.rotate(180)]}
    yield "cut off", GOOD.data[: len(GOOD.data) // 2], "torn"
    yield "cut off between its parts", GOOD.data[:33], "ends after 33 bytes"
    yield "a JPEG that is called PNG", saved(RGB, "JPEG"), "it is no PNG"
    yield "half a JPEG", saved(RGB, "JPEG")[:300], "it is no PNG"
    yield "a JPEG that EXIF turns", saved(RGB, "JPEG", exif=turned), "it is no PNG"
    yield "a PNG that EXIF turns", with_chunk(GOOD.data, b"eXIf", exif(6)), "shown turned"
    yield "a PNG that EXIF mirrors, big-endian", with_chunk(GOOD.data, b"eXIf", exif(2, order=">")), "shown turned"
    yield "torn EXIF", with_chunk(GOOD.data, b"eXIf", exif(6)[:12]), "not a whole picture"
    yield "alpha", saved(RGB.convert("RGBA"), "PNG"), "another kind of PNG than 8-bit RGB"
    yield "a transparent colour", saved(RGB, "PNG", transparency=(1, 2, 3)), "without transparency"
    yield "greyscale", saved(RGB.convert("L"), "PNG"), "another kind of PNG"
    yield "one bit", saved(RGB.convert("1"), "PNG"), "another kind of PNG"
    yield "a palette", saved(RGB.convert("P"), "PNG"), "another kind of PNG"
    yield "16 bits", saved(Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)), "PNG"), "another kind of PNG"
    yield "an animated GIF", saved(RGB.convert("P"), "GIF", **stills), "it is no PNG"
    yield "an animated WebP", saved(RGB, "WEBP", **stills), "it is no PNG"
    yield "an animated PNG", saved(RGB, "PNG", **stills), "animated"
    yield "a CMYK JPEG", saved(RGB.convert("CMYK"), "JPEG"), "it is no PNG"
    yield "a bomb", claiming(40_000, 40_000), "40,000 x 40,000 pixels"
    yield "a little too wide", claiming(LARGEST_SIDE + 1, 1), f"not 1 to {LARGEST_SIDE:,} a side"
    yield "no size", claiming(0, 24), "0 x 24 pixels"
    yield "another size than its pixels", claiming(20, 25), "other pixels than its size says"


@pytest.mark.parametrize(("data", "said"), [pytest.param(data, said, id=name) for name, data, said in hard_files()])
def test_a_hard_file_is_refused_in_one_sentence(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=r"^not a whole picture: ") as refused:
        Picture.from_bytes(data)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [exif(1), exif(1, order=">"), exif(1)[:8] + b"\0\0", b"Exif\0\0", b""])
def test_exif_that_turns_nothing_is_no_matter(content: bytes) -> None:
    picture = Picture.from_bytes(with_chunk(GOOD.data, b"eXIf", content))
    assert picture.pixel_sha256 == GOOD.pixel_sha256


# The same files, to be looked at


def ramp() -> NDArray[np.uint16]:
    return np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)


GREY = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)


def readable_files() -> Iterator[tuple[str, bytes, NDArray[np.uint8]]]:
    """What it is, the file, and the pixels that it is read as."""
    rgb = np.asarray(RGB)
    stills = {"save_all": True, "append_images": [RGB.rotate(180)], "lossless": True}
    clear = RGB.copy()
    clear.putalpha(0)
    yield "alpha", saved(clear, "PNG"), np.full_like(rgb, 255)
    yield "a transparent colour", saved(Image.new("RGB", (4, 4)), "PNG", transparency=(0, 0, 0)), GREY[-1:, -1:]
    yield "greyscale", saved(Image.fromarray(GREY[:, :, 0]), "PNG"), GREY
    yield "16 bits", saved(Image.fromarray(ramp()), "PNG"), GREY
    yield "16 bits in a TIFF", saved(Image.fromarray(ramp()), "TIFF"), GREY
    yield "a palette", saved(RGB.convert("P"), "PNG"), np.asarray(RGB.convert("P").convert("RGB"))
    yield "CMYK", saved(RGB.convert("CMYK"), "TIFF"), rgb
    yield "an animated WebP", saved(RGB, "WEBP", **stills), rgb
    yield "an animated PNG", saved(RGB, "PNG", **stills), rgb
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = orientation
        yield f"turned {orientation}", saved(unturned(RGB, orientation), "PNG", exif=tags), rgb


def unturned(image: Image.Image, orientation: int) -> Image.Image:
    """The pixels that EXIF's orientation makes `image` of."""
    ways = Image.Transpose
    undo = {
        2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE,
        6: ways.ROTATE_90, 7: ways.TRANSVERSE, 8: ways.ROTATE_270,
    }  # fmt: skip
    return image.transpose(undo[orientation]) if orientation in undo else image


@pytest.mark.parametrize(
    ("data", "pixels"), [pytest.param(data, pixels, id=name) for name, data, pixels in readable_files()]
)
def test_a_hard_file_that_is_only_looked_at_has_defined_pixels(data: bytes, pixels: NDArray[np.uint8]) -> None:
    found = read_picture_file(data).pixels()
    assert np.array_equal(found, np.broadcast_to(pixels, found.shape))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_that_exif_turns_has_the_vector_of_the_upright_one(eye: Eye, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    upright = Image.fromarray(drawn("boat").pixels())
    photograph = read_picture_file(saved(unturned(upright, orientation), "JPEG", exif=tags, quality=90))
    assert cosine(eye.see(drawn("boat")), eye.see(photograph)) >= eye.thresholds.image


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD.data[: len(GOOD.data) // 2], id="cut off"),
        pytest.param(saved(RGB, "JPEG")[:300], id="half a JPEG"),
        pytest.param(claiming(40_000, 40_000), id="a bomb"),
        pytest.param(saved(Image.fromarray(ramp().astype(np.float32)), "TIFF"), id="broken numbers"),
        pytest.param(saved(Image.fromarray(ramp().astype(np.int32)), "TIFF"), id="numbers of 32 bits"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it is no picture that can be read \([^\n]*\)$"):
        read_picture_file(data)
