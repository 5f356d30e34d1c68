"""The rounds of a sample as they went: drafts, what changed, critiques, pictures, scores, calls. Knows no pages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from flows.gallery.snapshot import SCORES, Record
from flows.gallery.worddiff import Piece, diff_words
from flows.story import Story

TEXTS = {"question": ("question",), "answer": ("answer", "caption"), "image": ("caption",)}
"""What a stage writes, in the order in which it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A text of a round, and its words as they differ from the round before; no pieces in round 0."""

    what: str
    text: str
    pieces: Sequence[Piece]

    @property
    def is_changed(self) -> bool:
        return any(piece.change != "same" for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: `critic` is who criticised, in words; `scores` are the means of what judges said of this draft."""

    number: int
    drafts: Sequence[Draft]
    image_sha256: str | None
    critique: str | None
    critic: str | None
    stopped: str | None
    chosen: bool
    seconds: float
    scores: Mapping[str, float]
    calls: Sequence[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a turn."""

    name: str
    rounds: Sequence[Round]

    @property
    def pictures(self) -> list[Round]:
        return [each for each in self.rounds if each.image_sha256]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStory:
    """A turn: as it was finished, if it was, and how it came to be. `scores` are means over its judges."""

    number: int
    finished: Record | None
    repeats: Record | None
    scores: Mapping[str, float]
    stages: Sequence[Stage]


def turns_of(story: Story) -> Iterator[TurnStory]:
    """The turns of a sample, as far as they came."""
    finished = {row["turn"]: row for row in story.turns}
    redundancy = {row["turn"]: row for row in story.redundancy}
    numbers = sorted({row["turn"] for row in story.iterations} | finished.keys())
    for number in numbers:
        rows = [row for row in story.iterations if row["turn"] == number]
        yield TurnStory(
            number=number,
            finished=finished.get(number),
            repeats=redundancy.get(number),
            scores=_means(row for row in story.verdicts if row["turn"] == number and row["stage"] is None),
            stages=[
                Stage(name=name, rounds=list(_rounds(story, list(group))))
                for name, group in groupby(rows, key=lambda row: str(row["stage"]))
            ],
        )


def _rounds(story: Story, rows: Sequence[Record]) -> Iterator[Round]:
    """The rounds of one stage of one turn."""
    before: Record = {}
    for row in rows:
        place = tuple(row[name] for name in ("turn", "stage", "round"))
        yield Round(
            number=row["round"],
            drafts=list(_drafts(row, before)),
            image_sha256=row["image_sha256"],
            critique=row["critique"],
            critic=story.models.get(row["critic"], row["critic"]),
            stopped=row["stopped"],
            chosen=row["chosen"],
            seconds=row["seconds"],
            scores=_means(each for each in story.verdicts if _place(each) == place),
            calls=[{**each, "model": _model(story, each)} for each in story.calls if _place(each) == place],
        )
        before = row


def calls_elsewhere(story: Story) -> list[Record]:
    """Calls that belong to no round: embeddings, and what judges were asked."""
    places = {_place(row) for row in story.iterations}
    return [{**each, "model": _model(story, each)} for each in story.calls if _place(each) not in places]


def _drafts(row: Record, before: Record) -> Iterator[Draft]:
    for name in TEXTS[row["stage"]]:
        if row[name] is not None:
            earlier = before.get(name)
            pieces = diff_words(earlier, row[name]) if earlier is not None else ()
            yield Draft(what=name, text=row[name], pieces=pieces)


def _place(row: Record) -> tuple[object, ...]:
    return row["turn"], row["stage"], row["round"]


def _model(story: Story, call: Record) -> str:
    return story.models.get(call["model_id"], str(call["model_id"]))


def _means(verdicts: Iterator[Record]) -> dict[str, float]:
    """The mean of each score that is known."""
    rows = list(verdicts)
    known = {name: [row[name] for row in rows if row[name] is not None] for name in SCORES}
    return {name: sum(values) / len(values) for name, values in known.items() if values}
