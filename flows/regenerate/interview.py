"""One model, asked again what it was asked: read, ask, compare, a few calls at a time."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from flows.regenerate.asking import Asking, Heard
from flows.regenerate.choosing import Listed, MeantModel, Table
from flows.regenerate.company import CONTRADICTION, how_company_differs
from flows.regenerate.comparing import Drift, compare_answers
from flows.regenerate.reading import CallReader, Found, Ready
from flows.regenerate.report import Outcome, Tally
from flows.replay.differences import place_of
from storage.spool import RecordedCall


class Interview:
    """Asks an open model. What a call brought with it is let go of once it is compared."""

    def __init__(self, reader: CallReader, asking: Asking) -> None:
        self._reader = reader
        self._asking = asking
        self._tally = Tally()

    async def hold(self, meant: MeantModel) -> Tally:
        """Ask all that is meant: first those that are computed alone, then batch by batch."""
        for calls in _parts(meant.alone, self._asking.calls_read):
            await self._ask_alone(calls)
        for table in meant.tables:
            await self._ask_table(table)
        return self._tally

    async def _ask_alone(self, calls: Sequence[Listed]) -> None:
        found = await asyncio.to_thread(self._reader.read, calls)
        ready = [each for each in found.values() if isinstance(each, Ready)]
        heard = await self._asking.ask_each(ready)
        answers = {each.call.row.call_id: answer for each, answer in zip(ready, heard, strict=True)}

        def compare_all() -> None:
            for call in calls:
                company = CONTRADICTION if call.seat else None
                self._tally.add(_outcome(call, found[call.call_id], answers.get(call.call_id), company))

        await asyncio.to_thread(compare_all)

    async def _ask_table(self, table: Table) -> None:
        """Ask the members of a batch together; without those who are missing if it must be."""
        members = [member for member in table.members if member]
        found = await asyncio.to_thread(self._reader.read, [*members, *table.meant])
        seated = {place: found[member.call_id] for place, member in enumerate(table.members) if member}
        ready = {place: each for place, each in seated.items() if isinstance(each, Ready)}
        heard = await self._asking.ask_together(list(ready.values()))
        answers: dict[int, Heard] = dict(zip(ready, heard, strict=True))

        def compare_all() -> None:
            for call in table.meant:
                self._tally.add(_seated_outcome(call, found[call.call_id], answers))

        await asyncio.to_thread(compare_all)


def _seated_outcome(call: Listed, found: Found, answers: Mapping[int, Heard]) -> Outcome:
    assert call.seat is not None, "who sits at a table has a seat"
    size, place = call.seat.size, call.seat.place
    answer = answers.get(place, "the call that stands for it in its batch cannot be asked")
    company = None
    if len(answers) < size:
        company = f"{size - len(answers)} of the {size} in its batch are not in the record, or damaged"
    elif isinstance(answer, RecordedCall) and answer.row.error is None:
        company = how_company_differs(call.seat, answer.row.backend)
    return _outcome(call, found, answer, company)


def _outcome(call: Listed, found: Found, answer: Heard | None, company: str | None) -> Outcome:
    reason = found if isinstance(found, str) else answer if isinstance(answer, str) else None
    drifts: tuple[Drift, ...] = ()
    if isinstance(found, Ready) and isinstance(answer, RecordedCall):
        drifts = compare_answers(found.call, answer)
    return Outcome(
        call_id=call.call_id,
        version=call.version,
        sample_id=call.at.sample_id,
        purpose=call.at.purpose,
        where=place_of(call.at),
        verdict="impossible" if reason else "drifted" if drifts else "identical",
        reason=reason,
        drifts=drifts,
        company=company,
    )


def _parts(calls: Sequence[Listed], size: int) -> Iterator[Sequence[Listed]]:
    for start in range(0, len(calls), size):
        yield calls[start : start + size]
