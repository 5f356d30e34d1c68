"""A version by which a person decided: the words are given, what follows from them is made again."""

from collections import Counter
from collections.abc import Collection, Iterable

from flows.replay.differences import rows_that_differ
from flows.replay.hashing import hash_again
from flows.replay.report import ReplayedVersion
from flows.review.answering import review_rows
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import DecisionRow, DuplicateRow, Row
from storage.reviews import read_words
from storage.versions import Version


def replay_review(lake: Lake, version: Version, among: Collection[str] | None) -> ReplayedVersion:
    """Decide again by the words of this version what became of turns and samples. LakeDamaged."""
    number = version.number
    before, added = version.until(number - 1), version.since(number - 1)
    words = read_words(lake, added)
    made = review_rows(lake, before, [words[key] for key in sorted(words)], number)
    differences = [
        difference
        for kind in (DecisionRow, DuplicateRow)
        for difference in rows_that_differ(number, _meant(lake.rows(kind, added), among), _of_kind(kind, made, among))
    ]
    made_sha256 = None
    if not differences and among is None:
        made_sha256, differences = hash_again(lake, version, [PackageDraft("decision", made)])
    told = [row for row in made if isinstance(row, DecisionRow) and row.turn is None and _meant([row], among)]
    return ReplayedVersion(
        version=number,
        what="a person's decisions",
        made_sha256=made_sha256,
        samples=len(told),
        outcomes=Counter(row.outcome for row in told),
        differences=tuple(differences),
    )


def _of_kind(kind: type[Row], rows: Collection[Row], among: Collection[str] | None) -> list[Row]:
    return _meant((row for row in rows if isinstance(row, kind)), among)


def _meant(rows: Iterable[Row], among: Collection[str] | None) -> list[Row]:
    return [row for row in rows if among is None or getattr(row, "sample_id", None) in among]
