"""What a move to another encoder asks, whoever answers: the real encoder, or what it said before."""

from collections.abc import Sequence

from flows.recorder import Address, Recorder, model_id, vector_row
from flows.redeciding import MOVE
from models.embedding import EmbedRequest, Encoder, Vector
from models.picture import Picture
from storage.embeddings import BareTurn
from storage.records import EmbeddingRow, Row


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
        purpose=f"{MOVE}_{kind}:{model_id(identity)[:12]}",
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
