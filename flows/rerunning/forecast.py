"""How many calls a rerun will take from the record, and how many it will ask, told before it asks any."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flows.filling import fill_slot
from flows.plan import PlannedSlot
from flows.preview import fewest_calls, most_calls
from flows.recorder import Address, Recorder
from flows.replay.recorded import NeverRecordedError, recorded_cast
from flows.replay.rehearsal import let_through
from flows.settings import GenerationSettings
from flows.topics.catalogue import Template
from flows.topics.lake_templates import read_lake_templates
from models.identity import ModelIdentity
from storage.calls import read_calls
from storage.lake import Lake
from storage.spool import RecordedCall
from storage.versions import Version

SLOTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Calls of a rerun: `reused` at least, and new ones from `fewest` to `most`, when every first attempt is usable.

    Each slot is gone through until the first request that nobody was ever asked: what comes after that depends on the
    answer, and more of it may turn out to be recorded.
    """

    reused: int = 0
    fewest: int = 0
    most: int = 0
    whole: int = 0
    """Slots all of whose calls are recorded."""

    def __add__(self, other: "Forecast") -> "Forecast":
        return Forecast(
            reused=self.reused + other.reused,
            fewest=self.fewest + other.fewest,
            most=self.most + other.most,
            whole=self.whole + other.whole,
        )

    def line(self) -> str:
        """One line for a person."""
        if not self.most:
            return f"calls: all {self.reused} are taken from the record, none is asked"
        return f"calls: at least {self.reused} taken from the record, {self.fewest} to {self.most} asked anew"


class OldAnswers:
    """A tape of what other samples of a slot were answered, found by the request alone; counts what it gave."""

    def __init__(self, calls: Iterable[RecordedCall]) -> None:
        self._answered = {call.row.request_key: call for call in calls if call.row.error is None}
        self.found = 0

    def find(self, at: Address, request_key: str) -> RecordedCall | None:  # noqa: ARG002
        call = self._answered.get(request_key)
        self.found += call is not None
        return call

    async def keep(self, call: RecordedCall) -> None:
        pass


def forecast(
    lake: Lake,
    version: Version,
    slots: Sequence[PlannedSlot],
    *,
    settings: GenerationSettings,
    roles: Mapping[str, ModelIdentity],
) -> Forecast:
    """Go through each slot as far as the record goes. LakeDamaged when recorded calls cannot be read."""
    total, derived = Forecast(), read_lake_templates(lake, version)
    for first in range(0, len(slots), SLOTS_AT_ONCE):
        part = slots[first : first + SLOTS_AT_ONCE]
        wanted = {sibling for slot in part for sibling in (*slot.siblings, slot.sample_id)}
        calls: dict[str, list[RecordedCall]] = {}
        for call in read_calls(lake, version, wanted):
            calls.setdefault(call.row.sample_id, []).append(call)
        for slot in part:
            theirs = [call for name in (*slot.siblings, slot.sample_id) for call in calls.get(name, ())]
            total += asyncio.run(_go_through(slot, OldAnswers(theirs), settings, roles, derived))
    return total


async def _go_through(
    slot: PlannedSlot,
    answers: OldAnswers,
    settings: GenerationSettings,
    roles: Mapping[str, ModelIdentity],
    derived: Mapping[str, Template],
) -> Forecast:
    recorder = Recorder(tape=answers, desk=let_through, run_id="", patience=0)
    try:
        cast = recorded_cast(roles)
        await fill_slot(slot, cast=cast, recorder=recorder, settings=settings, derived=derived)
    except NeverRecordedError:
        turns = len(slot.templates)
        fewest = max(1, turns * fewest_calls(settings) - answers.found)
        return Forecast(
            reused=answers.found, fewest=fewest, most=max(fewest, turns * most_calls(settings) - answers.found)
        )
    return Forecast(reused=answers.found, whole=1)
