"""The settings [judge] of a lake: who judges, how often, and what a build makes of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flows.section import Name, Section

CHATS = ("server", "vllm")
"""Backends of judges that are models of the user's own."""

Score = Annotated[float, Field(ge=0, le=5)]


class JudgeSampling(Section):
    """How a judge's tokens are chosen. With temperature 0 repeats say the same, and their spread means nothing."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.3
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repeat_penalty: Annotated[float, Field(ge=1, le=2)] = 1.0


class JudgeEntry(Section):
    """One judge. `signals` measures pictures of the embedded painter, `fake` is a stand-in, others are models that see.

    With `expected_value`, scores are means over the probabilities of the answer's tokens, which its server must tell;
    a server that does not ends the run.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")]
    backend: Literal["signals", "fake", "server", "vllm"]
    model: Name | None = None
    revision: Name = "unpinned"
    licence: Name | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    context: Annotated[int, Field(ge=256, le=1_048_576)] = 8192
    sampling: JudgeSampling = JudgeSampling()
    expected_value: bool = False

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "JudgeEntry":
        if self.backend in CHATS and (self.model is None or self.licence is None):
            raise ValueError(f"a judge of the backend '{self.backend}' needs model and licence")
        if self.backend not in CHATS and self.model is not None:
            raise ValueError(f"a judge of the backend '{self.backend}' takes no model")
        if self.backend == "signals" and self.expected_value:
            raise ValueError("a judge of the backend 'signals' has no tokens: leave expected_value out")
        if self.backend == "vllm" and self.expected_value:
            raise ValueError("vLLM in process tells no log-probabilities here: for expected_value, ask a server")
        return self


class Floors(Section):
    """The least that a turn must have, by score; a score that is unknown is below no floor."""

    tcc: Score | None = None
    icc: Score | None = None
    iq: Score | None = None
    its: Score | None = None

    def given(self) -> dict[str, float]:
        """Those that are set, in the order in which scores are told."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class JudgeSettings(Section):
    """Who judges. `floors` and `choose` are for builds, which ask the first of the judges alone.

    `timeout` is seconds that a judge may take for a reply; one that takes longer gave none.
    """

    judges: Annotated[tuple[JudgeEntry, ...], Field(strict=False)] = ()
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    timeout: Annotated[float, Field(gt=0, le=3600)] = 120.0
    choose: Literal["last", "best"] = "last"
    floors: Floors = Floors()

    @model_validator(mode="after")
    def _fits_together(self) -> "JudgeSettings":
        names = [entry.name for entry in self.judges]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two judges are named {repeated[0]}: verdicts stand under that name")
        if not names and (self.floors.given() or self.choose == "best"):
            raise ValueError("floors and 'choose = \"best\"' need a judge: add [[judge.judges]]")
        return self

    @property
    def is_asked_by_builds(self) -> bool:
        return bool(self.floors.given()) or self.choose == "best"
