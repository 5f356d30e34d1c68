"""`judge calibrate` and `judge controls`: files that are refused, a page that is whole, judges that are found out."""

import asyncio
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from flows.asked import BuildOptions
from flows.engine import Engine
from flows.errors import UserError
from flows.judge.alterations import ALTERATIONS, Source, blur, move_picture
from flows.judge.calibrating import make_calibration
from flows.judge.calibration import Opinion, calibrate, score_items
from flows.judge.calibration_page import failure_lines
from flows.judge.candidate import SCORES, Candidate, Exchange, Scores
from flows.judge.confusion import Grid
from flows.judge.controls import Controls, outcome_of, run_controls, try_judge
from flows.judge.intervals import Estimate, Paired
from flows.judge.model_judge import ModelJudge
from flows.judge.opened import OpenedJudge
from flows.judge.people import read_people
from flows.judge.prompts import judge_messages
from flows.judge.signals import SignalsJudge
from models.chat import ChatRequest, ImagePart, Sampling, TextPart
from models.drawing import DrawRequest
from models.fakes import FakeChat
from models.openmoji_painter import OpenmojiPainter
from models.picture import ALGORITHMIC, Picture
from models.scene_signals import SceneSignals, measure_pixels
from storage.lake import Lake
from storage.records import TurnRow, VerdictRow
from tests.flows.casts import fake_lake, grow
from tests.flows.conftest import Interlake
from tests.flows.test_judge_lake import Chamber, judge

HEAD = ("sample_id", "turn", "rater", *SCORES)
HOSTILE = "</p><script>alert(1)</script>{{ 7 * 7 }}"
SAMPLING = Sampling(temperature=0.3, top_p=1, top_k=0, min_p=0, repeat_penalty=1, max_tokens=80)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twelve kept samples with verdicts; two of the judge's replies are no scores."""
    lake = fake_lake(tmp_path_factory.mktemp("judged") / "lake")
    grow(lake.path, BuildOptions(new_topics=12, samples_per_topic=1, turns=1))
    said = iter(range(1000))

    def say(_: ChatRequest) -> str:
        number = next(said)
        return "no idea" if number < 2 else json.dumps(dict.fromkeys(SCORES, number % 6))

    assert judge(lake, Chamber(say=say)).verdicts == 12
    return lake


def write_csv(file: Path, rows: Sequence[Sequence[object]], head: Sequence[str] = HEAD) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
    return file


def sample_ids(lake: Lake) -> list[str]:
    return sorted({row.sample_id for row in lake.rows(TurnRow, lake.version())})


def human_rows(lake: Lake) -> list[Sequence[object]]:
    rows = [row for row in lake.rows(VerdictRow, lake.version()) if row.stage is None]
    return [
        (row.sample_id, row.turn, rater, min(5, (row.tcc or 0) + extra), row.icc, row.iq, "")
        for row in rows
        for rater, extra in (("ann", 0), ("ben", 1))
    ]


# Files of people


@pytest.mark.parametrize(
    ("head", "row", "sentence"),
    [
        (HEAD, ("zz", 1, "ann", 1, 1, 1, 1), "'zz' is not a sample id"),
        (HEAD, ("00000000", 1, "ann", 1, 1, 1, 1), "no sample's id begins with 00000000"),
        (HEAD, ("ID", 0, "ann", 1, 1, 1, 1), "a turn is a number from 1 on, not '0'"),
        (HEAD, ("ID", 1, " ", 1, 1, 1, 1), "there is no rater"),
        (HEAD, ("ID", 1, "ann", 6, 1, 1, 1), "tcc is a number from 0 to 5, or empty, not '6'"),
        (HEAD, ("ID", 1, "ann", 1, "nan", 1, 1), "icc is a number from 0 to 5, or empty, not 'nan'"),
        (HEAD, ("ID", 1, "ann", 1, 1, "-1", 1), "iq is a number from 0 to 5, or empty, not '-1'"),
        (HEAD, ("ID", 1, "ann", 1, 1, 1), "6 cells, but 7 columns"),
        (HEAD[1:], (1, "ann", 1, 1, 1, 1), "the column sample_id is missing"),
        ((*HEAD, "question"), ("ID", 1, "ann", 1, 1, 1, 1, "?"), "name items by sample_id and turn, or by"),
        (HEAD[:3], ("ID", 1, "ann"), "there is no column of scores"),
        ((*HEAD, "tcc"), ("ID", 1, "ann", 1, 1, 1, 1, 1), "the column 'tcc' stands there twice"),
        (("question", "answer", "image", "rater", "tcc"), ("", "a", "", "ann", 1), "there is no question"),
        (("question", "answer", "image", "rater", "tcc"), ("q", "a", "none.png", "ann", 1), "cannot be read"),
        (("question", "answer", "image", "rater", "tcc"), ("q", "a", "people.csv", "ann", 1), "cannot be used"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_in_one_sentence(  # noqa: PLR0917
    lake: Lake, interlake: Interlake, tmp_path: Path, head: Sequence[str], row: Sequence[object], sentence: str
) -> None:
    row = [sample_ids(lake)[0] if cell == "ID" else cell for cell in row]
    before = lake.version()
    file = write_csv(tmp_path / "people.csv", [row], head)
    code, out, err = interlake("judge", "calibrate", "--lake", lake.path, "--human", file, "--out", tmp_path / "page")
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "page").exists()
    assert lake.version() == before


def test_a_rater_who_scores_an_item_twice_and_a_file_without_rows_are_refused(lake: Lake, tmp_path: Path) -> None:
    ids = sample_ids(lake)
    find = lambda written: [each for each in ids if each.startswith(written)]  # noqa: E731
    twice = [(ids[0], 1, "ann", 1, 1, 1, 1), (ids[0][:12], 1, "ann", 2, 1, 1, 1)]
    with pytest.raises(UserError, match="'ann' has scored this item in an earlier row"):
        read_people(write_csv(tmp_path / "twice.csv", twice), find)
    with pytest.raises(UserError, match="has no row"):
        read_people(write_csv(tmp_path / "none.csv", []), find)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(UserError, match="is no Parquet"):
        read_people(broken, find)


def test_csv_and_parquet_say_the_same_and_an_empty_cell_is_no_score(lake: Lake, tmp_path: Path) -> None:
    rows = human_rows(lake)
    ids = sample_ids(lake)
    find = lambda written: [each for each in ids if each.startswith(written)]  # noqa: E731
    from_csv = read_people(write_csv(tmp_path / "people.csv", rows), find)
    cells = {name: [None if row[place] == "" else row[place] for row in rows] for place, name in enumerate(HEAD)}
    pl.DataFrame(cells, strict=False).write_parquet(tmp_path / "people.parquet")
    assert read_people(tmp_path / "people.parquet", find) == from_csv
    assert from_csv.raters == ("ann", "ben")
    assert all(rating.scores.its is None for rating in from_csv.ratings)


# Calibration


class Tags(HTMLParser):
    """The tags of a page, and all that it refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_a_judge_is_compared_with_people_and_the_page_needs_nothing_else(
    lake: Lake, interlake: Interlake, tmp_path: Path
) -> None:
    file, out, before = write_csv(tmp_path / "people.csv", human_rows(lake)), tmp_path / "page", lake.version()
    words = ("judge", "calibrate", "--lake", lake.path, "--human", file, "--out", out)
    code, said, err = interlake(*words, "--json")
    assert (code, err) == (0, "")
    found = json.loads(said)
    assert (found["judge"], found["items"], found["raters"], found["missing"]) == ("stand-in", 12, 2, 0)
    tcc, icc, _, its = found["scores"]
    assert (icc["all"]["items"], icc["all"]["known"], icc["all"]["unknown"]) == (10, 10, 0)
    assert (tcc["all"]["items"], tcc["all"]["known"], tcc["all"]["unknown"]) == (12, 10, 2)
    assert tcc["reasons"] == {"not_json": 2} and (tcc["silent"], tcc["verdicts"]) == (2, 12)
    assert icc["all"]["rmse"]["value"] == 0 and icc["all"]["close"]["low"] < 1
    assert 0 < tcc["all"]["mae"]["value"] <= 0.5
    assert (its["all"]["items"], its["all"]["alpha_people"]["value"]) == (0, None)
    assert {path.name for path in out.iterdir()} == {"index.html", "calibration.json"}
    page = Tags((out / "index.html").read_text(encoding="utf-8"))
    assert page.tags & {"script", "iframe", "link", "object"} == set()
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert lake.version() == before
    code, said, _ = interlake(*words)
    assert code == 0 and "unknown to the judge" in said and "2 not_json" in said, "an earlier page gives way"


def test_what_people_did_not_get_verdicts_for_is_asked_for(lake: Lake, interlake: Interlake, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "people.csv", human_rows(lake))
    words = ("judge", "calibrate", "--lake", lake.path, "--human", file)
    code, _, err = interlake(*words, "--judge", "nobody")
    assert code == 2 and "none of these turns has a verdict by nobody: run 'interlake judge run' first" in err
    more = write_csv(tmp_path / "more.csv", [*human_rows(lake), (sample_ids(lake)[0], 7, "ann", 1, 1, 1, 1)])
    code, _, err = interlake(*words[:-1], more)
    assert code == 0 and "1 of 13 items have no verdict by stand-in; 'interlake judge run' gives them" in err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    code, _, err = interlake(*words, "--out", tmp_path / "mine")
    assert code == 2 and "letter.txt" in err


def test_items_of_other_origin_are_judged_directly_and_their_words_are_escaped(lake: Lake, tmp_path: Path) -> None:
    picture = next(iter(drawn("Two red apples.")))
    (tmp_path / "apples.png").write_bytes(picture.data)
    head = ("question", "answer", "image", "rater", "tcc", "icc", "iq", "its")
    rows = [(HOSTILE, HOSTILE, "apples.png", HOSTILE, 5, 5, 5, 5), ("q", "a", "", "ben", 3, "", "", "")]
    chamber, before = Chamber(say=lambda request: json.dumps(dict.fromkeys(asked_for(request), 1))), lake.version()
    found = make_calibration(
        lake.path, write_csv(tmp_path / "people.csv", rows, head), judge=None, holdout=0, out=tmp_path / "page",
        studio=chamber,
    )  # fmt: skip
    assert not found.recorded and len(chamber.asked) == 2 and lake.version() == before
    assert found.scores[0].all.mae == Estimate(value=3.0)
    assert (found.scores[1].all.items, found.scores[1].all.known) == (1, 1)
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "alert(1)" in page and "<script" not in page and "{{ 7 * 7 }}" in page


def test_a_grid_counts_at_the_nearer_level_and_shows_what_is_unknown() -> None:
    counts = Grid(score="tcc", pairs=((2.5, 3.0), (2.4, 3.0), (0.0, None), (None, 5.0))).counts()
    assert (counts[3, 3], counts[3, 2], counts[6, 0], int(counts.sum())) == (1, 1, 1, 3)


def test_a_page_says_why_there_is_no_interval_and_does_not_call_many_samples_few() -> None:
    def said(count: int) -> str:
        names = [str(number) for number in range(count)]
        scores = {name: {"tcc": float(int(name) % 6)} for name in names}
        opinions = {name: Opinion(scores=scores[name], unknown={}) for name in names}
        ratings = {(name, "ann"): scores[name] for name in names}
        scored = next(score_items(names, names, opinions, ratings, ["ann"]))
        found = calibrate(scored, list(opinions.values()), 0)
        return " ".join(failure_lines(SimpleNamespace(scores=[found])))  # type: ignore[arg-type]

    assert "4 of the 10 samples that an interval takes are there" in said(4)
    assert "its draws are all alike" in said(30) and "10 samples" not in said(30)


# Controls


def drawn(*captions: str) -> list[Picture]:
    painter = OpenmojiPainter()
    who = painter.identity

    async def draw() -> list[Picture]:
        requests = [
            DrawRequest(
                model=who.name,
                revision=who.revision,
                caption=caption,
                width=256,
                height=256,
                steps=0,
                guidance=0,
                seed=1,
            )
            for caption in captions
        ]
        return [(await painter.draw(request)).picture for request in requests]

    return asyncio.run(draw())


THINGS = ("apples", "dogs", "boats", "houses", "trees", "cats", "cars", "fish")


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """Turns whose answer is of their picture, which is of their question."""
    pictures = drawn(*(f"Two {thing} on a field." for thing in THINGS))
    old = [Exchange(question=f"What about number {n}?", answer=f"It is {n}.") for n in (1, 2)]
    candidates = [
        Candidate(
            question=f"What do {thing} look like?",
            answer=f"Two {thing} stand on a field and the {thing} look just so.",
            picture=picture,
            history=tuple(old),
        )
        for thing, picture in zip(THINGS, pictures, strict=True)
    ]
    others = [*candidates[1:], candidates[0]]
    return [
        Source(name=thing, candidate=candidate, other=other)
        for thing, candidate, other in zip(THINGS, candidates, others, strict=True)
    ]


def asked_for(request: ChatRequest) -> list[str]:
    return list(json.loads(json.dumps(request.schema))["required"])


def run(say: Callable[[ChatRequest], str], sources: Sequence[Source], repeats: int = 4) -> Controls:
    with Engine() as engine:
        judge = ModelJudge(name="j", model=FakeChat(script=say), sampling=SAMPLING)
        return try_judge(OpenedJudge(judge, engine), sources, repeats)


def outcomes(found: Controls) -> Mapping[str, str]:
    return {
        f"{control.name} {score.score}": score.outcome
        for control in found.controls
        for score in control.scores
        if score.outcome
    }


def see(request: ChatRequest) -> str:
    """What an attentive judge says: it reads the words, and knows the pictures by heart."""
    parts = request.messages[-1].parts
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    question, answer = (
        next(text for text in texts if f"{what}>>" in text) for what in ("the question", "the answer to be judged")
    )
    (picture,) = [part.picture for part in parts if isinstance(part, ImagePart)]
    thing = question.split("do ")[1].split(" ")[0]
    right, ordered = thing in answer, f"Two {thing} stand" in answer
    fits = f"Two {thing} on" in picture.marks().get("Description", "")
    sharp = measure_pixels(picture.pixels())["sharpness"]
    iq = 5 if isinstance(sharp, float) and sharp > 0.003 else 1
    return json.dumps({"tcc": 5 if ordered else 2 if right else 0, "icc": 5 * fits, "iq": iq, "its": 5 * fits * right})


def test_an_attentive_judge_passes_every_control(sources: Sequence[Source]) -> None:
    found = run(see, sources)
    assert set(outcomes(found).values()) == {"passed"}, outcomes(found)
    assert found.failed() == []
    assert [control.turns for control in found.controls] == [8] * len(ALTERATIONS)
    assert all(each.deviation == 0 and len(each.values) == 4 for each in found.spread)


def test_a_judge_that_always_says_the_same_fails_where_something_must_fall(sources: Sequence[Source]) -> None:
    found = run(lambda _: json.dumps(dict.fromkeys(SCORES, 4)), sources)
    falls = {f"{each.name} {score}" for each in ALTERATIONS for score, what in each.expects.items() if what == "lower"}
    assert {name for name, outcome in outcomes(found).items() if outcome == "failed"} == falls
    assert len(falls) == 5


def test_a_judge_that_likes_long_answers_and_what_comes_first_is_found_out(sources: Sequence[Source]) -> None:
    def say(request: ChatRequest) -> str:
        parts = request.messages[-1].parts
        longest = max(len(part.text) for part in parts if isinstance(part, TextPart))
        first = isinstance(parts[-1], TextPart)
        return json.dumps({"tcc": 5 if longest > 150 else 3, "icc": 4 if first else 2, "iq": 3, "its": 3})

    found = outcomes(run(say, sources))
    assert (found["verbose tcc"], found["verbose its"]) == ("failed", "passed")
    assert (found["picture_first icc"], found["picture_first iq"]) == ("failed", "passed")
    assert found["history_reversed icc"] == "passed"


def test_a_judge_that_wavers_has_a_spread_and_one_that_mumbles_is_not_measured(sources: Sequence[Source]) -> None:
    wavers = run(lambda request: json.dumps(dict.fromkeys(SCORES, request.seed % 6)), sources, repeats=20)
    assert all(len(set(each.values)) > 2 and each.deviation for each in wavers.spread)
    assert wavers.is_seeded
    mumbles = run(lambda _: "hm", sources)
    assert set(outcomes(mumbles).values()) == {"not measured"}
    assert mumbles.unknown == {score: {"not_json": 8} for score in SCORES}
    assert [(each.values, each.unknown, each.mean) for each in mumbles.spread] == [((), 4, None)] * 4


def paired(items: int, difference: Estimate, p: float, least_p: float = 0.001) -> Paired:
    return Paired(items=items, clusters=items, unknown=0, difference=difference, p=p, least_p=least_p)


def test_what_so_few_samples_cannot_show_is_neither_passed_nor_failed() -> None:
    few = paired(4, Estimate(value=-5.0), 0.125, least_p=0.125)
    assert outcome_of("lower", few) == outcome_of("same", few) == "not told"
    assert outcome_of("lower", paired(7, Estimate(value=-1.1), 0.09)) == "not told"
    assert outcome_of("lower", paired(20, Estimate(value=-0.5, low=-1.2, high=0.2), 0.2)) == "not told"
    assert outcome_of("lower", paired(90, Estimate(value=-0.1, low=-0.3, high=0.1), 0.2)) == "failed"
    assert outcome_of("lower", paired(90, Estimate(value=-0.1, low=-0.15, high=-0.05), 0.0005)) == "failed"
    assert outcome_of("lower", paired(7, Estimate(value=0.0), 1.0)) == "failed"


def test_the_embedded_judge_is_tried_and_what_it_cannot_be_asked_is_said(sources: Sequence[Source]) -> None:
    with Engine() as engine:
        found = try_judge(OpenedJudge(SignalsJudge(name="s", model=SceneSignals()), engine), sources, 2)
    said = outcomes(found)
    assert said["other_picture icc"] == said["blurred iq"] == said["other_answer tcc"] == "passed"
    assert not found.is_seeded
    assert [control.name for control in found.controls if not control.applies] == ["picture_first"]
    assert "picture_first icc" not in said or said["picture_first icc"] == "not measured"


def test_a_blurred_picture_keeps_its_marks_and_loses_its_edges(sources: Sequence[Source]) -> None:
    sharp = sources[0].candidate.picture
    assert sharp is not None
    blurred = blur(sharp)
    before, after = measure_pixels(sharp.pixels())["sharpness"], measure_pixels(blurred.pixels())["sharpness"]
    assert isinstance(before, float) and isinstance(after, float) and after < before / 10
    assert blurred.marks()["interlake:scene"] == sharp.marks()["interlake:scene"]
    assert ALGORITHMIC in blurred.marks()["XML:com.adobe.xmp"]


def test_moving_the_picture_moves_nothing_else(sources: Sequence[Source]) -> None:
    parts = judge_messages(sources[0].candidate, SCORES)[-1].parts
    moved = move_picture(parts)
    assert sorted(map(id, moved)) == sorted(map(id, parts)) and moved != parts
    assert moved[:-4] == parts[:-4] and moved[-2:] == parts[-4:-2] and isinstance(moved[-3], ImagePart)
    assert move_picture(moved) == moved
    assert move_picture(()) == ()


def test_controls_of_a_lake_are_told_record_nothing_and_fail_with_code_1(lake: Lake, interlake: Interlake) -> None:
    before = lake.version()
    code, out, err = interlake("judge", "controls", "--lake", lake.path, "--samples", 8, "--repeats", 3)
    assert code == 1 and err == ""
    assert "nothing was recorded" in out and "failed: " in out
    code, out, _ = interlake("judge", "controls", "--lake", lake.path, "--samples", 3, "--repeats", 2, "--json")
    found = json.loads(out)
    assert (code, found["samples"], len(found["controls"]), len(found["spread"])) == (0, 3, len(ALTERATIONS), 4)
    assert {score["outcome"] for each in found["controls"] for score in each["scores"]} <= {
        None,
        "not told",
        "not measured",
    }
    assert lake.version() == before
    code, _, err = interlake("judge", "controls", "--lake", lake.path, "--judge", "nobody")
    assert code == 2 and "has no judge nobody: its settings name stand-in" in err


def test_controls_need_two_kept_samples(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    with pytest.raises(UserError, match="has 0 kept samples, and controls need two at least"):
        run_controls(lake.path, judge=None, samples=5, repeats=2)


def test_scores_stay_as_they_are_when_nothing_is_altered(sources: Sequence[Source]) -> None:
    first = run(see, sources[:2])
    assert first == run(see, sources[:2]), "the same turns, seeds and replies give the same findings"
    assert first.spread[0].mean == Scores(tcc=5.0).tcc
