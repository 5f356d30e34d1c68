"""Which verdicts a lake still lacks, and the turns that they are about; reads packages, asks nobody."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from flows.judge.asked import DRAFTS, Hearing, Subject
from flows.judge.candidate import Candidate, Exchange
from flows.judge.seating import Bench
from models.picture import Picture
from storage.embeddings import read_standing
from storage.lake import Lake
from storage.records import IterationRow, TurnRow, VerdictRow
from storage.tables import Among
from storage.turn_rows import find_pictures
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Docket:
    """The hearings that are due, by sample, in the order in which samples came; `samples` are all that are kept."""

    due: Mapping[str, Sequence[Hearing]]
    samples: int

    def batches(self, size: int) -> list[list[str]]:
        """Sample ids, so many at a time."""
        ids = list(self.due)
        return [ids[first : first + size] for first in range(0, len(ids), size)]


def read_docket(
    lake: Lake, head: Version, at: Version, bench: Bench, *, limit: int | None = None, rounds: bool = False
) -> Docket:
    """What the kept samples of version `at` lack in verdicts at `head`; of these samples at most `limit`.

    With `rounds`, each recorded draft of an answer and of a picture is due as well as the finished turn.
    """
    kept = {sample_id for sample_id, is_kept in read_standing(lake, at).kept.items() if is_kept}
    given = set(lake.scan(VerdictRow, head, ["verdict_id"]).collect()["verdict_id"])
    drafts = _drafts(lake, at) if rounds else {}
    due: dict[str, list[Hearing]] = {}
    for sample_id, turn in _turns(lake, at, kept):
        subjects = [Subject(sample_id=sample_id, turn=turn), *drafts.get((sample_id, turn), ())]
        all_of_them = (each for subject in subjects for each in hearings_of(bench, subject))
        hearings = [each for each in all_of_them if each.verdict_id() not in given]
        if hearings and (sample_id in due or limit is None or len(due) < limit):
            due.setdefault(sample_id, []).extend(hearings)
    return Docket(due=due, samples=len(kept))


def hearings_of(bench: Bench, subject: Subject) -> Iterator[Hearing]:
    """Every hearing that a bench gives a subject."""
    for judge in bench.judges:
        for repeat in bench.repeats_of(judge):
            yield Hearing(subject=subject, judge=judge, repeat=repeat)


def _turns(lake: Lake, at: Version, kept: Collection[str]) -> Iterator[tuple[str, int]]:
    frame = lake.scan(TurnRow, at, ["sample_id", "turn"]).sort("version", "sample_id", "turn").collect()
    for sample_id, turn in frame.select("sample_id", "turn").iter_rows():
        if sample_id in kept:
            yield sample_id, turn


def _drafts(lake: Lake, at: Version) -> dict[tuple[str, int], list[Subject]]:
    """The drafts of each turn that can be judged, in the order in which they were made."""
    columns = ["sample_id", "turn", "stage", "round"]
    frame = lake.scan(IterationRow, at, columns).filter(pl.col("stage").is_in(DRAFTS)).sort(columns).collect()
    found: dict[tuple[str, int], list[Subject]] = {}
    for sample_id, turn, stage, number in frame.select(columns).iter_rows():
        subject = Subject(sample_id=sample_id, turn=turn, stage=stage, round=number)
        found.setdefault((sample_id, turn), []).append(subject)
    return found


class CaseFiles:
    """The turns of some samples with their pictures, as candidates; each picture is read and decoded once.

    With `drafts`, those that each turn came from are there too.
    """

    def __init__(self, lake: Lake, version: Version, sample_ids: Collection[str], *, drafts: bool = False) -> None:
        among = Among(column="sample_id", values=set(sample_ids))
        self._turns = {(row.sample_id, row.turn): row for row in lake.rows(TurnRow, version, among)}
        rounds = list(lake.rows(IterationRow, version, among)) if drafts else []
        self._drafts = {(row.sample_id, row.turn, row.stage, row.round): row for row in rounds if row.stage in DRAFTS}
        named = {row.image_sha256 for row in self._turns.values()}
        named |= {row.image_sha256 for row in self._drafts.values() if row.image_sha256}
        places = find_pictures(lake, version, named)
        self._pictures = {sha256: Picture.from_bytes(places[sha256].read()) for sha256 in sorted(named)}

    def candidate(self, subject: Subject) -> Candidate:
        """A finished turn, or a draft of it, with the turns before it; KeyError when it is not there.

        The draft of an answer has the finished question and no picture, that of a picture the finished answer.
        """
        row = self._turns[subject.sample_id, subject.turn]
        if subject.stage is None or subject.round is None:
            answer, image, caption = row.answer, row.image_sha256, row.caption
        else:
            draft = self._drafts[subject.sample_id, subject.turn, subject.stage, subject.round]
            answer = row.answer if draft.answer is None else draft.answer
            image, caption = draft.image_sha256 or "", draft.caption or ""
        return Candidate(
            question=row.question,
            answer=answer,
            picture=self._pictures[image] if image else None,
            caption=caption,
            history=tuple(self._exchange(subject.sample_id, turn) for turn in range(1, subject.turn)),
        )

    def _exchange(self, sample_id: str, turn: int) -> Exchange:
        row = self._turns[sample_id, turn]
        return Exchange(question=row.question, answer=row.answer, picture=self._pictures[row.image_sha256])
