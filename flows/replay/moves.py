"""A version that decides anew, made again: vectors from their recorded calls, decisions from the vectors."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from flows.deciding import Ruling
from flows.moving import embed_turn, vector_rows
from flows.recorder import Recorder, model_id
from flows.redeciding import decide_anew
from flows.replay.differences import Difference, altered, never_recorded, rows_that_differ
from flows.replay.hashing import hash_again
from flows.replay.past import PastRun
from flows.replay.recorded import NeverRecordedError, RecordedModel
from flows.replay.rehearsal import let_through
from flows.replay.report import ReplayedVersion
from flows.replay.tape import RecordedTape
from models.embedding import Vector
from models.picture import Picture
from storage.calls import AlteredCall, examine_calls
from storage.embeddings import BareTurn
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import DecisionRow, DuplicateRow, EmbeddingRow, Row, TurnRow
from storage.spool import RecordedCall
from storage.tables import Among
from storage.turn_rows import find_pictures
from storage.versions import Version

Vectors = tuple[Vector, Vector]


class MoveReplay:
    """Replays one version of a run that decides anew: vectors of some turns, or the decisions. `among` None for all."""

    def __init__(self, lake: Lake, version: Version, run: PastRun, among: Collection[str] | None) -> None:
        self._lake = lake
        self._version = version
        self._added = version.since(version.number - 1)
        self._run = run
        self._among = among
        self._encoder = RecordedModel(run.roles["encoder"])
        self._encoder_id = model_id(run.roles["encoder"])

    def replay_vectors(self) -> ReplayedVersion:
        """Embed the turns of this version again, and compare their vectors. LakeDamaged."""
        turns = self._turns()
        calls = list(examine_calls(self._lake, self._added, {turn.sample_id for turn in turns}))
        whole = [call for call in calls if isinstance(call, RecordedCall)]
        answers = asyncio.run(self._embed_all(turns, whole))
        differences = [altered(self._version.number, call) for call in calls if isinstance(call, AlteredCall)]
        differences += [answer for answer in answers if isinstance(answer, Difference)]
        vectors = [answer for answer in answers if not isinstance(answer, Difference)]
        made_sha256 = None
        if not differences:
            rows = [*(call.row for call in whole), *vector_rows(self._encoder_id, turns, vectors)]
            differences = list(self._differing(EmbeddingRow, rows))
            if not differences and self._among is None:
                made_sha256, differences = hash_again(self._lake, self._version, [PackageDraft("vectors", rows)])
        return ReplayedVersion(
            version=self._version.number,
            what="new vectors",
            made_sha256=made_sha256,
            turns=len(turns),
            calls=len(calls),
            differences=tuple(differences),
        )

    def replay_decisions(self) -> ReplayedVersion:
        """Decide again what the run decided, and compare."""
        ruling = Ruling(
            kind=self._run.start.kind,
            version=self._version.number,
            encoder=self._encoder_id,
            duplicates=self._run.settings.selection.duplicates,
        )
        decided = decide_anew(self._lake, self._version.until(self._version.number - 1), ruling)
        differences = [each for kind in (DecisionRow, DuplicateRow) for each in self._differing(kind, decided.rows)]
        made_sha256 = None
        if not differences and self._among is None:
            drafts = [PackageDraft("decision", decided.rows)]
            made_sha256, differences = hash_again(self._lake, self._version, drafts)
        told = [
            row for row in decided.rows if isinstance(row, DecisionRow) and row.turn is None and self._is_meant(row)
        ]
        return ReplayedVersion(
            version=self._version.number,
            what="decisions anew",
            made_sha256=made_sha256,
            samples=len(told),
            outcomes=Counter(row.outcome for row in told),
            differences=tuple(differences),
        )

    def _turns(self) -> list[BareTurn]:
        """The turns that got vectors in this version."""
        named = [row for row in self._lake.rows(EmbeddingRow, self._added) if self._is_meant(row)]
        among = Among(column="sample_id", values={row.sample_id for row in named})
        turns = {(row.sample_id, row.turn): row for row in self._lake.rows(TurnRow, self._version, among)}
        return [
            BareTurn(sample_id=row.sample_id, turn=row.turn, caption=row.caption, image_sha256=row.image_sha256)
            for row in (turns[named_row.sample_id, named_row.turn] for named_row in named)
        ]

    async def _embed_all(self, turns: Sequence[BareTurn], calls: Sequence[RecordedCall]) -> list[Vectors | Difference]:
        places = find_pictures(self._lake, self._version, {turn.image_sha256 for turn in turns})

        async def embed(turn: BareTurn) -> Vectors | Difference:
            tape = RecordedTape(call for call in calls if call.row.sample_id == turn.sample_id)
            recorder = Recorder(tape=tape, desk=let_through, run_id=self._run.start.run_id, patience=0)
            picture = await asyncio.to_thread(Picture.from_bytes, places[turn.image_sha256].read())
            try:
                return await embed_turn(recorder, self._encoder, turn, picture)
            except NeverRecordedError as error:
                assert tape.last is not None, "who asks says where"
                return never_recorded(self._version.number, tape.last, error, tape.rows())

        return list(await asyncio.gather(*map(embed, turns)))

    def _differing(self, kind: type[Row], made: Sequence[Row]) -> Iterator[Difference]:
        recorded = [row for row in self._lake.rows(kind, self._added) if self._is_meant(row)]
        mine = [row for row in made if isinstance(row, kind) and self._is_meant(row)]
        return rows_that_differ(self._version.number, recorded, mine)

    def _is_meant(self, row: Row) -> bool:
        return self._among is None or getattr(row, "sample_id", None) in self._among
