"""The kept turns nearest to a sample's turns, to a text or to a picture, with exact similarities.

For looking around in a lake. It never says what is a duplicate: LanceDB finds the candidates here, and through an index
it may miss one.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dedup.similarity import Vector, cosine
from flows.errors import UserError
from flows.evidence import short
from flows.recorder import model_id
from flows.settings import FILE, Settings, read_settings
from flows.story import find_sample
from flows.studio import Studio
from models.embedding import EmbedRequest
from models.errors import ModelError
from models.picture import Picture
from models.picture_file import LARGEST_FILE, read_picture_file
from storage.embeddings import embedded_turns
from storage.kept_rows import KeptVectors
from storage.lake import Lake
from storage.nearest import Kind, Neighbourhood
from storage.versions import Version

SPARE = 32
"""Candidates beyond those wanted, for LanceDB's order is not exact."""
MOST = 16_384
"""Candidates that are asked for at most, however many are equally near."""
NEAR = 1e-5
"""How far LanceDB's cosines may be from exact ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A kept turn and how near it is: the exact cosine of two vectors. `flagged` says that it repeats another turn."""

    similarity: float
    sample_id: str
    turn: int
    version: int
    topic_id: str
    topic: str
    question: str
    caption: str
    flagged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked about, `turn` being that of a sample, and its neighbours, the nearest first."""

    subject: str
    turn: int | None
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """What a version has that is like something else, `by` the vectors of pictures or of captions."""

    version: int
    by: Kind
    encoder: str
    asked: tuple[Asked, ...]


def similar_to_sample(
    lake: Lake, prefix: str, *, turn: int | None, number: int | None, by: Kind, limit: int
) -> Similar:
    """The neighbours of each turn of a sample, or of one, without the sample's own; it need not be a kept one.

    NoSuchThing for a sample or version that is not there, UserError for a turn, or vectors, that it has not.
    """
    sample_id = str(find_sample(lake, prefix)["sample_id"])
    look = _Look(lake, number=number, by=by, limit=limit)
    own = look.vectors_of(sample_id)
    chosen = [each for each in own if turn in (None, each.turn)]
    if not chosen:
        has = f"turns {own[0].turn} to {own[-1].turn}" if len(own) > 1 else f"only turn {own[0].turn}"
        raise UserError(f"sample {short(sample_id)} has no turn {turn}, it has {has}")
    return look.report(
        Asked(
            subject=f"turn {each.turn} of sample {sample_id}",
            turn=each.turn,
            neighbours=look.nearest(each.image if by == "image" else each.text, leave_out=sample_id),
        )
        for each in chosen
    )


def similar_to_text(lake: Lake, words: str, *, number: int | None, by: Kind, limit: int) -> Similar:
    """The turns whose pictures, or captions, are nearest to a text. UserError for what cannot be compared."""
    if not words.strip():
        raise UserError("the text is empty; give --text some words")
    look = _Look(lake, number=number, by=by, limit=limit)
    vector = look.embed(words)
    return look.report([Asked(subject=f"the text {words!r}", turn=None, neighbours=look.nearest(vector))])


def similar_to_picture(lake: Lake, file: Path, *, number: int | None, by: Kind, limit: int) -> Similar:
    """The same for the picture in a file."""
    picture = _read_picture(file)
    look = _Look(lake, number=number, by=by, limit=limit)
    vector = look.embed(picture)
    return look.report([Asked(subject=f"the picture {file}", turn=None, neighbours=look.nearest(vector))])


class _Look:
    """One look at a version of a lake. UserError when it has no kept turn."""

    def __init__(self, lake: Lake, *, number: int | None, by: Kind, limit: int) -> None:
        self._lake, self._by, self._limit = lake, by, limit
        self._version: Version = lake.version(number)
        self._turns = Neighbourhood(lake, self._version)
        if self._turns.encoder is None:
            raise UserError(f"version {self._version.number} of {lake.path} has no kept turn to be compared with")
        self._encoder = self._turns.encoder

    def vectors_of(self, sample_id: str) -> Sequence[KeptVectors]:
        """The vectors of a sample's turns: a kept one's are in the table, those of others in the packages."""
        found = self._turns.vectors_of(sample_id) or list(
            embedded_turns(self._lake, self._version, self._encoder, [sample_id])
        )
        if not found:
            raise UserError(
                f"sample {short(sample_id)} has no vectors in version {self._version.number}: it was not made, or not "
                "embedded, by then"
            )
        return found

    def embed(self, subject: str | Picture) -> Vector:
        """The vector of something that is not in the lake, by the encoder of the settings; nothing is recorded."""
        settings = read_settings(self._lake.path / FILE)
        kind = "text" if isinstance(subject, str) else "image"
        if settings.selection.encoder.backend == "descriptor" and kind != self._by:
            raise UserError(f"the encoder 'descriptor' cannot compare a text with a picture; add --by {kind}")
        return asyncio.run(_embed(settings, subject, self._encoder))

    def nearest(self, vector: Vector, *, leave_out: str | None = None) -> tuple[Neighbour, ...]:
        """The nearest turns by exact cosines, then by version, sample id and turn.

        LanceDB is asked for more until those left out are farther than any that is taken.
        """
        asked = self._limit + SPARE
        while True:
            found = self._turns.nearest(vector, by=self._by, limit=asked)
            exact = sorted(
                (
                    Neighbour(
                        similarity=cosine(vector, each.vector),
                        sample_id=each.sample_id,
                        turn=each.turn,
                        version=each.version,
                        topic_id=each.topic_id,
                        topic=each.topic,
                        question=each.question,
                        caption=each.caption,
                        flagged=each.flagged,
                    )
                    for each in found
                    if each.sample_id != leave_out
                ),
                key=lambda each: (-each.similarity, each.version, each.sample_id, each.turn),
            )
            if len(found) < asked or asked >= MOST or self._is_enough(exact):
                return tuple(exact[: self._limit])
            asked = min(2 * asked, MOST)

    def _is_enough(self, exact: Sequence[Neighbour]) -> bool:
        """Whether the farthest candidate is farther than the last one that is taken, whatever LanceDB rounded."""
        return len(exact) > self._limit and exact[-1].similarity < exact[self._limit - 1].similarity - NEAR

    def report(self, asked: Iterable[Asked]) -> Similar:
        return Similar(version=self._version.number, by=self._by, encoder=self._encoder, asked=tuple(asked))


async def _embed(settings: Settings, subject: str | Picture, wanted: str) -> Vector:
    studio = Studio(settings)
    try:
        encoder = await studio.encoder()
        identity = encoder.identity
        if model_id(identity) != wanted:
            raise UserError(
                f"the setting 'selection.encoder' names {identity.name} {identity.revision}, and this version's "
                "vectors are of another encoder: put the setting back, or move the lake with 'interlake reembed'"
            )
        request = EmbedRequest(model=identity.name, revision=identity.revision, subject=subject)
        return (await encoder.embed(request)).vector
    except ModelError as error:
        raise UserError(f"the encoder cannot embed this: {error}") from error
    finally:
        await studio.close()


def _read_picture(file: Path) -> Picture:
    """UserError when it is none; OSError when it cannot be read."""
    with file.open("rb") as opened:
        data = opened.read(LARGEST_FILE + 1)
    try:
        return read_picture_file(data)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
