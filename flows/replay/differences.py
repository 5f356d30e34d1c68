"""What a replay can find: where it first goes another way than was recorded, and how. Reads no lake."""

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flows.recorder import Address
from flows.replay.recorded import NeverRecordedError
from flows.shown_call import request_lines
from storage.calls import AlteredCall
from storage.records import CallRow, IterationRow, Row

STAGES = {"question": 1, "answer": 2, "image": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which a replay is not what was recorded.

    `where` and `what` make a sentence; `detail` are lines below it. `call_id` is the call that shows it, if it is one.
    """

    version: int
    sample_id: str | None
    where: str
    what: str
    call_id: str | None = None
    detail: tuple[str, ...] = ()

    def line(self) -> str:
        sample = f", sample {self.sample_id}" if self.sample_id else ""
        return f"version {self.version}{sample}, {self.where}: {self.what}"


def place_of(at: Address | CallRow) -> str:
    """Where in a sample's story a call stands, in words."""
    attempt = f", attempt {at.attempt + 1}" if at.attempt else ""
    return f"turn {at.turn}, {at.stage}, round {at.round}, {at.purpose}{attempt}"


def altered(version: int, call: AlteredCall) -> Difference:
    """A call that is not what was recorded."""
    return Difference(
        version=version,
        sample_id=call.row.sample_id,
        where=place_of(call.row),
        what=f"call {call.row.call_id} is not what was recorded: {call.problem}",
        call_id=call.row.call_id,
    )


def never_recorded(version: int, at: Address, error: NeverRecordedError, recorded: Sequence[CallRow]) -> Difference:
    """A call that was asked for and never recorded, beside the recorded one that is most like it."""
    nearest = _nearest(at, error, recorded)
    asked = request_lines(error.request)
    if nearest is None:
        detail: Iterable[str] = [f"+ {line}" for line in asked]
    else:
        before = request_lines(json.loads(nearest.request))
        names = (f"recorded: call {nearest.call_id}, {place_of(nearest)}", f"asked for now: {place_of(at)}")
        detail = difflib.unified_diff(before, asked, *names, n=1, lineterm="")
    return Difference(
        version=version,
        sample_id=at.sample_id,
        where=place_of(at),
        what=f"call {at.call_id()} is asked for, and was never recorded",
        call_id=at.call_id(),
        detail=tuple(detail),
    )


def _nearest(at: Address, error: NeverRecordedError, recorded: Sequence[CallRow]) -> CallRow | None:
    """The recorded call of this place; else the one with most in common, of the same stage and purpose if possible."""
    here = next((row for row in recorded if row.call_id == at.call_id()), None)
    if here is not None:
        return here
    alike = [row for row in recorded if (row.stage, row.purpose) == (at.stage, at.purpose)]
    asked = request_lines(error.request)
    return max(
        alike or recorded,
        key=lambda row: difflib.SequenceMatcher(None, request_lines(json.loads(row.request)), asked).ratio(),
        default=None,
    )


def rows_that_differ(
    version: int, recorded: Iterable[Row], made: Iterable[Row], calls: Sequence[CallRow] = ()
) -> Iterator[Difference]:
    """Rows of one table that came, went or changed, in the order of their keys."""
    before, now = ({row.identity(): row for row in rows} for rows in (recorded, made))
    for key in sorted(before.keys() | now.keys(), key=_told_in_order):
        problem = _how_rows_differ(before.get(key), now.get(key))
        if problem:
            row = before.get(key) or now[key]
            call = next((call for call in calls if _is_draft_of(call, row)), None)
            yield Difference(
                version=version,
                sample_id=getattr(row, "sample_id", None),
                where=_where(row),
                what=problem,
                call_id=call.call_id if call else None,
            )


def _told_in_order(key: tuple[object, ...]) -> list[tuple[int, str]]:
    """Sorts turns and rounds as numbers, stages as they follow each other."""
    return [(part, "") if isinstance(part, int) else (STAGES.get(str(part), 0), str(part)) for part in key]


def _where(row: Row) -> str:
    if isinstance(row, IterationRow):
        return f"turn {row.turn}, {row.stage}, round {row.round}"
    named = (f"{name} {value}" for name, value in zip(row.key, row.identity(), strict=True) if name != "sample_id")
    return " ".join((f"table {row.table}", *named))


def _is_draft_of(call: CallRow, row: Row) -> bool:
    if not isinstance(row, IterationRow):
        return False
    same = (call.turn, call.stage, call.round) == (row.turn, row.stage, row.round)
    return same and call.error is None and call.purpose in ("draft", "rewrite", "draw")


def _how_rows_differ(before: Row | None, now: Row | None) -> str | None:
    """What is other in the content of a row; None when nothing is."""
    if before is None:
        return "is made now, and was not recorded"
    if now is None:
        return "was recorded, and is not made now"
    changed = [
        f"{name} was {_shown(getattr(before, name))}, is {_shown(getattr(now, name))}"
        for name in before.columns(only_content=True)
        if getattr(before, name) != getattr(now, name)
    ]
    return "; ".join(changed) or None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]} … {text[-30:]}"
