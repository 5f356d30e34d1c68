"""Calibrating a judge by what people say: joins a file of ratings with the lake's verdicts, and writes the report.

Turns of the lake are joined with recorded verdicts. Items of other origin are judged directly, and not recorded.
"""

import json
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from flows.errors import UserError
from flows.judge.asked import Subject
from flows.judge.calibration import Opinion, ScoreCalibration, calibrate, score_items
from flows.judge.calibration_page import Miss, render_page
from flows.judge.candidate import SCORES, Candidate, Verdict
from flows.judge.confusion import Grid, draw_confusion
from flows.judge.docket import CaseFiles
from flows.judge.judging import JudgeSource
from flows.judge.opened import Case, open_judge
from flows.judge.people import Item, People, read_people
from flows.report_folder import ReportKind
from flows.settings import Settings
from flows.studio import Studio
from storage.canonical import derive_seed
from storage.lake import Lake
from storage.records import SampleRow, VerdictRow
from storage.tables import Among
from storage.versions import Version

KIND = ReportKind(name="interlake judge calibration", numbers="calibration.json")
PAGE = "index.html"
WORST = 12
"""Items that the page shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What came of it. `missing` turns have no verdict of the judge; they enter no figure.

    `setups` counts in how many ways the judge was set up; `judge_sha256` is the last, whose verdicts count. `recorded`
    is false where the items are of no lake and were judged for this report.
    """

    judge: str
    judge_sha256: str
    recorded: bool
    setups: int
    items: int
    raters: int
    missing: int
    holdout: float
    scores: tuple[ScoreCalibration, ...]

    def json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__ if name != "scores"}
        return {**values, "scores": [score.json() for score in self.scores]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A judge's opinions by the name of the item."""

    judge: str
    judge_sha256: str
    recorded: bool
    setups: int
    opinions: Mapping[str, Opinion]


def make_calibration(
    path: Path,
    human: Path,
    *,
    judge: str | None,
    holdout: float,
    out: Path | None,
    studio: Callable[[Settings], JudgeSource] = Studio,
) -> Calibrated:
    """Compare a judge with the people of a file, and write the report into the folder `out`, if one is given.

    UserError, before anything is asked or written, for a file that cannot be used, a folder that holds anything else,
    and where no item has a verdict. NotALake.
    """
    lake = Lake.open(path)
    if out is not None:
        out = Path(os.path.abspath(out))  # noqa: PTH100  a link is refused, not followed
        KIND.refuse_foreign(out, path.resolve())
    version = lake.version()
    ids = sorted(lake.scan(SampleRow, version, ["sample_id"]).collect()["sample_id"].unique().to_list())
    people = read_people(human, lambda written: _beginning(ids, written))
    heard = _ask(path, people, judge, studio) if people.items[0].candidate else _look_up(lake, version, people, judge)
    found = compare(people, heard, holdout)
    if out is not None:
        KIND.write(out, _files(lake, version, people, heard, found), found.json())
    return found


def compare(people: People, heard: Heard, holdout: float) -> Calibrated:
    """All figures."""
    there = [item for item in people.items if item.name in heard.opinions]
    opinions = [heard.opinions[item.name] for item in there]
    ratings = {(each.item, each.rater): each.scores.known() for each in people.ratings}
    names, clusters = [item.name for item in there], [item.cluster for item in there]
    scored = score_items(names, clusters, heard.opinions, ratings, people.raters)
    return Calibrated(
        judge=heard.judge,
        judge_sha256=heard.judge_sha256,
        recorded=heard.recorded,
        setups=heard.setups,
        items=len(people.items),
        raters=len(people.raters),
        missing=len(people.items) - len(there),
        holdout=holdout,
        scores=tuple(calibrate(each, opinions, holdout) for each in scored),
    )


def _beginning(ids: Sequence[str], written: str) -> Sequence[str]:
    first = bisect_left(ids, written)
    return [each for each in ids[first : first + 2] if each.startswith(written)]


def _look_up(lake: Lake, version: Version, people: People, judge: str | None) -> Heard:
    """The recorded verdicts on finished turns by the judge's last setup; UserError where no item has any."""
    of_samples = Among(column="sample_id", values={item.sample_id for item in people.items if item.sample_id})
    rows = [row for row in lake.rows(VerdictRow, version, of_samples) if row.stage is None]
    names = sorted({row.judge for row in rows})
    if judge is None and len(names) > 1:
        raise UserError(f"several judges have scored these turns: choose one by --judge: {', '.join(names)}")
    mine = [row for row in rows if judge in (None, row.judge)]
    places = {(item.sample_id, item.turn): item.name for item in people.items}
    setup = mine[-1].judge_sha256 if mine else ""
    by_item: dict[str, list[VerdictRow]] = {}
    for row in mine:
        if row.judge_sha256 == setup and (name := places.get((row.sample_id, row.turn))):
            by_item.setdefault(name, []).append(row)
    if not by_item:
        by = f" by {judge}" if judge else ""
        raise UserError(f"none of these turns has a verdict{by}: run 'interlake judge run' first")
    return Heard(
        judge=mine[-1].judge,
        judge_sha256=setup,
        recorded=True,
        setups=len({row.judge_sha256 for row in mine}),
        opinions={name: _opinion(found) for name, found in by_item.items()},
    )


def _opinion(rows: Sequence[VerdictRow]) -> Opinion:
    known = {name: [value for row in rows if (value := getattr(row, name)) is not None] for name in SCORES}
    reasons = {name: reason for row in rows for name, reason in json.loads(row.unknown).items()}
    return Opinion(
        scores={name: fmean(values) for name, values in known.items() if values},
        unknown={name: reasons[name] for name, values in known.items() if not values},
        verdicts=len(rows),
        silent={name: len(rows) - len(values) for name, values in known.items()},
    )


def _ask(path: Path, people: People, judge: str | None, studio: Callable[[Settings], JudgeSource]) -> Heard:
    """What the judge says of items that are of no lake; nothing is recorded."""
    with open_judge(path, judge, studio) as opened:
        cases = [
            Case(candidate=item.candidate, seed=derive_seed("calibrate", item.name))
            for item in people.items
            if item.candidate is not None
        ]
        verdicts = opened.decide(cases)
        return Heard(
            judge=opened.judge.name,
            judge_sha256=opened.judge.sha256,
            recorded=False,
            setups=1,
            opinions={item.name: _said(each) for item, each in zip(people.items, verdicts, strict=True)},
        )


def _said(verdict: Verdict) -> Opinion:
    known = verdict.scores.known()
    return Opinion(scores=known, unknown=verdict.unknown, silent={name: int(name not in known) for name in SCORES})


def _files(
    lake: Lake, version: Version, people: People, heard: Heard, found: Calibrated
) -> Iterator[tuple[str, bytes]]:
    """The page, with all that it shows inside."""
    means = mean_ratings(people)
    grids = [
        Grid(
            score=score, pairs=tuple((means[item.name].get(score), _score(heard, item, score)) for item in people.items)
        )
        for score in SCORES
    ]
    worst = find_worst(people.items, heard.opinions, means)
    yield PAGE, render_page(found, draw_confusion(grids), _misses(lake, version, worst, heard, people)).encode()


def _score(heard: Heard, item: Item, score: str) -> float | None:
    opinion = heard.opinions.get(item.name)
    return opinion.scores.get(score) if opinion else None


def mean_ratings(people: People) -> dict[str, dict[str, float]]:
    """By item the mean of each score that somebody gave."""
    said: dict[str, dict[str, list[float]]] = {item.name: {} for item in people.items}
    for rating in people.ratings:
        for score, value in rating.scores.known().items():
            said[rating.item].setdefault(score, []).append(value)
    return {name: {score: fmean(values) for score, values in scores.items()} for name, scores in said.items()}


def find_worst(
    items: Iterable[Item], opinions: Mapping[str, Opinion], means: Mapping[str, Mapping[str, float]]
) -> list[Item]:
    """The items with the largest difference in any one score, the worst first; those without any are none."""
    away: dict[str, list[float]] = {}
    for item in items:
        scores = opinions[item.name].scores if item.name in opinions else {}
        gaps = sorted((abs(scores[name] - mean) for name, mean in means[item.name].items() if name in scores))
        if gaps and gaps[-1] > 0:
            away[item.name] = gaps[::-1]
    ranked = sorted((item for item in items if item.name in away), key=lambda item: away[item.name], reverse=True)
    return ranked[:WORST]


def _misses(lake: Lake, version: Version, worst: Sequence[Item], heard: Heard, people: People) -> Iterator[Miss]:
    files = CaseFiles(lake, version, {item.sample_id for item in worst if item.sample_id})
    said: dict[str, list[tuple[str, Mapping[str, float]]]] = {}
    for rating in people.ratings:
        said.setdefault(rating.item, []).append((rating.rater, rating.scores.known()))
    for item in worst:
        yield Miss(
            name=item.name,
            sample_id=item.sample_id,
            turn=item.turn,
            candidate=_candidate(files, item),
            judge=heard.opinions[item.name].scores,
            unknown=heard.opinions[item.name].unknown,
            people=tuple(said[item.name]),
        )


def _candidate(files: CaseFiles, item: Item) -> Candidate:
    if item.candidate is not None:
        return item.candidate
    assert item.sample_id is not None and item.turn is not None, "an item is of a lake, or brings its candidate"
    return files.candidate(Subject(sample_id=item.sample_id, turn=item.turn))
