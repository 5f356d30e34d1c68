"""Chosen samples as whole objects with their pictures, one after the other: memory does not grow with how many."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from flows.export.asked import SCORES
from flows.export.choosing import Shard
from storage.canonical import Json, content_sha256
from storage.history import Connection
from storage.lake import Lake
from storage.records import ImageRow
from storage.tables import Holding
from storage.versions import Version

AT_ONCE = 512
"""Rows fetched at a time, pictures apart."""
SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"RIFF", "webp"))

_ROWS = """
CREATE TABLE {name} AS
SELECT chosen.*, turns.turn, question, answer, caption, image_sha256, width, height, licence AS image_licence,
    package, length, start
FROM memory.chosen AS chosen JOIN turns USING (sample_id) JOIN images USING (image_sha256) ORDER BY place, turn
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTurn:
    """A turn with the bytes of its picture, as they were drawn."""

    number: int
    question: str
    answer: str
    caption: str
    image: bytes
    image_sha256: str
    width: int
    height: int
    licence: str

    @property
    def suffix(self) -> str:
        """What a file with the picture is called, by its first bytes."""
        return next((suffix for magic, suffix in SUFFIXES if self.image.startswith(magic)), "bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSample:
    """A kept sample. `licences` are those of its models by role, `scores` the means over judges, turns and repeats."""

    sample_id: str
    topic: str
    category: str
    domain: str
    split: str
    recipe_id: str
    version: int
    licences: Mapping[str, str]
    scores: Mapping[str, float | None]
    turns: Sequence[ExportTurn]

    def content_sha256(self) -> str:
        """Of all that an export says of it, whatever the form."""
        turns: list[Json] = [
            {
                "question": turn.question,
                "answer": turn.answer,
                "caption": turn.caption,
                "image_sha256": turn.image_sha256,
                "licence": turn.licence,
            }
            for turn in self.turns
        ]
        told: dict[str, Json] = {
            "sample_id": self.sample_id,
            "topic": self.topic,
            "category": self.category,
            "domain": self.domain,
            "licences": dict(self.licences),
            "turns": turns,
        }
        return content_sha256(told)


class SampleReader:
    """Reads chosen samples by their places. `table` is where their rows were put in order: see `put_in_order`."""

    def __init__(self, connection: Connection, lake: Lake, version: Version, table: str) -> None:
        self._connection = connection
        self._table = table
        self._holdings: dict[str, Holding] = {
            entry.name: holding for holding in lake.holdings(version) for entry in holding.entries
        }

    def read(self, shard: Shard) -> Iterator[ExportSample]:
        """The samples of a shard in their order; LakeDamaged when a picture is gone, or is another."""
        rows = self._rows(
            f"SELECT * FROM {self._table} WHERE place BETWEEN {shard.first} AND {shard.last} "
            f"AND split = '{shard.split}' ORDER BY place, turn"
        )
        for _, group in groupby(rows, key=itemgetter("place")):
            yield self._sample(list(group))

    def _rows(self, sql: str) -> Iterator[Mapping[str, Any]]:
        cursor = self._connection.cursor()
        try:
            found = cursor.execute(sql)
            names = [each[0] for each in found.description or ()]
            while some := found.fetchmany(AT_ONCE):
                yield from (dict(zip(names, values, strict=True)) for values in some)
        finally:
            cursor.close()

    def _sample(self, rows: Sequence[Mapping[str, Any]]) -> ExportSample:
        first = rows[0]
        return ExportSample(
            sample_id=first["sample_id"],
            topic=first["topic"],
            category=first["category"],
            domain=first["domain"],
            split=first["split"],
            recipe_id=first["recipe_id"],
            version=first["version"],
            licences=json.loads(first["licences"] or "{}"),
            scores={name: first[name] for name in SCORES},
            turns=[self._turn(row) for row in rows],
        )

    def _turn(self, row: Mapping[str, Any]) -> ExportTurn:
        image = ImageRow(image_sha256=row["image_sha256"], length=row["length"], start=row["start"])
        return ExportTurn(
            number=row["turn"],
            question=row["question"],
            answer=row["answer"],
            caption=row["caption"],
            image=self._holdings[row["package"]].picture(image, row["package"]),
            image_sha256=row["image_sha256"],
            width=row["width"],
            height=row["height"],
            licence=row["image_licence"],
        )


def put_in_order(connection: Connection, table: str) -> None:
    """Put the rows of what was chosen into a table, in the order in which they are exported."""
    connection.execute(_ROWS.format(name=table))
