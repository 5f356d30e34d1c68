"""Controls of a judge that need no people: does a spoilt turn score lower, and does the same turn score the same?

Every pair is one kept turn, as it is and altered, judged directly by the same seed. Nothing is recorded: these are no
verdicts on samples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np

from flows.errors import UserError
from flows.judge.alterations import ALTERATIONS, Alteration, Expected, PictureFirstLine, Source
from flows.judge.asked import Subject
from flows.judge.candidate import SCORES, Candidate, Verdict
from flows.judge.docket import CaseFiles
from flows.judge.intervals import Estimate, Paired, compare_paired
from flows.judge.judging import JudgeSource
from flows.judge.opened import Case, OpenedJudge, open_judge
from flows.judge.signals import SignalsJudge
from flows.settings import Settings
from flows.studio import Studio
from storage.canonical import derive_seed, sha256_hex
from storage.embeddings import read_standing
from storage.lake import Lake
from storage.records import TurnRow
from storage.tables import Among

Outcome = Literal["passed", "failed", "not told", "not measured"]
SIGNIFICANT = 0.05
SMALLEST_DROP = 0.5
"""Half a level: a judge that is shown to fall by less where something is spoilt has not noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlScore:
    """One score under one control. `expected` is None for scores that the control says nothing of.

    `not told`: so few samples do not show it; `not measured`: no pair had the score both times.
    """

    score: str
    expected: Expected | None
    outcome: Outcome | None
    paired: Paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control over the turns that it could be made of. `applies` is false where it cannot reach this judge."""

    name: str
    what: str
    turns: int
    applies: bool
    scores: tuple[ControlScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One score of the same turn, judged again and again by other seeds. `values` are those that were known."""

    score: str
    values: tuple[float, ...]
    unknown: int
    mean: float | None
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What the controls came to. `unknown`: by score, why the judge knew none of the turns as they are, and how often.

    `is_seeded` is false for a judge whose repeats are the same by its nature.
    """

    judge: str
    judge_sha256: str
    samples: int
    is_seeded: bool
    controls: tuple[Control, ...]
    spread: tuple[Spread, ...]
    unknown: Mapping[str, Mapping[str, int]]

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def failed(self) -> list[str]:
        """The controls that failed, with the score."""
        return [
            f"{control.name} ({score.score})"
            for control in self.controls
            for score in control.scores
            if score.outcome == "failed"
        ]


def run_controls(
    path: Path,
    *,
    judge: str | None,
    samples: int,
    repeats: int,
    studio: Callable[[Settings], JudgeSource] = Studio,
) -> Controls:
    """Try a judge of a lake by every control, on the last turns of some kept samples, chosen by their ids.

    NotALake, SettingsError; UserError where there is no such judge, or there are fewer than two kept samples.
    """
    sources = read_sources(Lake.open(path), samples)
    with open_judge(path, judge, studio) as opened:
        return try_judge(opened, sources, repeats)


def read_sources(lake: Lake, samples: int) -> list[Source]:
    """The last turn of so many kept samples, those whose ids hash lowest; each takes what it needs from the next."""
    version = lake.version()
    kept = [sample_id for sample_id, is_kept in read_standing(lake, version).kept.items() if is_kept]
    chosen = sorted(kept, key=lambda sample_id: sha256_hex(f"control:{sample_id}".encode()))[:samples]
    if len(chosen) < 2:
        raise UserError(f"{lake.path} has {len(chosen)} kept samples, and controls need two at least; build some first")
    last: dict[str, int] = {}
    for row in lake.rows(TurnRow, version, Among(column="sample_id", values=set(chosen))):
        last[row.sample_id] = max(row.turn, last.get(row.sample_id, 0))
    files = CaseFiles(lake, version, chosen)
    candidates = [files.candidate(Subject(sample_id=each, turn=last[each])) for each in chosen]
    others = (*candidates[1:], candidates[0])
    return [
        Source(name=name, candidate=candidate, other=other)
        for name, candidate, other in zip(chosen, candidates, others, strict=True)
    ]


def try_judge(opened: OpenedJudge, sources: Sequence[Source], repeats: int) -> Controls:
    """All controls and the spread over repeats of the first turn; errors of models pass through."""
    plain = opened.decide([Case(candidate=each.candidate, seed=_seed(each.name, 0)) for each in sources])
    judge = opened.judge
    return Controls(
        judge=judge.name,
        judge_sha256=judge.sha256,
        samples=len(sources),
        is_seeded=judge.is_seeded,
        controls=tuple(_control(opened, alteration, sources, plain) for alteration in ALTERATIONS),
        spread=tuple(_spread(opened, sources[0], repeats)),
        unknown=_unknown(plain),
    )


def _control(
    opened: OpenedJudge, alteration: Alteration, sources: Sequence[Source], plain: Sequence[Verdict]
) -> Control:
    """One control; for a judge that reads no order there is none of order."""
    applies = not (alteration.picture_first and isinstance(opened.judge, SignalsJudge))
    line = PictureFirstLine(line=opened.line) if alteration.picture_first else None
    altered: list[tuple[Source, Candidate, Verdict]] = [
        (source, candidate, verdict)
        for source, verdict in zip(sources if applies else (), plain if applies else (), strict=True)
        if (candidate := alteration.alter(source)) is not None
    ]
    given = opened.decide([Case(candidate=each, seed=_seed(source.name, 0), line=line) for source, each, _ in altered])
    names, before = [source.name for source, _, _ in altered], [verdict for _, _, verdict in altered]
    return Control(
        name=alteration.name,
        what=alteration.what,
        turns=len(altered),
        applies=applies,
        scores=tuple(_score(score, alteration, names, before, given) for score in SCORES),
    )


def _score(
    score: str, alteration: Alteration, names: Sequence[str], before: Sequence[Verdict], after: Sequence[Verdict]
) -> ControlScore:
    first, second = (
        np.array([each.scores.known().get(score, np.nan) for each in verdicts], dtype=np.float64)
        for verdicts in (before, after)
    )
    paired = compare_paired(first, second, names, seed=derive_seed("control", alteration.name, score))
    expected = alteration.expects.get(score)
    return ControlScore(
        score=score, expected=expected, outcome=outcome_of(expected, paired) if expected else None, paired=paired
    )


def outcome_of(expected: Expected, paired: Paired) -> Outcome:
    """Whether a control is passed. `lower` must be shown; of the others only the contrary can be shown."""
    away, p = paired.difference.value, paired.p
    if away is None or p is None:
        return "not measured"
    if paired.least_p >= SIGNIFICANT:
        return "not told"
    if expected == "lower":
        return _fallen(paired.difference, away, p)
    is_wrong = p < SIGNIFICANT and (away > 0 or expected == "same")
    return "failed" if is_wrong else "passed"


def _fallen(difference: Estimate, away: float, p: float) -> Outcome:
    """Passed where a fall is shown, failed where there is none, or one too small to matter; else nobody can tell."""
    is_small = difference.low is not None and difference.low > -SMALLEST_DROP
    if away >= 0 or is_small:
        return "failed"
    return "passed" if p < SIGNIFICANT else "not told"


def _spread(opened: OpenedJudge, source: Source, repeats: int) -> Iterator[Spread]:
    cases = [Case(candidate=source.candidate, seed=_seed(source.name, repeat)) for repeat in range(repeats)]
    given = [verdict.scores.known() for verdict in opened.decide(cases)]
    for score in SCORES:
        values = [known[score] for known in given if score in known]
        yield Spread(
            score=score,
            values=tuple(values),
            unknown=len(given) - len(values),
            mean=fmean(values) if values else None,
            deviation=stdev(values) if len(values) > 1 else None,
        )


def _unknown(verdicts: Sequence[Verdict]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {score: {} for score in SCORES}
    for verdict in verdicts:
        for score, reason in verdict.unknown.items():
            found[score][reason] = found[score].get(reason, 0) + 1
    return found


def _seed(name: str, repeat: int) -> int:
    return derive_seed("control", name, repeat)
