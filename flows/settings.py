"""The settings of a lake: interlake.toml, typed, every error one line that names the key and the way out."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import UserError

FILE = "interlake.toml"

Share = Annotated[float, Field(ge=0, le=1)]


class SettingsError(UserError):
    """A setting that cannot be used; the message names file, key and the way out."""


class Section(BaseModel):
    """A table of interlake.toml: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SamplingSettings(Section):
    """How tokens are chosen; each parameter is sent with each request."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.4
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=0)] = 40
    min_p: Share = 0.05
    repeat_penalty: Annotated[float, Field(ge=1, le=2)] = 1.05


class ChatSettings(Section):
    """A chat model: `smollm2` is the embedded one, `fake` a stand-in for tests and benchmarks."""

    backend: Literal["smollm2", "fake"]
    sampling: SamplingSettings = SamplingSettings()


class CriticSettings(Section):
    """Who criticises texts after the deterministic checks: a chat model, or nobody (`checks`)."""

    backend: Literal["smollm2", "checks", "fake"]
    sampling: SamplingSettings = SamplingSettings()


class ViewerSettings(Section):
    """Who looks at pictures: `scene` compares the caption with what was drawn."""

    backend: Literal["scene", "fake"]


class PainterSettings(Section):
    """Who draws: `openmoji` composes drawings. Sizes in pixels."""

    backend: Literal["openmoji", "fake"]
    width: Annotated[int, Field(ge=64, le=2048)] = 512
    height: Annotated[int, Field(ge=64, le=2048)] = 512
    steps: Annotated[int, Field(ge=0, le=200)] = 0
    guidance: Annotated[float, Field(ge=0, le=50)] = 0.0


class RoundSettings(Section):
    """How many rewrites each stage may spend; 0 is one draft and no critique."""

    question: Annotated[int, Field(ge=0, le=10)] = 3
    answer: Annotated[int, Field(ge=0, le=10)] = 3
    image: Annotated[int, Field(ge=0, le=10)] = 3


class GenerationSettings(Section):
    """Everything that shapes what is made; it enters the id of every sample."""

    turns: Annotated[int, Field(ge=1, le=10)] = 2
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    rounds: RoundSettings = RoundSettings()
    writer: ChatSettings
    critic: CriticSettings
    painter: PainterSettings
    viewer: ViewerSettings


class EncoderSettings(Section):
    """Who embeds: `descriptor` is perceptual for pictures and lexical for texts."""

    backend: Literal["descriptor", "fake"]


class DuplicateSettings(Section):
    """When a turn repeats an earlier one: cosine thresholds that belong to the encoder, and how they combine."""

    policy: Literal["both", "image", "text", "either"] = "both"
    image: Share = 0.95
    text: Share = 0.85


class SelectionSettings(Section):
    """Everything that shapes what is kept; it enters no id."""

    encoder: EncoderSettings
    duplicates: DuplicateSettings = DuplicateSettings()


class RunSettings(Section):
    """How a build goes about its work; none of it changes a sample."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    open_batches: Annotated[int, Field(ge=1, le=64)] = 2
    when_exhausted: Literal["stop", "deepen"] = "stop"
    lock_timeout: Annotated[float, Field(ge=0)] = 60.0


class Settings(Section):
    """The whole of interlake.toml."""

    generation: GenerationSettings
    selection: SelectionSettings
    run: RunSettings = RunSettings()


def read_settings(path: Path) -> Settings:
    """Read and check a settings file; SettingsError says in one sentence what is wrong with it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; 'interlake init' writes one into a new lake") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting '{key}'; known here: {', '.join(_known_beside(problem['loc']))}"
    if problem["type"] == "missing":
        return f"setting '{key}' is missing; 'interlake init' shows it in a new lake's file"
    return f"setting '{key}' is {problem['input']!r}: {_lower_first(problem['msg'])}"


def _known_beside(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        annotation = section.model_fields[str(part)].annotation
        assert isinstance(annotation, type)
        section = annotation
    return list(section.model_fields)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def default_settings(profile: str) -> str:
    """The text of interlake.toml for a new lake."""
    chat, viewer, painter, encoder = {
        "embedded": ("smollm2", "scene", "openmoji", "descriptor"),
        "fake": ("fake", "fake", "fake", "fake"),
    }[profile]
    return _TEMPLATE.format(profile=profile, chat=chat, viewer=viewer, painter=painter, encoder=encoder)


_TEMPLATE = """\
# interlake.toml, profile {profile}. Every key is optional but the backends; unknown keys are errors.

[generation]            # what is made; all of it enters the ids of samples
turns = 2               # questions and answers in a dialogue
attempts = 3            # how often a model is asked again after a reply that cannot be used

[generation.rounds]     # rewrites at most, by stage; 0: one draft, no critique
question = 3
answer = 3
image = 3

[generation.writer]
backend = "{chat}"
[generation.writer.sampling]
temperature = 0.4
top_p = 0.95
top_k = 40
min_p = 0.05
repeat_penalty = 1.05

[generation.critic]     # asked when the deterministic checks find nothing; "checks": nobody is asked
backend = "{chat}"

[generation.painter]
backend = "{painter}"
width = 512
height = 512

[generation.viewer]
backend = "{viewer}"

[selection.encoder]     # what is kept; none of it enters an id
backend = "{encoder}"

[selection.duplicates]
policy = "both"         # both, image, text, either
image = 0.95            # cosine thresholds; they belong to the encoder
text = 0.85

[run]                   # how the work is done
batch_size = 8          # samples in one batch, which is one commit
open_batches = 2        # batches at work at once
when_exhausted = "stop" # stop, or deepen the least covered topics
lock_timeout = 60       # seconds to wait for another process to leave the lake
"""
