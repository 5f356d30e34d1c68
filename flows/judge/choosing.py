"""The best of several drafts by a judge: the highest mean of what is known, the earliest of those that are equal.

A draft about which nothing is known is no better than any other: it is chosen only where nothing is known of all.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from flows.judge.asked import Subject, hear
from flows.judge.candidate import SCORES, Candidate, Exchange
from flows.judge.docket import hearings_of
from flows.judge.seating import Bench
from flows.recorder import Recorder
from flows.seir.prompts import PastTurn
from storage.records import VerdictRow


def candidate_of(turn: PastTurn, history: Sequence[PastTurn]) -> Candidate:
    """A turn that was just written, with those before it."""
    return Candidate(
        question=turn.question,
        answer=turn.answer,
        picture=turn.picture,
        caption=turn.caption,
        history=tuple(Exchange(question=old.question, answer=old.answer, picture=old.picture) for old in history),
    )


async def hear_drafts(
    drafts: Mapping[int, Candidate], *, sample_id: str, turn: int, stage: str, bench: Bench, recorder: Recorder
) -> list[VerdictRow]:
    """The verdicts on drafts of a stage, each by its round, one after another; errors of models pass through."""
    return [
        await hear(hearing, candidate, recorder)
        for number, candidate in drafts.items()
        for hearing in hearings_of(bench, Subject(sample_id=sample_id, turn=turn, stage=stage, round=number))
    ]


def choose_round(rounds: Sequence[int], verdicts: Sequence[VerdictRow]) -> int:
    """The round whose draft is the best; the last one where nothing is known of any, as without a judge.

    Drafts are compared by the scores that are known of all of them, or an unknown score could make one look better;
    where there are none, by how many are known. Of equal ones the first is taken.
    """
    told = {number: _means([row for row in verdicts if row.round == number]) for number in rounds}
    known = {number: means for number, means in told.items() if means}
    if not known:
        return rounds[-1]
    shared = set.intersection(*(set(means) for means in known.values()))

    def worth(number: int) -> tuple[float, int]:
        means = known[number]
        return (fmean(means[name] for name in sorted(shared)) if shared else len(means)), -number

    return max(known, key=worth)


def _means(verdicts: Sequence[VerdictRow]) -> dict[str, float]:
    """By score the mean of the verdicts that know it."""
    known = {name: [v for row in verdicts if (v := getattr(row, name)) is not None] for name in SCORES}
    return {name: fmean(values) for name, values in known.items() if values}
