"""Replaying a lake, a run or a sample, version by version. Writes nothing, and needs neither models nor a network."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from flows.errors import UserError
from flows.inquiry import INQUIRY
from flows.judge.asked import JUDGE
from flows.kept_index import KeptIndex
from flows.recorder import model_id
from flows.redeciding import MOVE, RETHRESHOLD
from flows.replay.builds import BuildReplay
from flows.replay.claimed import ClaimedSamples, ClaimedSlots
from flows.replay.differences import Difference
from flows.replay.hashing import hash_recorded
from flows.replay.inquiries import InquiryReplay
from flows.replay.moves import MoveReplay
from flows.replay.past import NotReplayable, PastRun, PastRuns
from flows.replay.prefixes import find_by_prefix
from flows.replay.recipes import recipe_differences
from flows.replay.report import GIVEN, Replay, ReplayedVersion
from flows.replay.retirements import replay_retirement
from flows.replay.reviews import replay_review
from flows.replay.verdicts import VerdictReplay
from storage.errors import LakeDamaged
from storage.keepers import all_keepers
from storage.lake import Lake
from storage.projection import read_link
from storage.records import ClaimRow, DecisionRow, EmbeddingRow, SampleRow, VerdictRow
from storage.reviews import REVIEW
from storage.slots import RERUN
from storage.tables import Among
from storage.versions import Version

MADE = frozenset({"build", "vectors", "decision", JUDGE, INQUIRY})
"""Kinds of packages that follow from others; all else says what was given, or what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What of a lake to replay: versions after `since` up to `version` (the newest by default), all of them or only
    those of a run or about a sample, each named by the first digits of its id."""

    version: int | None = None
    since: int = 0
    run: str | None = None
    sample: str | None = None


class Replaying:
    """A replay that goes from version to version; `numbers` are those to be replayed, oldest first.

    Versions that only say what was given, or what happened, are among them, unless a sample is replayed: of these it is
    looked whether they are what the chain says.
    """

    def __init__(self, path: Path, options: ReplayOptions) -> None:
        """NotALake; NoSuchThing for a version, run or sample that is not there; UserError when nothing is meant."""
        self._began = time.monotonic()
        self._lake = lake = Lake.open(path)
        self._head = lake.version(options.version)
        if not 0 <= options.since < self._head.number:
            raise UserError(f"there is no version after {options.since}: the last one is {self._head.number}")
        self._runs = PastRuns(lake, self._head)
        self._run_id = self._runs.named(options.run) if options.run else None
        self._among = {self._sample(options.sample)} if options.sample else None
        self._slots = ClaimedSamples(lake, self._head)
        self._claimed: dict[str, ClaimedSlots] = {}
        self._index: KeptIndex | None = None
        self._seen: set[str] = set()
        added = self._head.since(options.since).packages
        self._made = {entry.version for entry in added if entry.kind in MADE}
        numbers = range(options.since + 1, self._head.number + 1)
        self.numbers = tuple(number for number in numbers if self._is_meant(number))
        if not self.numbers:
            raise UserError(f"nothing of that was made after version {options.since} up to {self._head.number}")

    def replay(self, number: int) -> ReplayedVersion:
        """One version made again. What stands in the way is a difference, whatever it is."""
        replayed = self._made_again(number)
        if self._among or replayed.differences:
            return replayed
        return replace(replayed, differences=tuple(self._recorded(number)))

    def _made_again(self, number: int) -> ReplayedVersion:
        if number not in self._made:
            return ReplayedVersion(version=number, what=GIVEN)
        try:
            run = self._runs.find(read_link(self._lake, number).run_id)
            replayed = self._replay(self._head.until(number), run)
            return replace(replayed, differences=(*self._of_run(run), *replayed.differences))
        except (NotReplayable, LakeDamaged, UserError) as error:
            why = str(error)
        except Exception as error:  # whatever it is, it comes of what lies there
            why = f"{type(error).__name__}: {error}"
        difference = _as_a_whole(number, f"cannot be replayed: {why}")
        return ReplayedVersion(version=number, what="?", differences=(difference,))

    def _recorded(self, number: int) -> Iterator[Difference]:
        """What lies there in other rows than the chain says, all that a replay does not look up included."""
        try:
            yield from hash_recorded(self._lake, number)
        except LakeDamaged as error:
            yield _as_a_whole(number, f"cannot be read: {error}")

    def report(self, versions: list[ReplayedVersion]) -> Replay:
        """All that was replayed, put together."""
        return Replay(
            path=str(self._lake.path),
            version=self._head.number,
            sha256=self._head.sha256,
            versions=tuple(each for each in versions if each.what != GIVEN or each.differences),
            given=sum(each.what == GIVEN for each in versions),
            seconds=time.monotonic() - self._began,
        )

    def _replay(self, version: Version, run: PastRun) -> ReplayedVersion:
        added = version.since(version.number - 1)
        kinds = {entry.kind for entry in added.packages}
        if "build" in kinds:
            return BuildReplay(
                self._lake,
                version,
                run=run,
                claimed=self._claims_of(version, run),
                index=self._index_of(run),
                among=self._among,
            ).replay()
        if INQUIRY in kinds:
            return InquiryReplay(self._lake, version, run).replay()
        if run.start.kind in (MOVE, RETHRESHOLD):
            move = MoveReplay(self._lake, version, run, self._among)
            return move.replay_vectors() if "vectors" in kinds else move.replay_decisions()
        if run.start.kind == JUDGE:
            return VerdictReplay(self._lake, version, run, self._among).replay()
        if run.start.kind == REVIEW:
            return replay_review(self._lake, version, self._among)
        if all(row.kind == RERUN for row in self._lake.rows(DecisionRow, added)):
            return replay_retirement(self._lake, version, run, self._among)
        raise NotReplayable(f"a run of kind {run.start.kind} decided it, which this interlake does not know")

    def _of_run(self, run: PastRun) -> list[Difference]:
        """What is wrong with a run as a whole, when it is met for the first time."""
        if run.start.run_id in self._seen:
            return []
        self._seen.add(run.start.run_id)
        claimed = self._claimed.get(run.start.run_id)
        return [*recipe_differences(run), *(claimed.differences if claimed else ())]

    def _claims_of(self, version: Version, run: PastRun) -> ClaimedSlots:
        run_id = run.start.run_id
        if run_id not in self._claimed:
            self._claimed[run_id] = ClaimedSlots.read(self._lake, version, run, self._slots)
        return self._claimed[run_id]

    def _index_of(self, run: PastRun) -> KeptIndex:
        """The index of kept turns, made anew when the encoder is another."""
        encoder = model_id(run.roles["encoder"])
        if self._index is None or self._index.turns.encoder != encoder:
            self._index = KeptIndex(self._lake, encoder, read_all=all_keepers)
        return self._index

    def _sample(self, prefix: str) -> str:
        named = (
            self._lake.scan(kind, self._head, ["sample_id"]).collect()["sample_id"]
            for kind in (ClaimRow, SampleRow, DecisionRow)
        )
        return find_by_prefix(chain.from_iterable(named), prefix, what="sample")

    def _is_meant(self, number: int) -> bool:
        if self._run_id and read_link(self._lake, number).run_id != self._run_id:
            return False
        if self._among is None:
            return True
        if number not in self._made:
            return False
        added, among = self._head.until(number).since(number - 1), Among(column="sample_id", values=self._among)
        kinds = (DecisionRow, EmbeddingRow, VerdictRow)
        return any(next(self._lake.rows(kind, added, among), None) is not None for kind in kinds)


def _as_a_whole(number: int, what: str) -> Difference:
    return Difference(version=number, sample_id=None, where="as a whole", what=what)


def replay_lake_at(path: Path, options: ReplayOptions) -> Replay:
    """Replay all that is meant, and say what it came to."""
    replaying = Replaying(path, options)
    return replaying.report([replaying.replay(number) for number in replaying.numbers])
