"""Pairs near the thresholds as a person looks at them: both turns with their texts, pictures, and what was decided."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dedup.decide import Thresholds
from dedup.nearness import Measured, distance
from flows.nearness.decided import DecidedTurns
from storage.lake import Lake
from storage.records import DuplicateRow, SampleRow, TopicRow, TurnRow
from storage.tables import Among
from storage.turn_rows import find_pictures
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTurn:
    """A turn of a pair. `decided` says in words what became of it."""

    sample_id: str
    turn: int
    topic: str
    question: str
    caption: str
    image_sha256: str
    licence: str
    decided: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A pair: the turn that came later or repeats, and a kept one. `away` is how far it is beyond the thresholds."""

    newer: ShownTurn
    kept: ShownTurn
    image: float
    text: float
    away: float


def read_examples(
    lake: Lake, version: Version, decided: DecidedTurns, pairs: Sequence[Measured], thresholds: Thresholds
) -> list[list[Example]]:
    """Each of some lists of pairs with all that is shown of them."""
    places = sorted({place for each in pairs for place in (*each.rows.tolist(), *each.keepers.tolist())})
    shown = _shown(lake, version, decided.rows[places] if places else decided.rows.clear())
    turns = dict(zip(places, shown, strict=True))
    return [list(_examples(each, turns, thresholds)) for each in pairs]


def read_pictures(lake: Lake, version: Version, examples: Sequence[Example]) -> Iterator[tuple[str, bytes]]:
    """Each picture of some examples once, by its hash; LakeDamaged when one is nowhere."""
    wanted = {turn.image_sha256 for example in examples for turn in (example.newer, example.kept)}
    for sha256, place in sorted(find_pictures(lake, version, wanted).items()):
        yield sha256, place.read()


def _examples(pairs: Measured, turns: Mapping[int, ShownTurn], thresholds: Thresholds) -> Iterator[Example]:
    away = distance(thresholds, pairs.images, pairs.texts)
    for place in range(len(pairs)):
        yield Example(
            newer=turns[int(pairs.rows[place])],
            kept=turns[int(pairs.keepers[place])],
            image=float(pairs.images[place]),
            text=float(pairs.texts[place]),
            away=float(away[place]),
        )


def _shown(lake: Lake, version: Version, rows: pl.DataFrame) -> Iterator[ShownTurn]:
    """Turns in the order of `rows`."""
    among = Among(column="sample_id", values=set(rows["sample_id"]))
    texts = {
        (row["sample_id"], row["turn"]): row
        for row in lake.scan(TurnRow, version, among=among).collect().iter_rows(named=True)
    }
    topics, repeats = _topics(lake, version, among), _repeats(lake, version, among)
    for row in rows.iter_rows(named=True):
        key = (row["sample_id"], row["turn"])
        yield ShownTurn(
            sample_id=key[0],
            turn=key[1],
            topic=topics[key[0]],
            decided=_decided(row["state"], repeats.get(key)),
            **{name: texts[key][name] for name in ("question", "caption", "image_sha256", "licence")},
        )


def _topics(lake: Lake, version: Version, among: Among) -> dict[str, str]:
    """The topic's name of each sample."""
    samples = lake.scan(SampleRow, version, ["sample_id", "topic_id"], among).select("sample_id", "topic_id").collect()
    chosen = Among(column="topic_id", values=set(samples["topic_id"]))
    names = lake.scan(TopicRow, version, ["topic_id", "name"], chosen).unique("topic_id", keep="first").collect()
    return dict(samples.join(names, on="topic_id").select("sample_id", "name").iter_rows())


def _repeats(lake: Lake, version: Version, among: Among) -> dict[tuple[str, int], str]:
    """What the latest decision says that a turn repeats."""
    columns = ["sample_id", "turn", "kept_sample_id", "kept_turn"]
    found = lake.scan(DuplicateRow, version, columns, among).sort("version", maintain_order=True).collect()
    return {
        (row["sample_id"], row["turn"]): f"turn {row['kept_turn']} of {row['kept_sample_id'][:8]}"
        for row in found.iter_rows(named=True)
    }


def _decided(state: str, repeats: str | None) -> str:
    if state == "kept":
        return "kept"
    what = "flagged, its sample is kept" if state == "flagged" else "dropped with its sample"
    return f"{what}: repeats {repeats}" if repeats else what
