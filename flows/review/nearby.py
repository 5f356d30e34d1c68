"""Kept turns that fell a little short of repeating an earlier one, as evidence rows. Writes nothing."""

from collections.abc import Iterator

from dedup.decide import NOBODY, Decision, Excused, Thresholds, near_misses
from dedup.kept import KeptTurns
from flows.deciding import Ruling
from flows.settings import ReviewSettings
from storage.canonical import derive_id
from storage.records import NearRow


def near_rows(
    kept: KeptTurns, decision: Decision, ruling: Ruling, review: ReviewSettings, *, excused: Excused = NOBODY
) -> Iterator[NearRow]:
    """A row for each keeper of a decision that is borderline; none where nobody is asked.

    `kept` are those that it was decided against. Of several that a turn comes near to, the first is named.
    """
    if not review.ask:
        return
    for pair in near_misses(kept, decision.keepers, lowered(ruling.thresholds(), review.near), excused=excused):
        decision_id = derive_id("decision", pair.sample_id, None, ruling.version)
        yield NearRow(**ruling.pair(decision_id, pair))


def lowered(thresholds: Thresholds, near: float) -> Thresholds:
    """Thresholds that count what falls short by so much."""
    return Thresholds(
        image=max(-1.0, thresholds.image - near), text=max(-1.0, thresholds.text - near), policy=thresholds.policy
    )
