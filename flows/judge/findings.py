"""What a lake's verdicts come to, judge by judge: means, spread over repeats, and what is unknown, by reason.

A score that is unknown enters no mean. A turn counts once, by the mean of its repeats. Turns of samples that are kept
and of those that are not (a build judges before it decides) are told apart, for a floor would make the mean of both say
less of the lake than of what was thrown away.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from flows.judge.candidate import SCORES
from storage.embeddings import read_standing
from storage.lake import Lake
from storage.records import VerdictRow
from storage.versions import Version

KEPT, NOT_KEPT = "kept", "not kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFindings:
    """One score of one judge: `known` verdicts with a number, `turns` with at least one, the `mean` over these turns.

    `spread` is the mean over turns of the standard deviation of their repeats, None where no turn has two.
    """

    score: str
    known: int
    unknown: dict[str, int]
    turns: int
    mean: float | None
    spread: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFindings:
    """One judge as it was set up at one time (`judge_sha256`), and what it said of finished turns.

    `samples` says which: those that are kept, or those that are not.
    """

    judge: str
    judge_sha256: str
    rubric_sha256: str
    samples: str
    verdicts: int
    turns: int
    repeats: int
    scores: tuple[ScoreFindings, ...]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def read_findings(lake: Lake, version: Version) -> list[JudgeFindings]:
    """What each judge's verdicts on finished turns come to: by the judge's name, then as they came, then kept samples
    before the others."""
    kept = read_standing(lake, version).kept
    rows: dict[tuple[str, str, str], dict[str, list[VerdictRow]]] = {}
    for row in lake.rows(VerdictRow, version):
        if row.stage is None:
            judge = rows.setdefault((row.judge, row.judge_sha256, row.rubric_sha256), {KEPT: [], NOT_KEPT: []})
            judge[KEPT if kept.get(row.sample_id) else NOT_KEPT].append(row)
    by_name = sorted(rows, key=lambda key: key[0])
    return [_findings(samples, said) for key in by_name for samples, said in rows[key].items() if said]


def _findings(samples: str, rows: list[VerdictRow]) -> JudgeFindings:
    first = rows[0]
    return JudgeFindings(
        judge=first.judge,
        judge_sha256=first.judge_sha256,
        rubric_sha256=first.rubric_sha256,
        samples=samples,
        verdicts=len(rows),
        turns=len({(row.sample_id, row.turn) for row in rows}),
        repeats=1 + max(row.repeat for row in rows),
        scores=tuple(_score(name, rows) for name in SCORES),
    )


def _score(name: str, rows: Iterable[VerdictRow]) -> ScoreFindings:
    by_turn: dict[tuple[str, int], list[float]] = {}
    unknown: Counter[str] = Counter()
    for row in rows:
        value = getattr(row, name)
        if value is None:
            unknown[json.loads(row.unknown)[name]] += 1
        else:
            by_turn.setdefault((row.sample_id, row.turn), []).append(value)
    spreads = [stdev(values) for values in by_turn.values() if len(values) > 1]
    return ScoreFindings(
        score=name,
        known=sum(map(len, by_turn.values())),
        unknown=dict(sorted(unknown.items())),
        turns=len(by_turn),
        mean=fmean(map(fmean, by_turn.values())) if by_turn else None,
        spread=fmean(spreads) if spreads else None,
    )


def findings_table(found: Iterable[JudgeFindings]) -> Iterator[dict[str, str | int]]:
    """A row for each judge and score, as people read it; what there is none of is a dash."""
    for judge in found:
        for score in judge.scores:
            yield {
                "judge": judge.judge,
                "setup": judge.judge_sha256[:8],
                "samples": judge.samples,
                "score": score.score,
                "mean": "-" if score.mean is None else f"{score.mean:.2f}",
                "spread": "-" if score.spread is None else f"{score.spread:.2f}",
                "turns": score.turns,
                "known": score.known,
                "unknown": ", ".join(f"{count} {reason}" for reason, count in score.unknown.items()) or "-",
            }
