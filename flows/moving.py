"""What a move to another encoder asks and decides, whoever answers: the real encoder, or what it said before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from dedup.decide import Decision, Excused, decide
from dedup.kept import KeptTurns
from dedup.turns import TurnVectors
from flows.deciding import Ruling
from flows.recorder import Address, Recorder, model_id, vector_row
from models.embedding import EmbedRequest, Encoder, Vector
from models.picture import Picture
from storage.embeddings import BareTurn, Standing, embedded_turns, read_standing
from storage.lake import Lake
from storage.records import DecisionRow, DuplicateRow, EmbeddingRow, Row
from storage.slots import siblings
from storage.turns_table import KeptVectors
from storage.versions import Version

KIND = "reembed"


async def embed_turn(recorder: Recorder, encoder: Encoder, turn: BareTurn, picture: Picture) -> tuple[Vector, Vector]:
    """The vectors of a turn's picture and caption."""
    image = await _ask(recorder, encoder, turn, "image", picture)
    return image, await _ask(recorder, encoder, turn, "text", turn.caption)


async def _ask(recorder: Recorder, encoder: Encoder, turn: BareTurn, kind: str, subject: Picture | str) -> Vector:
    identity = encoder.identity
    at = Address(
        sample_id=turn.sample_id,
        turn=turn.turn,
        stage="image",
        round=0,
        purpose=f"{KIND}_{kind}:{model_id(identity)[:12]}",
        attempt=0,
    )
    return await recorder.embed(
        encoder, at, EmbedRequest(model=identity.name, revision=identity.revision, subject=subject)
    )


def vector_rows(encoder: str, turns: Sequence[BareTurn], vectors: Sequence[tuple[Vector, Vector]]) -> list[Row]:
    """The rows of turns that an encoder has seen: which vectors are theirs, and each vector once."""
    named: list[Row] = []
    unique: dict[str, Row] = {}
    for turn, pair in zip(turns, vectors, strict=True):
        image, text = (vector_row(encoder, vector) for vector in pair)
        unique |= {image.vector_sha256: image, text.vector_sha256: text}
        named.append(
            EmbeddingRow(
                sample_id=turn.sample_id,
                turn=turn.turn,
                encoder=encoder,
                image_vector_sha256=image.vector_sha256,
                text_vector_sha256=text.vector_sha256,
            )
        )
    return [*named, *unique.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedAnew:
    """Where the samples stood, what is decided by the new vectors, and the rows that say so."""

    before: Standing
    decision: Decision
    rows: tuple[DecisionRow | DuplicateRow, ...]


def decide_anew(lake: Lake, head: Version, ruling: Ruling) -> DecidedAnew:
    """Decide in the order in which the samples came, as if this encoder had been there from the first."""
    before = read_standing(lake, head)
    turns = embedded_turns(lake, head, ruling.encoder, before.kept.keys())
    decision = _decide_in_order(turns, ruling, siblings(lake, head, before.kept))
    repeated = {(duplicate.sample_id, duplicate.turn) for duplicate in decision.duplicates}
    freed = sorted(key for key in before.flagged - repeated if key[0] in before.kept)
    rows = ruling.rows(dict.fromkeys(sorted(before.kept)), decision, freed=freed)
    return DecidedAnew(before=before, decision=decision, rows=tuple(rows))


def _decide_in_order(turns: Iterator[KeptVectors], ruling: Ruling, excused: Excused) -> Decision:
    kept = KeptTurns(encoder=ruling.encoder)
    parts: list[Decision] = []
    for _, group in groupby(turns, key=lambda turn: turn.version):
        newcomers = [
            TurnVectors(sample_id=turn.sample_id, turn=turn.turn, image=turn.image, text=turn.text) for turn in group
        ]
        parts.append(decide(kept, newcomers, ruling.thresholds(), excused=excused))
        kept.add(parts[-1].keepers, encoder=ruling.encoder)
    return Decision(
        kept_samples=tuple(chain.from_iterable(part.kept_samples for part in parts)),
        dropped_samples=tuple(chain.from_iterable(part.dropped_samples for part in parts)),
        duplicates=tuple(chain.from_iterable(part.duplicates for part in parts)),
    )
