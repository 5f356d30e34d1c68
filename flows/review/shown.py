"""Questions as a person sees them: both turns with their texts, and their pictures in a folder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.evidence import short
from flows.review.questions import Question
from storage.lake import Lake
from storage.records import TurnRow
from storage.reviews import Turn
from storage.tables import Among
from storage.turn_rows import find_pictures
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One turn of a pair; `picture` is the file that it was written to, None where no folder was given."""

    sample_id: str
    turn: int
    question: str
    caption: str
    image_sha256: str
    picture: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQuestion:
    """A question, the turn that it is about, and the kept one."""

    asked: Question
    mine: Side
    kept: Side

    def json(self) -> dict[str, Any]:
        return {"name": self.asked.name, **asdict(self.asked), "is_open": self.asked.word is None} | {
            "mine": asdict(self.mine),
            "kept": asdict(self.kept),
        }

    def lines(self) -> Iterator[tuple[int, str]]:
        """How far each line is indented, and its text."""
        asked = self.asked
        yield 0, f"{asked.name}, version {asked.version}: {_beyond_words(asked)}"
        yield 2, f"pictures {asked.image_similarity:.4f} of {asked.image_threshold:g}"
        yield 2, f"captions {asked.text_similarity:.4f} of {asked.text_threshold:g}, policy {asked.policy}"
        for heading, side in (("this turn", self.mine), ("the kept one", self.kept)):
            yield 2, f"{heading}: turn {side.turn} of {short(side.sample_id)}"
            yield 4, f"question: {side.question}"
            yield 4, f"caption: {side.caption}"
            yield 4, f"picture: {side.picture or side.image_sha256[:12]}"
        yield 2, _ruled_words(asked)
        if asked.word:
            what = "keep" if asked.word.outcome == "kept" else "duplicate"
            yield 2, f"answered in version {asked.word.version}: {what}, {asked.word.by} says: {asked.word.why}"


def show_questions(
    lake: Lake, version: Version, questions: Sequence[Question], pictures: Path | None
) -> Iterator[ShownQuestion]:
    """Questions with both turns; their pictures are written into a folder, if one is given."""
    keys = {key for each in questions for key in (each.key, (each.kept_sample_id, each.kept_turn))}
    turns = _turns(lake, version, keys)
    files = _write(lake, version, turns.values(), pictures) if pictures else {}
    for each in questions:
        mine, kept = turns[each.key], turns[each.kept_sample_id, each.kept_turn]
        yield ShownQuestion(asked=each, mine=_side(mine, files), kept=_side(kept, files))


def _turns(lake: Lake, version: Version, keys: set[Turn]) -> dict[Turn, TurnRow]:
    among = Among(column="sample_id", values={sample_id for sample_id, _ in keys})
    rows = lake.rows(TurnRow, version, among) if keys else ()
    return {(row.sample_id, row.turn): row for row in rows if (row.sample_id, row.turn) in keys}


def _write(lake: Lake, version: Version, turns: Iterable[TurnRow], folder: Path) -> dict[Turn, str]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(turns)
    places = find_pictures(lake, version, {row.image_sha256 for row in rows})
    files: dict[Turn, str] = {}
    for row in rows:
        path = folder / f"{row.sample_id[:12]}-turn{row.turn}.png"
        path.write_bytes(places[row.image_sha256].read())
        files[row.sample_id, row.turn] = str(path)
    return files


def _side(row: TurnRow, files: Mapping[Turn, str]) -> Side:
    return Side(
        sample_id=row.sample_id,
        turn=row.turn,
        question=row.question,
        caption=row.caption,
        image_sha256=row.image_sha256,
        picture=files.get((row.sample_id, row.turn)),
    )


def _beyond_words(asked: Question) -> str:
    """How near to the thresholds the pair is, and on which side."""
    side = "beyond" if asked.beyond >= 0 else "short of"
    return f"{abs(asked.beyond):.4f} {side} the thresholds"


def _ruled_words(asked: Question) -> str:
    turn = "the turn repeats the kept one" if asked.rule == "duplicate" else "the turn is no repeat"
    return f"the rule decided: {turn}; its sample is {'dropped' if asked.outcome == 'duplicate' else 'kept'}"
