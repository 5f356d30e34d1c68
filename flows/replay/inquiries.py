"""A version of an inquiry, made again: the same question about the same lake, each call answered from the record."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from flows.deriving import DERIVE, derivation_again
from flows.inquiring import Inquiry
from flows.inquiry import INQUIRY, Ear
from flows.proposing import proposal_again
from flows.recorder import Recorder
from flows.replay.differences import Difference, altered, never_recorded, place_of, rows_that_differ
from flows.replay.hashing import hash_again
from flows.replay.past import NotReplayable, PastRun
from flows.replay.recorded import NeverRecordedError, RecordedModel
from flows.replay.rehearsal import let_through
from flows.replay.report import ReplayedVersion
from flows.replay.tape import RecordedTape
from flows.topics.proposing import PROPOSE
from storage.calls import AlteredCall, examine_calls
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import InquiryRow, ProposalDecisionRow, ProposalRow, Row, TemplateRow, TopicRow
from storage.spool import RecordedCall
from storage.versions import Version

MADE: tuple[type[Row], ...] = (InquiryRow, ProposalRow, ProposalDecisionRow, TopicRow, TemplateRow)
AGAIN: Mapping[str, Callable[[Lake, InquiryRow], Inquiry]] = {PROPOSE: proposal_again, DERIVE: derivation_again}


class InquiryReplay:
    """Replays what one version asked for the lake itself."""

    def __init__(self, lake: Lake, version: Version, run: PastRun) -> None:
        self._lake = lake
        self._version = version
        self._added = version.since(version.number - 1)
        self._run = run

    def replay(self) -> ReplayedVersion:
        """Ask again, and compare. LakeDamaged; NotReplayable when it is not said what was asked."""
        number, rows = self._version.number, list(self._lake.rows(InquiryRow, self._added))
        calls = list(examine_calls(self._lake, self._added, {row.inquiry_id for row in rows}))
        whole = [call for call in calls if isinstance(call, RecordedCall)]
        differences = [altered(number, call) for call in calls if isinstance(call, AlteredCall)]
        made: list[Row] = []
        if not differences:
            for row in rows:
                again = asyncio.run(self._ask(row, [call for call in whole if call.row.sample_id == row.inquiry_id]))
                differences += [each for each in again if isinstance(each, Difference)]
                made += [each for each in again if isinstance(each, Row)]
        made_sha256 = None
        if not differences:
            differences = list(self._compare(made))
        if not differences:
            draft = PackageDraft(INQUIRY, [*(call.row for call in whole), *made])
            made_sha256, differences = hash_again(self._lake, self._version, [draft])
        return ReplayedVersion(
            version=number, what=INQUIRY, made_sha256=made_sha256, calls=len(calls), differences=tuple(differences)
        )

    async def _ask(self, row: InquiryRow, calls: Sequence[RecordedCall]) -> Sequence[Row | Difference]:
        tape = RecordedTape(calls)
        inquiry = self._inquiry(row)
        ear = Ear(
            writer=RecordedModel(self._run.roles["writer"]),
            recorder=Recorder(tape=tape, desk=let_through, run_id=self._run.start.run_id, patience=0),
            settings=self._run.settings.generation,
            inquiry_id=inquiry.inquiry_id,
        )
        try:
            made = await inquiry.ask(ear)
        except NeverRecordedError as error:
            assert tape.last is not None, "who asks says where"
            return [never_recorded(self._version.number, tape.last, error, tape.rows())]
        return [*made, *self._unasked(tape)]

    def _inquiry(self, row: InquiryRow) -> Inquiry:
        if row.kind not in AGAIN:
            raise NotReplayable(f"an inquiry of kind {row.kind} is none that this interlake knows")
        try:
            return AGAIN[row.kind](self._lake, row)
        except (KeyError, ValueError, TypeError) as error:
            raise NotReplayable(f"inquiry {row.inquiry_id} does not say what was asked ({error})") from error

    def _unasked(self, tape: RecordedTape) -> Iterable[Difference]:
        for row in tape.unasked():
            yield Difference(
                version=self._version.number,
                sample_id=None,
                where=place_of(row),
                what=f"call {row.call_id} is recorded, and not asked for",
                call_id=row.call_id,
            )

    def _compare(self, made: Sequence[Row]) -> Iterable[Difference]:
        for kind in MADE:
            recorded = self._lake.rows(kind, self._added)
            mine = [row for row in made if isinstance(row, kind)]
            yield from rows_that_differ(self._version.number, recorded, mine)
