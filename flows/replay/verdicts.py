"""A version of verdicts, given again: the judges of its run, each call answered from the record."""

import asyncio
from collections.abc import Collection, Iterator, Sequence

from flows.judge.asked import JUDGE, Hearing, Subject, hear, rows_of
from flows.judge.docket import CaseFiles
from flows.recorder import Recorder
from flows.replay.differences import Difference, altered, never_recorded, rows_that_differ
from flows.replay.hashing import hash_again
from flows.replay.past import NotReplayable, PastRun
from flows.replay.recorded import NeverRecordedError, recorded_bench
from flows.replay.rehearsal import let_through
from flows.replay.report import ReplayedVersion
from flows.replay.tape import RecordedTape
from storage.calls import AlteredCall, examine_calls
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import VerdictRow
from storage.spool import RecordedCall
from storage.versions import Version


class VerdictReplay:
    """Replays the verdicts of one version; `among` None for those on all samples."""

    def __init__(self, lake: Lake, version: Version, run: PastRun, among: Collection[str] | None) -> None:
        self._lake = lake
        self._version = version
        self._run = run
        added = version.since(version.number - 1)
        rows = lake.rows(VerdictRow, added)
        self._recorded = [row for row in rows if among is None or row.sample_id in among]
        self._calls = list(examine_calls(lake, added, {row.sample_id for row in self._recorded}))
        self._is_whole = among is None

    def replay(self) -> ReplayedVersion:
        """Give the verdicts again, and compare. LakeDamaged; NotReplayable for a judge that its run did not have."""
        number = self._version.number
        whole = [call for call in self._calls if isinstance(call, RecordedCall)]
        differences = [altered(number, call) for call in self._calls if isinstance(call, AlteredCall)]
        heard = asyncio.run(self._hear_all(whole)) if not differences else []
        differences += [each for each in heard if isinstance(each, Difference)]
        made = [each for each in heard if isinstance(each, VerdictRow)]
        made_sha256 = None
        if not differences:
            differences = list(rows_that_differ(number, self._recorded, made))
            if not differences and self._is_whole:
                draft = PackageDraft(JUDGE, rows_of(whole, made))
                made_sha256, differences = hash_again(self._lake, self._version, [draft])
        return ReplayedVersion(
            version=number,
            what="verdicts",
            made_sha256=made_sha256,
            turns=len({(row.sample_id, row.turn) for row in self._recorded}),
            calls=len(self._calls),
            differences=tuple(differences),
        )

    async def _hear_all(self, calls: Sequence[RecordedCall]) -> list[VerdictRow | Difference]:
        sample_ids = {row.sample_id for row in self._recorded}
        has_drafts = any(row.stage is not None for row in self._recorded)
        files = CaseFiles(self._lake, self._version, sample_ids, drafts=has_drafts)
        tapes = {
            sample_id: RecordedTape(call for call in calls if call.row.sample_id == sample_id)
            for sample_id in sample_ids
        }

        async def again(hearing: Hearing) -> VerdictRow | Difference:
            tape = tapes[hearing.subject.sample_id]
            recorder = Recorder(tape=tape, desk=let_through, run_id=self._run.start.run_id, patience=0)
            try:
                return await hear(hearing, files.candidate(hearing.subject), recorder)
            except NeverRecordedError as error:
                assert tape.last is not None, "who asks says where"
                return never_recorded(self._version.number, tape.last, error, tape.rows())

        return [await again(hearing) for hearing in self._hearings()]

    def _hearings(self) -> Iterator[Hearing]:
        judges = {judge.name: judge for judge in recorded_bench(self._run).judges}
        for row in self._recorded:
            if row.judge not in judges:
                raise NotReplayable(f"run {self._run.start.run_id} names no judge {row.judge}, and has its verdicts")
            subject = Subject(sample_id=row.sample_id, turn=row.turn, stage=row.stage, round=row.round)
            yield Hearing(subject=subject, judge=judges[row.judge], repeat=row.repeat)
