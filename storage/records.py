"""The rows that a lake is made of, each field being content, provenance or a blob. Knows nothing of files.

Content columns are what two equal builds have in common and what a replay must reproduce; they enter
`content_sha256`. Provenance (run ids, times, machines) and blobs (bytes that a content column names by hash) do not.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from storage.inquiry_rows import InquiryRow as InquiryRow  # noqa: PLC0414
from storage.inquiry_rows import ProposalDecisionRow as ProposalDecisionRow  # noqa: PLC0414
from storage.inquiry_rows import ProposalRow as ProposalRow  # noqa: PLC0414
from storage.inquiry_rows import TemplateRow as TemplateRow  # noqa: PLC0414
from storage.rows import BLOB, PROVENANCE
from storage.rows import Row as Row  # noqa: PLC0414 - who reads rows finds all that it takes here
from storage.rows import from_arrow as from_arrow  # noqa: PLC0414
from storage.rows import to_arrow as to_arrow  # noqa: PLC0414
from storage.rows import with_later_columns as with_later_columns  # noqa: PLC0414


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRow(Row):
    """A topic. `placed` says where its category is from: `given`, `nearest` (with that similarity), or `` for none.

    It is null in lakes that are older than placing.
    """

    table = "topics"
    key = ("topic_id",)
    topic_id: str
    name: str
    category: str
    domain: str
    source: str
    placed: Annotated[str | None, PROVENANCE] = None
    placed_similarity: Annotated[float | None, PROVENANCE] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRow(Row):
    """How samples are made (`generation`) and chosen (`selection`); both canonical JSON."""

    table = "recipes"
    key = ("recipe_id",)
    recipe_id: str
    generation_id: str
    generation: str
    selection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow(Row):
    """A model in a role; `fingerprint` is JSON of what else the backend says of itself."""

    table = "models"
    key = ("model_id", "role")
    model_id: str
    role: str
    name: str
    revision: str
    licence: str
    weights_sha256: Annotated[str | None, PROVENANCE]
    fingerprint: Annotated[str, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStartRow(Row):
    """A run begins. `topics` is how many topics it set out to cover, those of dead runs that it took over included.

    `settings` and `environment` are JSON; what of the settings shapes samples is content of the recipe.
    """

    table = "run_starts"
    key = ("run_id",)
    kind: str
    recipe_id: str
    planned: int
    topics: int
    settings: Annotated[str, PROVENANCE]
    run_id: Annotated[str, PROVENANCE]
    flow_run_id: Annotated[str | None, PROVENANCE]
    environment: Annotated[str, PROVENANCE]
    started_at: Annotated[datetime, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow(Row):
    """A slot that a run is about to fill; made durable before the first model call for it.

    `position` is its place in the plan, `batch` the commit it will be part of (both from 0). `templates` is a JSON
    array with one template id a turn; `retry` counts how often the slot had failed for good.
    """

    table = "claims"
    key = ("slot_id",)
    slot_id: str
    topic_id: str
    slot_number: int
    position: int
    batch: int
    retry: int
    templates: str
    recipe_id: str
    sample_id: str
    run_id: Annotated[str, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEndRow(Row):
    """A run is over: `finished`, `stopped` (a backend gave up, or a budget was used up: slots stay
    open), `cancelled` or `died`."""

    table = "run_ends"
    key = ("run_id",)
    state: str
    reason: Annotated[str | None, PROVENANCE]
    run_id: Annotated[str, PROVENANCE]
    finished_at: Annotated[datetime | None, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow(Row):
    """A sample that was made as far as it could be; what became of it is a decision.

    `licences` is a JSON object: the licence of the model in each role (SPDX) that had a part in it.
    """

    table = "samples"
    key = ("sample_id",)
    sample_id: str
    slot_id: str
    topic_id: str
    recipe_id: str
    turns: int
    licences: str
    run_id: Annotated[str, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow(Row):
    """A finished turn (turns count from 1). `width` and `height` in pixels; `licence` is the picture's."""

    table = "turns"
    key = ("sample_id", "turn")
    sample_id: str
    turn: int
    template_id: str
    question: str
    answer: str
    caption: str
    image_sha256: str
    pixel_sha256: str
    width: int
    height: int
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRow(Row):
    """The vectors of a turn by one encoder: of its picture, and of its caption. A turn may have those of several."""

    table = "embeddings"
    key = ("sample_id", "turn", "encoder")
    sample_id: str
    turn: int
    encoder: str
    image_vector_sha256: str
    text_vector_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationRow(Row):
    """Round k of a stage: draft k and its critique.

    `critic` says whose critique it is: a model's id, `check:NAME` for a deterministic check, or null when this
    draft was not critiqued because the rewrites were spent. `stopped` is null unless the stage ended here:
    `satisfied` or `rounds_spent`. `chosen` marks the draft that the sample uses.
    """

    table = "iterations"
    key = ("sample_id", "turn", "stage", "round")
    sample_id: str
    turn: int
    stage: str
    round: int
    question: str | None
    answer: str | None
    caption: str | None
    image_sha256: str | None
    critique: str | None
    critic: str | None
    stopped: str | None
    chosen: bool
    seconds: Annotated[float, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow(Row):
    """One request to one model and what came back; `key` is the sha256 of the canonical request.

    `response` is JSON; `error` is the reason word when the backend answered without usable content. `seconds` is
    wall time; `tries` counts requests sent, repeats after transient errors included. `backend` is JSON of what the
    backend told of this answer alone (fingerprint, batch), null where it told nothing. `answer_sha256` guards what was
    answered, see `answer_hash`; null in calls that were recorded before there was one.
    """

    table = "calls"
    key = ("call_id",)
    call_id: str
    request_key: str
    sample_id: str
    turn: int
    stage: str
    round: int
    purpose: str
    attempt: int
    model_id: str
    seed: int | None
    request: str
    response: str
    error: str | None
    image_sha256: str | None
    vector_sha256: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    run_id: Annotated[str, PROVENANCE]
    seconds: Annotated[float, PROVENANCE]
    tries: Annotated[int, PROVENANCE]
    backend: Annotated[str | None, PROVENANCE]
    started_at: Annotated[datetime, PROVENANCE]
    answer_sha256: Annotated[str | None, PROVENANCE] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow(Row):
    """Where a picture's bytes lie: `length` bytes at `start` of `images.pack` in the same package."""

    table = "images"
    key = ("image_sha256",)
    image_sha256: str
    length: int
    start: Annotated[int, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorRow(Row):
    """A vector: little-endian float32, `dims` of them; `vector_sha256` is over those bytes."""

    table = "vectors"
    key = ("vector_sha256", "encoder")
    vector_sha256: str
    encoder: str
    dims: int
    vector: Annotated[bytes, BLOB]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow(Row):
    """What became of a sample, or of one of its turns; the latest in version order holds.

    `kind`: `build`, `duplicate`, `reembed`, `rethreshold`, `rerun`, `review` (a person's word: `storage.reviews`);
    `outcome`: `kept`, `rejected`, `duplicate`, `failed`; `evidence` is JSON. `encoder` is the one whose vectors were
    compared, null where none were; a kept sample is shown with the latest.
    """

    table = "decisions"
    key = ("decision_id",)
    decision_id: str
    sample_id: str
    turn: int | None
    kind: str
    outcome: str
    stage: str | None
    reason: str | None
    evidence: str
    encoder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow(Row):
    """Two turns that were compared, the kept one being earlier, and the thresholds that held then."""

    decision_id: str
    sample_id: str
    turn: int
    kept_sample_id: str
    kept_turn: int
    image_similarity: float
    text_similarity: float
    image_threshold: float
    text_threshold: float
    policy: str
    encoder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRow(PairRow):
    """A turn and the earlier kept turn that it repeats: the evidence of one decision."""

    table = "duplicates"
    key = ("decision_id",)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRow(PairRow):
    """A kept turn that fell a little short of repeating an earlier one; the decision is that about its sample."""

    table = "near_misses"
    key = ("decision_id", "turn")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow(Row):
    """What a judge said of a turn, once: four scores from 0 to 5, null where it does not know.

    `stage` and `round` name a draft; both are null for the turn as it was finished. `judge` is the judge's name,
    `judge_sha256` a hash of all that shapes its verdicts. `unknown` is JSON: a reason word for each score that is
    null; `evidence` is JSON of what the scores rest on. `model_id` is null for a judge of several models.
    """

    table = "verdicts"
    key = ("verdict_id",)
    verdict_id: str
    sample_id: str
    turn: int
    stage: str | None
    round: int | None
    judge: str
    judge_sha256: str
    rubric_sha256: str
    repeat: int
    model_id: str | None
    tcc: float | None
    icc: float | None
    iq: float | None
    its: float | None
    unknown: str
    evidence: str


TABLES: dict[str, type[Row]] = {
    kind.table: kind
    for kind in (
        TopicRow,
        RecipeRow,
        ModelRow,
        RunStartRow,
        ClaimRow,
        RunEndRow,
        SampleRow,
        TurnRow,
        EmbeddingRow,
        IterationRow,
        CallRow,
        ImageRow,
        VectorRow,
        DecisionRow,
        DuplicateRow,
        NearRow,
        VerdictRow,
        InquiryRow,
        ProposalRow,
        ProposalDecisionRow,
        TemplateRow,
    )
}
