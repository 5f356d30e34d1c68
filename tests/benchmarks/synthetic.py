"""Made-up batches in the form of real ones: ids, texts, bodies, pictures and vectors, all distinct, from numbers alone.

Nothing repeats anything else, so that every sample is kept. A batch is what a build would hand to its committer.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.packing import FinishedBatch
from flows.plan import PlannedSlot
from flows.recipe import write_recipe
from flows.recorder import model_id
from flows.seir.dialogue import Brief, Dialogue
from flows.settings import Settings, default_settings, parse_settings
from flows.workshop import Workshop
from models.embedding import Vector
from models.identity import ModelIdentity
from storage.canonical import sha256_hex
from storage.lake import Lake
from storage.records import CallRow, EmbeddingRow, IterationRow, TopicRow, TurnRow
from storage.spool import RecordedCall

BATCH = 64
SIDE = 24
"""Pixels of a picture's side; noise, so about 1.8 kB of PNG each."""
TOPICS = 500
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PROMPT = " ".join(
    f"{n}. Look at what was said before, stay with the topic, and say in plain words what can be seen."
    for n in range(1, 18)
)
"""The part of a chat request that all have in common."""
STORY = (
    ("image", 0, "draw", "painter"),
    ("image", 0, "embed_image", "encoder"),
    ("image", 0, "embed_text", "encoder"),
    ("question", 0, "draft", "writer"),
    ("question", 0, "critique", "critic"),
    ("question", 1, "rewrite", "writer"),
    ("question", 1, "critique", "critic"),
    ("answer", 0, "draft", "writer"),
    ("answer", 0, "critique", "critic"),
    ("image", 0, "critique", "viewer"),
)
"""The calls of one turn: stage, round, purpose and who is asked; where there are to be fewer, the last are left out."""
ROUNDS = (("question", 0), ("question", 1), ("answer", 0), ("image", 0))
ROLES = {
    role: ModelIdentity(name=f"synthetic-{role}", revision="1", licence="CC0-1.0")
    for role in ("writer", "critic", "painter", "viewer", "encoder")
}


def open_workshop(lake: Lake, run_id: str) -> Workshop:
    """A run's workshop with the shipped settings and models that are never asked."""
    settings = shipped_settings()
    return Workshop(lake=lake, settings=settings, roles=ROLES, recipe=write_recipe(settings, ROLES), run_id=run_id)


def shipped_settings() -> Settings:
    return parse_settings(default_settings("embedded"), Path("interlake.toml"))


@cache
def model_of(role: str) -> str:
    """The id of the model in a role."""
    return model_id(ROLES[role])


def topic_rows() -> list[TopicRow]:
    return [
        TopicRow(topic_id=_topic_id(n), name=f"topic {n}", category=f"made up/{n % 20}", domain="bench", source="bench")
        for n in range(TOPICS)
    ]


def _topic_id(number: int) -> str:
    return sha256_hex(f"topic {number}".encode())[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """Makes samples of one turn each, numbered through the whole lake, for one run.

    `calls` a turn, three at least: the picture's and the vectors'. All ten are about 16 kB of bodies.
    """

    run_id: str
    dims: int
    calls: int = len(STORY)

    def slot(self, number: int) -> PlannedSlot:
        return PlannedSlot(
            slot_id=_id("slot", number),
            sample_id=_id("sample", number),
            topic_id=_topic_id(number % TOPICS),
            topic=f"topic {number % TOPICS}",
            slot_number=number // TOPICS,
            retry=0,
            templates=("template-1",),
        )

    def batch(self, numbers: Sequence[int]) -> FinishedBatch:
        """The finished work for samples with these numbers."""
        vectors = unit_vectors(numbers[0], 2 * len(numbers), self.dims)
        works = [self._work(number, vectors[2 * at], vectors[2 * at + 1]) for at, number in enumerate(numbers)]
        work = [(slot, dialogue) for slot, dialogue, _ in works]
        return FinishedBatch(number=0, work=work, calls=[call for _, _, calls in works for call in calls])

    def _work(self, number: int, image: Vector, text: Vector) -> tuple[PlannedSlot, Dialogue, list[RecordedCall]]:
        slot = self.slot(number)
        blobs = {"draw": noise_png(number), "embed_image": image.tobytes(), "embed_text": text.tobytes()}
        sha256s = {purpose: sha256_hex(data) for purpose, data in blobs.items()}
        embedding = EmbeddingRow(
            sample_id=slot.sample_id,
            turn=1,
            encoder=model_of("encoder"),
            image_vector_sha256=sha256s["embed_image"],
            text_vector_sha256=sha256s["embed_text"],
        )
        dialogue = Dialogue(
            brief=Brief(sample_id=slot.sample_id, topic=slot.topic, templates=[("template-1", "Ask about it.")]),
            turns=[turn_row(number, slot, sha256s["draw"])],
            embeddings=[embedding],
            iterations=[iteration_row(number, slot, *of, sha256s["draw"]) for of in ROUNDS],
            vectors={sha256s["embed_image"]: image, sha256s["embed_text"]: text},
            failure=None,
        )
        return slot, dialogue, list(self._calls(number, slot, blobs, sha256s))

    def _calls(
        self, number: int, slot: PlannedSlot, blobs: Mapping[str, bytes], sha256s: Mapping[str, str]
    ) -> Iterator[RecordedCall]:
        for stage, round_number, purpose, role in STORY[: self.calls]:
            request = _body(PROMPT if role in {"writer", "critic", "viewer"} else "", said(number, purpose))
            attached = {sha256s[purpose]: blobs[purpose]} if purpose in blobs else {}
            yield RecordedCall(
                CallRow(
                    call_id=_id("call", number, stage, round_number, purpose),
                    request_key=sha256_hex(request.encode()),
                    sample_id=slot.sample_id,
                    turn=1,
                    stage=stage,
                    round=round_number,
                    purpose=purpose,
                    attempt=0,
                    model_id=model_of(role),
                    seed=number,
                    request=request,
                    response=_body("", said(number, f"answer to {purpose}")),
                    error=None,
                    image_sha256=sha256s["draw"] if purpose == "draw" else None,
                    vector_sha256=sha256s[purpose] if role == "encoder" else None,
                    prompt_tokens=400,
                    completion_tokens=60,
                    run_id=self.run_id,
                    seconds=0.5,
                    tries=1,
                    backend=None,
                    started_at=NOON,
                ),
                attached,
            )


def turn_row(number: int, slot: PlannedSlot, image_sha256: str) -> TurnRow:
    return TurnRow(
        sample_id=slot.sample_id,
        turn=1,
        template_id="template-1",
        question=said(number, "question"),
        answer=said(number, "answer"),
        caption=said(number, "caption"),
        image_sha256=image_sha256,
        pixel_sha256=sha256_hex(image_sha256.encode()),
        width=SIDE,
        height=SIDE,
        licence="CC0-1.0",
    )


def iteration_row(number: int, slot: PlannedSlot, stage: str, round_number: int, image_sha256: str) -> IterationRow:
    is_last = (stage, round_number) != ("question", 0)
    return IterationRow(
        sample_id=slot.sample_id,
        turn=1,
        stage=stage,
        round=round_number,
        question=said(number, "question") if stage == "question" else None,
        answer=said(number, "answer") if stage == "answer" else None,
        caption=said(number, "caption") if stage != "question" else None,
        image_sha256=image_sha256 if stage == "image" else None,
        critique=None if is_last else said(number, "critique"),
        critic=model_of("critic"),
        stopped="satisfied" if is_last else None,
        chosen=is_last,
        seconds=0.5,
    )


def said(number: int, what: str) -> str:
    """Some two dozen words that no other number says."""
    words = " ".join(re.findall("...", hashlib.sha256(f"{what} {number}".encode()).hexdigest()))
    return f"The {what} of number {number} is about {words}"


def _body(prompt: str, text: str) -> str:
    return json.dumps({"messages": [{"content": prompt}, {"content": text}]}, sort_keys=True, separators=(",", ":"))


def _id(*parts: str | int) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:32]


def unit_vectors(seed: int, count: int, dims: int) -> NDArray[np.float32]:
    """Directions spread evenly, float32 of shape (count, dims); at 128 dims none comes near a duplicate's threshold."""
    wide = np.random.default_rng(seed).standard_normal((count, dims))
    unit: NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1)[:, np.newaxis]).astype(np.float32)
    return unit


def noise_png(number: int) -> bytes:
    """A PNG of SIDE x SIDE pixels of noise, RGB."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE * 3), dtype=np.uint8)
    rows = np.concatenate([np.zeros((SIDE, 1), np.uint8), pixels], axis=1).tobytes()
    size = SIDE.to_bytes(4, "big")
    header = size + size + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
