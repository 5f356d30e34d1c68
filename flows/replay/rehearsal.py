"""Samples written again: the real loop, each call answered from the record; where it cannot go on, it says why."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flows.filling import fill_slot, known_templates
from flows.plan import PlannedSlot
from flows.recorder import Address, Answer, Asked, Recorder
from flows.replay.differences import Difference, altered, never_recorded, place_of
from flows.replay.past import PastRun
from flows.replay.recorded import NeverRecordedError, recorded_bench, recorded_cast
from flows.replay.tape import RecordedTape
from flows.seir.dialogue import Dialogue
from flows.topics.catalogue import Template
from flows.topics.lake_templates import read_lake_templates
from storage.calls import AlteredCall, examine_calls
from storage.canonical import derive_id
from storage.lake import Lake
from storage.spool import RecordedCall
from storage.versions import Version

Examined = RecordedCall | AlteredCall
PLACE = ("sample_id", "turn", "stage", "round", "purpose", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """One sample written again: its dialogue, if it came to one, and the calls that its own version brought."""

    slot: PlannedSlot
    calls: tuple[RecordedCall, ...]
    dialogue: Dialogue | None
    difference: Difference | None


class Rehearsal:
    """Writes the samples of one version again. `version` is the lake as it was then."""

    def __init__(self, lake: Lake, version: Version, run: PastRun) -> None:
        self._lake = lake
        self._number = version.number
        self._before = version.until(version.number - 1)
        self._added = version.since(version.number - 1)
        self._run = run
        self._version = version
        self._derived: Mapping[str, Template] = {}

    def write(self, slots: Sequence[PlannedSlot]) -> list[Rehearsed]:
        """All of them, in their order. LakeDamaged when recorded calls cannot be read at all."""
        named = {name for slot in slots for name in slot.templates}
        if named - known_templates().keys():
            self._derived = read_lake_templates(self._lake, self._version)
        earlier = self._calls(self._before, [slot.sample_id for slot in slots if slot.retry])
        here = self._calls(self._added, [slot.sample_id for slot in slots])

        async def write_all() -> list[Rehearsed]:
            works = (self._rehearse(slot, earlier[slot.sample_id], here[slot.sample_id]) for slot in slots)
            return list(await asyncio.gather(*works))

        return asyncio.run(write_all())

    def _calls(self, version: Version, sample_ids: Sequence[str]) -> defaultdict[str, list[Examined]]:
        found: defaultdict[str, list[Examined]] = defaultdict(list)
        for call in examine_calls(self._lake, version, sample_ids) if sample_ids else ():
            found[call.row.sample_id].append(call)
        return found

    async def _rehearse(self, slot: PlannedSlot, earlier: Sequence[Examined], here: Sequence[Examined]) -> Rehearsed:
        """Write one; the first thing that stands in the way is the difference."""
        checked = [_checked(call) for call in (*earlier, *here)]
        tape = RecordedTape(call for call in checked if isinstance(call, RecordedCall))
        broken = next((call for call in checked if isinstance(call, AlteredCall)), None)
        dialogue, difference = None, altered(self._number, broken) if broken else self._unknown_template(slot)
        if difference is None:
            try:
                dialogue = await self._fill(slot, tape)
            except NeverRecordedError as error:
                assert tape.last is not None, "who asks says where"
                difference = never_recorded(self._number, tape.last, error, tape.rows())
            except Exception as error:  # whatever it is, it did not happen when the sample was made
                difference = self._failed(slot, tape, error)
        mine = {call.row.call_id for call in here}
        return Rehearsed(
            slot=slot,
            calls=tuple(call for call_id, call in tape.asked.items() if call_id in mine),
            dialogue=dialogue,
            difference=difference or self._unasked(tape),
        )

    async def _fill(self, slot: PlannedSlot, tape: RecordedTape) -> Dialogue:
        recorder = Recorder(tape=tape, desk=let_through, run_id=self._run.start.run_id, patience=0)
        judges = recorded_bench(self._run)
        cast = replace(recorded_cast(self._run.roles), bench=judges if judges.judges else None)
        return await fill_slot(
            slot, cast=cast, recorder=recorder, settings=self._run.settings.generation, derived=self._derived
        )

    def _unknown_template(self, slot: PlannedSlot) -> Difference | None:
        unknown = [name for name in slot.templates if name not in known_templates() and name not in self._derived]
        if not unknown:
            return None
        what = f"template {unknown[0]} is none of those that come with this interlake, or that the lake has"
        return self._difference(slot.sample_id, f"turn {slot.templates.index(unknown[0]) + 1}", what)

    def _failed(self, slot: PlannedSlot, tape: RecordedTape, error: Exception) -> Difference:
        where = place_of(tape.last) if tape.last else "the beginning"
        difference = self._difference(slot.sample_id, where, f"the pipeline fails ({type(error).__name__}: {error})")
        return replace(difference, call_id=tape.last.call_id() if tape.last else None)

    def _unasked(self, tape: RecordedTape) -> Difference | None:
        row = next(iter(tape.unasked()), None)
        if row is None:
            return None
        difference = self._difference(
            row.sample_id, place_of(row), f"call {row.call_id} is recorded, and not asked for"
        )
        return replace(difference, call_id=row.call_id)

    def _difference(self, sample_id: str, where: str, what: str) -> Difference:
        return Difference(version=self._number, sample_id=sample_id, where=where, what=what)


def _checked(call: Examined) -> Examined:
    """The call, altered where its row says of place, model or seed what its id and its request do not."""
    if isinstance(call, AlteredCall):
        return call
    row, problem = call.row, None
    try:
        request = json.loads(row.request)
        if Address(**{name: getattr(row, name) for name in PLACE}).call_id() != row.call_id:
            problem = "its place is not that of its id"
        elif derive_id("model", request["model"], request["revision"]) != row.model_id:
            problem = "its model is not that of its request"
        elif request.get("seed") != row.seed:
            problem = "its seed is not that of its request"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"its request is none ({error})"
    return AlteredCall(row=row, problem=problem) if problem else call


async def let_through(model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:  # noqa: ARG001
    """A desk that has room for everybody."""
    return await send()
