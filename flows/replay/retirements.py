"""A version by which old samples gave way to new ones, or claims on new ones were given up, decided again."""

from collections import Counter
from collections.abc import Collection

from flows.replay.differences import rows_that_differ
from flows.replay.hashing import hash_again
from flows.replay.past import PastRun
from flows.replay.report import ReplayedVersion
from flows.rerunning.retiring import abandonment_rows, find_abandoned, find_successions, retirement_rows
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import DecisionRow, SampleRow
from storage.slots import ABANDONED
from storage.tables import Among
from storage.versions import Version


def replay_retirement(lake: Lake, version: Version, run: PastRun, among: Collection[str] | None) -> ReplayedVersion:
    """Decide again about the slots that were decided: who was kept beside one of the run's recipe, or never made."""
    number = version.number
    before, added = version.until(number - 1), version.since(number - 1)
    recorded = list(lake.rows(DecisionRow, added))
    decided = Among(column="sample_id", values={row.sample_id for row in recorded})
    slot_ids = {row.slot_id for row in lake.rows(SampleRow, before, decided)}
    generation_id = run.recipe.generation_id
    if all(row.reason == ABANDONED for row in recorded):
        made = abandonment_rows(find_abandoned(lake, before, decided.values, generation_id), number)
    else:
        made = retirement_rows(list(find_successions(lake, before, slot_ids, generation_id)), number)

    def meant(rows: Collection[DecisionRow]) -> list[DecisionRow]:
        return [row for row in rows if among is None or row.sample_id in among]

    differences = list(rows_that_differ(number, meant(recorded), meant(made)))
    made_sha256 = None
    if not differences and among is None:
        made_sha256, differences = hash_again(lake, version, [PackageDraft("decision", made)])
    return ReplayedVersion(
        version=number,
        what="samples given up",
        made_sha256=made_sha256,
        samples=len(meant(made)),
        outcomes=Counter(row.outcome for row in meant(made)),
        differences=tuple(differences),
    )
