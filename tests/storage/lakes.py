"""Small literal lakes for tests: rows with plain ids, real PNG bytes, and unit vectors of four numbers."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from storage.canonical import sha256_hex
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import (
    CallRow,
    ClaimRow,
    DecisionRow,
    DuplicateRow,
    EmbeddingRow,
    InquiryRow,
    IterationRow,
    ModelRow,
    RecipeRow,
    Row,
    RunEndRow,
    RunStartRow,
    SampleRow,
    TopicRow,
    TurnRow,
    VectorRow,
)
from storage.versions import Version

ENCODER = "small-clip"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def make_lake(path: Path) -> Lake:
    return Lake.create(path / "lake", seed=7, files={})


def commit(lake: Lake, *drafts: PackageDraft, run_id: str | None = None) -> Version:
    with lake.lock(purpose="test", timeout=5):
        return lake.commit(drafts, run_id=run_id)


def package(*rows: Row, kind: str = "build", pictures: Sequence[bytes] = ()) -> PackageDraft:
    return PackageDraft(kind, rows, {sha256_hex(data): data for data in pictures})


def png(shade: int) -> bytes:
    """A PNG of 8 x 8 pixels of one grey, 0 to 255."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, format="PNG")
    return buffer.getvalue()


def direction(degrees: float, dims: int = 4) -> bytes:
    """A unit vector in the plane of the first two axes, as little-endian float32 bytes."""
    vector = np.zeros(dims, dtype="<f4")
    vector[0], vector[1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector.tobytes()


def vector_row(data: bytes, encoder: str = ENCODER) -> VectorRow:
    return VectorRow(vector_sha256=sha256_hex(data), encoder=encoder, dims=len(data) // 4, vector=data)


def topic_row(topic_id: str = "t1", name: str = "owls") -> TopicRow:
    return TopicRow(topic_id=topic_id, name=name, category="nature/birds", domain="nature", source="list")


def recipe_row(recipe_id: str = "recipe1") -> RecipeRow:
    return RecipeRow(recipe_id=recipe_id, generation_id="g1", generation='{"turns":2}', selection="{}")


def model_row(model_id: str = "m1", role: str = "writer") -> ModelRow:
    return ModelRow(
        model_id=model_id,
        role=role,
        name="tiny",
        revision="1",
        licence="Apache-2.0",
        weights_sha256=None,
        fingerprint="{}",
    )


def start_row(run_id: str, planned: int = 1) -> RunStartRow:
    return RunStartRow(
        kind="build",
        recipe_id="recipe1",
        planned=planned,
        topics=1,
        settings="{}",
        run_id=run_id,
        flow_run_id=None,
        environment="{}",
        started_at=NOON,
    )


def end_row(run_id: str, state: str = "finished") -> RunEndRow:
    return RunEndRow(state=state, reason=None, run_id=run_id, finished_at=NOON)


def inquiry_row(inquiry_id: str) -> InquiryRow:
    return InquiryRow(
        inquiry_id=inquiry_id,
        kind="propose",
        subject="nature",
        number=0,
        about="{}",
        based_on=1,
        result="{}",
        run_id="run1",
    )


def claim_row(sample_id: str, run_id: str, *, slot_id: str | None = None, turns: int = 2, retry: int = 0) -> ClaimRow:
    return ClaimRow(
        slot_id=slot_id or f"slot-{sample_id}",
        topic_id="t1",
        slot_number=0,
        position=0,
        batch=0,
        retry=retry,
        templates=json.dumps([f"template-{turn}" for turn in range(turns)]),
        recipe_id="recipe1",
        sample_id=sample_id,
        run_id=run_id,
    )


def sample_row(sample_id: str, run_id: str = "run1", *, turns: int = 1) -> SampleRow:
    return SampleRow(
        sample_id=sample_id,
        slot_id=f"slot-{sample_id}",
        topic_id="t1",
        recipe_id="recipe1",
        turns=turns,
        licences="{}",
        run_id=run_id,
    )


def turn_row(sample_id: str, turn: int, *, picture: bytes) -> TurnRow:
    return TurnRow(
        sample_id=sample_id,
        turn=turn,
        template_id="template-0",
        question=f"What does {sample_id} ask in turn {turn}?",
        answer=f"It answers {turn}.",
        caption=f"a picture for {sample_id} {turn}",
        image_sha256=sha256_hex(picture),
        pixel_sha256=sha256_hex(b"pixels" + picture),
        width=8,
        height=8,
        licence="CC0-1.0",
    )


def embedding_row(sample_id: str, turn: int, *, image: bytes, text: bytes, encoder: str = ENCODER) -> EmbeddingRow:
    return EmbeddingRow(
        sample_id=sample_id,
        turn=turn,
        encoder=encoder,
        image_vector_sha256=sha256_hex(image),
        text_vector_sha256=sha256_hex(text),
    )


def made_sample(
    sample_id: str,
    *degrees: float,
    run_id: str = "run1",
    encoder: str = ENCODER,
    vectors: Sequence[bytes] | None = None,
) -> PackageDraft:
    """A finished sample with a turn per angle: its rows, pictures and vectors; no decision about it."""
    numbers = list(enumerate(degrees, start=1))
    pictures = [png(int(angle) % 256) for angle in degrees]
    images = list(vectors) if vectors is not None else [direction(angle) for angle in degrees]
    texts = [direction(angle + 1, dims=len(images[0]) // 4) for angle in degrees]
    turns = [turn_row(sample_id, turn, picture=picture) for (turn, _), picture in zip(numbers, pictures, strict=True)]
    embeddings = [
        embedding_row(sample_id, turn, image=image, text=text, encoder=encoder)
        for (turn, _), image, text in zip(numbers, images, texts, strict=True)
    ]
    unique = {data: vector_row(data, encoder) for data in (*images, *texts)}
    sample = sample_row(sample_id, run_id, turns=len(degrees))
    return package(sample, *turns, *embeddings, *unique.values(), pictures=pictures)


def decision_row(
    sample_id: str,
    outcome: str,
    *,
    turn: int | None = None,
    decision_id: str | None = None,
    stage: str | None = None,
    reason: str | None = None,
    encoder: str = ENCODER,
) -> DecisionRow:
    return DecisionRow(
        decision_id=decision_id or f"decision-{sample_id}-{turn}-{outcome}",
        sample_id=sample_id,
        turn=turn,
        kind="build",
        outcome=outcome,
        stage=stage,
        reason=reason,
        evidence="{}",
        encoder=encoder,
    )


def duplicate_row(sample_id: str, turn: int, kept_sample_id: str, kept_turn: int) -> DuplicateRow:
    return DuplicateRow(
        decision_id=f"decision-{sample_id}-{turn}-duplicate",
        sample_id=sample_id,
        turn=turn,
        kept_sample_id=kept_sample_id,
        kept_turn=kept_turn,
        image_similarity=0.99,
        text_similarity=0.98,
        image_threshold=0.95,
        text_threshold=0.9,
        policy="both",
        encoder=ENCODER,
    )


def iteration_row(sample_id: str, turn: int, stage: str, number: int) -> IterationRow:
    return IterationRow(
        sample_id=sample_id,
        turn=turn,
        stage=stage,
        round=number,
        question="What is it?",
        answer=None,
        caption=None,
        image_sha256=None,
        critique="Say which owl.",
        critic="m1",
        stopped=None,
        chosen=True,
        seconds=0.5,
    )


def call_row(call_id: str, sample_id: str, *, request: str = "{}", response: str = "{}") -> CallRow:
    return CallRow(
        call_id=call_id,
        request_key=sha256_hex(request.encode()),
        sample_id=sample_id,
        turn=1,
        stage="question",
        round=0,
        purpose="draft",
        attempt=0,
        model_id="m1",
        seed=1,
        request=request,
        response=response,
        error=None,
        image_sha256=None,
        vector_sha256=None,
        prompt_tokens=10,
        completion_tokens=5,
        run_id="run1",
        seconds=0.25,
        tries=1,
        backend=None,
        started_at=NOON,
    )
