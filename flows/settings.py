"""The settings of a lake: interlake.toml, typed, every error one line that names the key and the way out."""

import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from flows.errors import UserError
from flows.judge_settings import JudgeEntry, JudgeSettings
from flows.place_settings import LocalSettings, ServerSettings
from flows.plan_settings import PlanSettings
from flows.section import Name, Section, Share

FILE = "interlake.toml"
UNPINNED = "unpinned"
AS_SERVED = "as-served"

THRESHOLDS = {"scene_clip": (0.94, 0.95), "descriptor": (0.95, 0.85), "fake": (0.95, 0.85)}
"""From which similarities of pictures and of captions turns are the same, by the encoders that come along."""


def _check_revision(revision: str) -> str:
    if revision not in (UNPINNED, AS_SERVED) and not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError("a revision is a commit of 40 hex digits; 'interlake models pin' looks it up")
    return revision


Revision = Annotated[str, AfterValidator(_check_revision)]


class SettingsError(UserError):
    """A setting that cannot be used; the message names file, key and the way out."""


class SamplingSettings(Section):
    """How tokens are chosen; each parameter is sent with each request."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.4
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=0)] = 40
    min_p: Share = 0.05
    repeat_penalty: Annotated[float, Field(ge=1, le=2)] = 1.05


class ChosenModel(Section):
    """A model that the user chooses: `model` as its hub or server names it. `licence` (SPDX) overrides its card."""

    model: Name
    revision: Revision = UNPINNED
    licence: Name | None = None


class EmbeddedChat(Section):
    """A chat model that comes along: `smollm2`, or `fake`, a stand-in for tests and benchmarks."""

    backend: Literal["smollm2", "fake"]
    sampling: SamplingSettings = SamplingSettings()


class ServedChat(ChosenModel):
    """A chat model behind an OpenAI-compatible server; where that is stands under [servers]."""

    backend: Literal["server"]
    licence: Name
    sampling: SamplingSettings = SamplingSettings()


class BatchedChat(ChosenModel):
    """A chat model that vLLM answers in batches, in a process of its own; how it is run stands under [local].

    `context` is what prompt and reply may come to in tokens.
    """

    backend: Literal["vllm"]
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    context: Annotated[int, Field(ge=256, le=1_048_576)] = 8192
    sampling: SamplingSettings = SamplingSettings()


class ChecksAlone(Section):
    """No text critic: the deterministic checks have the last word."""

    backend: Literal["checks"]


class SceneViewer(Section):
    """Looks at pictures of the embedded painter: `scene` compares the caption with what was drawn."""

    backend: Literal["scene", "fake"]


class PictureSize(Section):
    """Sizes in pixels."""

    width: Annotated[int, Field(ge=64, le=2048)] = 512
    height: Annotated[int, Field(ge=64, le=2048)] = 512


class DrawnPictures(PictureSize):
    """`openmoji` composes drawings; steps and guidance mean nothing to it."""

    backend: Literal["openmoji", "fake"]
    steps: ClassVar[int] = 0
    guidance: ClassVar[float] = 0.0


class DiffusedPictures(ChosenModel, PictureSize):
    """A text-to-image pipeline of diffusers, from the hub or a folder; how it is run stands under [local]."""

    backend: Literal["diffusers"]
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    steps: Annotated[int, Field(ge=1, le=200)]
    guidance: Annotated[float, Field(ge=0, le=50)]


WriterSettings: TypeAlias = Annotated[EmbeddedChat | ServedChat | BatchedChat, Field(discriminator="backend")]
CriticSettings: TypeAlias = Annotated[
    EmbeddedChat | ServedChat | BatchedChat | ChecksAlone, Field(discriminator="backend")
]
ViewerSettings: TypeAlias = Annotated[SceneViewer | ServedChat | BatchedChat, Field(discriminator="backend")]
PainterSettings: TypeAlias = Annotated[DrawnPictures | DiffusedPictures, Field(discriminator="backend")]


class RoundSettings(Section):
    """How many rewrites each stage may spend; 0 is one draft and no critique."""

    question: Annotated[int, Field(ge=0, le=10)] = 3
    answer: Annotated[int, Field(ge=0, le=10)] = 3
    image: Annotated[int, Field(ge=0, le=10)] = 3


class GenerationSettings(Section):
    """Everything that shapes what is made; it enters the id of every sample.

    `repeated_question` is the share of words in common with an earlier question of the dialogue from which one is
    rewritten; without it, as in lakes from before there was one, only a question that is word for word the same is.
    """

    turns: Annotated[int, Field(ge=1, le=10)] = 2
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    repeated_question: Annotated[float, Field(gt=0, le=1)] | None = None
    rounds: RoundSettings = RoundSettings()
    writer: WriterSettings
    critic: CriticSettings
    painter: PainterSettings
    viewer: ViewerSettings


class EmbeddedEncoder(Section):
    """An encoder that comes along: our own small CLIP, a perceptual and lexical descriptor, a stand-in."""

    backend: Literal["scene_clip", "descriptor", "fake"]


class OpenClipSettings(ChosenModel):
    """A CLIP of open_clip. Without `architecture` its folder has an open_clip_config.json.

    `pretrained` is one of open_clip's tags for that architecture, in place of a repository of its own.
    """

    backend: Literal["open_clip"]
    architecture: Name | None = None
    pretrained: Name | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"


EncoderSettings: TypeAlias = Annotated[EmbeddedEncoder | OpenClipSettings, Field(discriminator="backend")]


class DuplicateSettings(Section):
    """When a turn repeats an earlier one: cosine thresholds that belong to the encoder, and how they combine."""

    policy: Literal["both", "image", "text", "either"] = "both"
    image: Share
    text: Share


class ReviewSettings(Section):
    """Whether builds leave pairs near the thresholds to a person as questions, and how near that is, on either side."""

    ask: bool = False
    near: Share = 0.02


class SelectionSettings(Section):
    """Everything that shapes what is kept; it enters no id."""

    encoder: EncoderSettings
    duplicates: DuplicateSettings
    review: ReviewSettings = ReviewSettings()


class RunSettings(Section):
    """How a build goes about its work; none of it changes a sample."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    open_batches: Annotated[int | None, Field(ge=1, le=4096)] = None
    when_exhausted: Literal["stop", "deepen", "propose"] = "stop"
    lock_timeout: Annotated[float, Field(ge=0)] = 60.0
    patience: Annotated[float, Field(ge=0, le=86_400)] = 300.0


class Settings(Section):
    """The whole of interlake.toml. `servers` and `local` say, by a model's name, where and how it runs: no sample's id
    depends on them."""

    generation: GenerationSettings
    selection: SelectionSettings
    plan: PlanSettings = PlanSettings()
    judge: JudgeSettings = JudgeSettings()
    run: RunSettings = RunSettings()
    servers: dict[str, ServerSettings] = Field(default_factory=dict)
    local: dict[str, LocalSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        encoder, generation = self.selection.encoder, self.generation
        if isinstance(encoder, OpenClipSettings) and encoder.pretrained and not encoder.architecture:
            raise ValueError("[selection.encoder] has a pretrained tag and no architecture: name that as well")
        if generation.viewer.backend == "scene" and generation.painter.backend != "openmoji":
            raise ValueError(
                "[generation.viewer] 'scene' reads what the painter 'openmoji' drew, and no other pictures: "
                "choose a vision model behind a server"
            )
        return self

    @model_validator(mode="after")
    def _places_belong_to_models(self) -> "Settings":
        chosen = list(self.chosen().values())
        served = {model.model for model in chosen if isinstance(model, ServedChat)}
        loaded = {model.model for model in chosen if not isinstance(model, ServedChat)}
        for table, named, known in (("servers", self.servers, served), ("local", self.local, loaded)):
            for name in named:
                if name not in known:
                    there = f"the settings have {', '.join(sorted(known))}" if known else "the settings have none"
                    raise ValueError(f'[{table}."{name}"] belongs to no model: {there} of that kind')
        for name in sorted(served - self.servers.keys()):
            raise ValueError(
                f'it is not said where {name} is served: add [servers."{name}"] with urls = ["http://…/v1"]'
            )
        return self

    @model_validator(mode="after")
    def _cards_are_given_back(self) -> "Settings":
        for name, server in self.servers.items():
            if server.card and server.dialect != "vllm":
                raise ValueError(f'[servers."{name}"] has a card, and none but a server of vLLM gives one back')
        encoder = self.selection.encoder
        if isinstance(encoder, OpenClipSettings) and encoder.model in self.local and self.local[encoder.model].card:
            raise ValueError(
                f'[local."{encoder.model}"] has a card, and an encoder gives none back: leave it out, and room for it'
            )
        return self

    def chosen(self) -> dict[str, ChosenModel]:
        """The models that the user chose, by the key of their table."""
        tables: dict[str, Section] = {
            "generation.writer": self.generation.writer,
            "generation.critic": self.generation.critic,
            "generation.painter": self.generation.painter,
            "generation.viewer": self.generation.viewer,
            "selection.encoder": self.selection.encoder,
        }
        tables |= {f"judge.judges.{at}": chat_of(entry) for at, entry in enumerate(self.judge.judges) if entry.model}
        return {key: table for key, table in tables.items() if isinstance(table, ChosenModel)}


def chat_of(entry: JudgeEntry) -> ServedChat | BatchedChat:
    """The settings of a judge's model, as those of any chat model."""
    kind = ServedChat if entry.backend == "server" else BatchedChat
    return kind.model_validate(entry.model_dump(include=set(kind.model_fields)))


def read_settings(path: Path) -> Settings:
    """Read and check a settings file; SettingsError says in one sentence what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; 'interlake init' writes one into a new lake") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    return parse_settings(text, path)


def parse_settings(text: str, path: Path) -> Settings:
    """Check the text of the settings file at `path`; errors as for `read_settings`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_first_problem(error)}") from error
    if hasty := _hasty_server(settings):
        raise SettingsError(f"{path}: {hasty}")
    return settings


def _hasty_server(settings: Settings) -> str | None:
    """What is wrong where a judge's server gives up before the judge does: a late reply would be asked for again.

    It is looked at in files alone; settings of runs that are over are taken as they were.
    """
    for entry in settings.judge.judges:
        server = settings.servers.get(entry.model or "") if entry.backend == "server" else None
        if server is not None and server.timeout <= settings.judge.timeout:
            return (
                f'[servers."{entry.model}"] has a timeout of {server.timeout:g} seconds, and its judge {entry.name} '
                f"waits for {settings.judge.timeout:g}: make it longer than [judge] timeout"
            )
    return None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    names, section = _located(problem["loc"])
    key = ".".join(names)
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown setting '{key}'; known here: {', '.join(section.model_fields)}"
        case "missing" | "union_tag_not_found":
            key += ".backend" if problem["type"] == "union_tag_not_found" else ""
            return f"setting '{key}' is missing; 'interlake init' shows it in a new lake's file"
        case "union_tag_invalid":
            context = problem["ctx"]
            return f"setting '{key}.backend' is '{context['tag']}', not one of {context['expected_tags']}"
        case "value_error" if not key:
            return str(problem["ctx"]["error"])
        case "value_error":
            # An address may hold a password, which no error shows.
            value = "" if names[0] == "servers" else f" is {problem['input']!r}"
            return f"setting '{key}'{value}: {problem['ctx']['error']}"
    return f"setting '{key}' is {problem['input']!r}: {_lower_first(problem['msg'])}"


def _located(location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """The names of the keys down to a problem, and the section that the last of them stands in."""
    names: list[str] = []
    section: type[BaseModel] = Settings
    inside: Any = Settings
    steps = iter(location)
    for step in steps:
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            section = inside
            names.append(str(step))
            field = inside.model_fields.get(str(step))
            inside = field.annotation if field else None
            if choices := [each for each in _choices(inside) if field and field.discriminator]:
                tag = next(steps, None)  # which of the choices: it is no key of the file
                inside = next(
                    (each for each in choices if tag in get_args(each.model_fields["backend"].annotation)), None
                )
        else:
            names.append(str(step))
            inside = get_args(inside)[-1] if get_origin(inside) is dict else None
    return names, section


def _choices(annotation: Any) -> Iterator[type[BaseModel]]:
    for each in get_args(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _tags(section: type[BaseModel]) -> tuple[str, ...]:
    return get_args(section.model_fields["backend"].annotation)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def default_settings(profile: str) -> str:
    """The text of interlake.toml for a new lake."""
    return resources.files("flows.profiles").joinpath(f"{profile}.toml").read_text(encoding="utf-8")
