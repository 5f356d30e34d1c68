"""The benchmark at work: answers of a cast and of a folder, pictures of any kind, refusals, resuming, comparisons."""

import hashlib
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from flows.benchmark.answers import FILE, LONGEST_ANSWER, AnswerFolder, GivenAnswer, RefusedRow
from flows.benchmark.chart import draw_scores
from flows.benchmark.comparing import Comparison, compare_runs
from flows.benchmark.page import write_page
from flows.benchmark.pictures import UnusablePicture, convert_picture, read_picture
from flows.benchmark.questions import read_questions
from flows.benchmark.reports import render_page
from flows.benchmark.results import NUMBERS, ROWS, SCHEMA, Results, read_results, tell_scores, write_results
from flows.benchmark.running import ANSWERS, BenchmarkOptions, run_benchmark
from flows.cli.main import cli
from flows.errors import UserError
from flows.judge.seating import seat_bench
from flows.seir.prompts import CRITIQUE_QUESTION, DRAFT_QUESTION
from flows.settings import Settings, default_settings, parse_settings
from flows.studio import Cast
from flows.topics.incoming import read_topic_file
from models.chat import ChatModel, ChatRequest
from models.errors import ContentError, TerminalError
from models.fakes import FakeChat, FakeEncoder, FakePainter
from models.picture import LARGEST_SIDE, Picture
from tests.flows.casts import fake_lake

FIRST = [question.question_id for question in read_questions()[:6]]
NEVER: Callable[[ChatRequest], Exception | None] = lambda _: None  # noqa: E731


@dataclass(slots=True)
class Panel:
    """A studio of fakes; `asked` counts what the judge and the writer were asked, `say` writes the judge's replies."""

    say: Callable[[ChatRequest], str] | None = None
    judge_fails: Callable[[ChatRequest], Exception | None] = NEVER
    writer_fails: Callable[[ChatRequest], Exception | None] = NEVER
    asked: list[str] = field(default_factory=list)

    def __call__(self, _: Settings) -> "Panel":
        return self

    async def __aenter__(self) -> Cast:
        chat = FakeChat(failures=self._noted(self.writer_fails))
        return Cast(writer=chat, critic=chat, painter=FakePainter(), viewer=chat, encoder=FakeEncoder())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def judge(self, number: int) -> ChatModel:  # noqa: ARG002
        return FakeChat(script=self.say, failures=self._noted(self.judge_fails), name="stand-in-judge")

    async def close(self) -> None:
        pass

    def _noted(self, fails: Callable[[ChatRequest], Exception | None]) -> Callable[[ChatRequest], Exception | None]:
        def note(request: ChatRequest) -> Exception | None:
            error = fails(request)
            if error is None:
                self.asked.append(request.key())
            return error

        return note


@pytest.fixture(scope="module")
def settings() -> Settings:
    text = default_settings("fake").replace("width = 512", "width = 64").replace("height = 512", "height = 64")
    return parse_settings(text, Path("fake.toml"))


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (20, 10), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format=kind, **options)
    return buffer.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header asks for so many pixels, which it has not."""
    data = bytearray(encoded("PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def folder_of(path: Path, lines: Iterable[object]) -> Path:
    path.mkdir(exist_ok=True)
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    (path / FILE).write_text("\n".join(texts), encoding="utf-8")
    return path


def line(question_id: str, image: str | None = None, answer: str = "A fine answer.") -> dict[str, str | None]:
    return {"question_id": question_id, "answer": answer, "image": image}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Answers to the first three questions: with a JPEG, without a picture, with a picture that is none."""
    folder = folder_of(tmp_path / "given", [line(FIRST[0], "a.jpg"), line(FIRST[1]), line(FIRST[2], "b.png")])
    (folder / "a.jpg").write_bytes(encoded("JPEG"))
    (folder / "b.png").write_bytes(b"no picture")
    return folder


# Pictures of others


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "CMYK"), ("WEBP", "RGBA")]
)
def test_a_picture_of_any_usual_kind_becomes_one_of_ours(kind: str, mode: str) -> None:
    picture = convert_picture(encoded(kind, mode))
    assert (picture.width, picture.height) == (20, 10)
    assert Picture.from_bytes(picture.data) == picture


def test_what_is_transparent_lies_on_white() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(convert_picture(encoded("PNG", "RGBA")).data)))
    assert pixels.min() == 255


def test_pixels_are_turned_as_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = convert_picture(encoded("JPEG", exif=exif))
    assert (picture.width, picture.height) == (10, 20)


def test_a_large_picture_is_made_smaller_in_proportion() -> None:
    picture = convert_picture(encoded("PNG", "L", (2 * LARGEST_SIDE, LARGEST_SIDE)))
    assert (picture.width, picture.height) == (LARGEST_SIDE, LARGEST_SIDE // 2)


def test_a_picture_of_our_own_stays_as_it_is_byte_for_byte(tmp_path: Path) -> None:
    ours = convert_picture(encoded("PNG"))
    (tmp_path / "ours.png").write_bytes(ours.data)
    assert read_picture(tmp_path / "ours.png") == ours


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "broken_picture"),
        (b"<svg/>", "broken_picture"),
        (encoded("GIF"), "broken_picture"),
        (encoded("PNG")[:-30], "broken_picture"),
        (encoded("JPEG")[:300], "broken_picture"),
        (encoded("PNG", "I;16"), "other_kind"),
        (claiming(9000, 9000), "too_large"),
        (claiming(100_000, 100_000), "broken_picture"),
        (encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (20, 10), "red")]), "animated"),
    ],
)
def test_what_is_no_single_picture_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnusablePicture) as refused:
        convert_picture(data)
    assert refused.value.reason == reason


# Folders of answers


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not_json"),
        ("[1]", "wrong_shape"),
        ('{"question_id": "q001"}', "wrong_shape"),
        ('{"question_id": "q001", "answer": 5}', "wrong_shape"),
        ('{"question_id": "q001", "answer": "a", "score": 5}', "wrong_shape"),
        ('{"question_id": "q001", "answer": "\\ud800"}', "wrong_shape"),
        (json.dumps(line("q001", answer="a" * (LONGEST_ANSWER + 1))), "wrong_shape"),
        (json.dumps(line("q999")), "unknown_question"),
        (json.dumps(line("q002")), "repeated"),
        ("[" * 100_000, "not_json"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_and_the_others_are_taken(tmp_path: Path, text: str, reason: str) -> None:
    folder = AnswerFolder(folder_of(tmp_path / "f", [line("q002"), text, line("q003")]), {"q001", "q002", "q003"})
    assert [(row.place, row.reason) for row in folder.refused] == [("line 2", reason)]
    assert isinstance(folder.answer("q002"), GivenAnswer) and isinstance(folder.answer("q003"), GivenAnswer)
    assert folder.answer("q001") is None


@pytest.mark.parametrize(
    "image", ["../secret.png", "/etc/passwd", "link.png", "linked/secret.png", "a/../../secret.png"]
)
def test_no_picture_is_read_outside_of_the_folder(tmp_path: Path, image: str) -> None:
    (tmp_path / "secret.png").write_bytes(encoded("PNG"))
    folder = folder_of(tmp_path / "f", [line("q001", image)])
    (folder / "a").mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    found = AnswerFolder(folder, {"q001"}).answer("q001")
    assert isinstance(found, RefusedRow) and found.reason == "outside"


def test_an_absolute_path_is_refused_even_into_the_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", [line("q001", str(tmp_path / "f" / "in.png"))])
    (folder / "in.png").write_bytes(encoded("PNG"))
    found = AnswerFolder(folder, {"q001"}).answer("q001")
    assert isinstance(found, RefusedRow) and found.reason == "outside"


@pytest.mark.parametrize("image", ["none.png", "", "folder", "pipe", "nul\0.png", "x" * 5000])
def test_what_is_no_file_is_refused_and_makes_nobody_wait(tmp_path: Path, image: str) -> None:
    folder = folder_of(tmp_path / "f", [line("q001", image)])
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    found = AnswerFolder(folder, {"q001"}).answer("q001")
    assert isinstance(found, RefusedRow) and found.reason == "no_file"


# Runs


def test_answers_of_a_folder_are_judged_and_what_is_missing_is_worth_nothing(
    tmp_path: Path, given: Path, settings: Settings
) -> None:
    panel = Panel(say=lambda request: json.dumps(dict.fromkeys((request.schema or {})["properties"], 4)))  # type: ignore[call-overload,index,arg-type]
    run = run_benchmark(
        settings, BenchmarkOptions(name="s", out=tmp_path / "out", answers=given, limit=4), studio=panel
    )
    assert run.rows.select("problem", "tcc", "icc", "iq", "its").rows() == [
        (None, 4, 4, 4, 4),
        (None, 4, 0, 0, 0),
        ("broken_picture", 0, 0, 0, 0),
        ("no_answer", 0, 0, 0, 0),
    ]
    assert len(panel.asked) == 2
    assert (run.told["answered"], run.told["problems"]) == (2, {"broken_picture": 1, "no_answer": 1})
    assert [row["place"] for row in run.told["refused"]] == ["line 3"]
    assert read_results(tmp_path / "out").told == run.told


def test_a_cast_answers_each_question_as_it_stands(tmp_path: Path, settings: Settings) -> None:
    said: list[str] = []
    panel = Panel(writer_fails=lambda request: said.append(json.dumps(request.canonical())))
    run = run_benchmark(settings, BenchmarkOptions(name="s", out=tmp_path / "out", limit=3), studio=panel)
    for question in read_questions()[:3]:
        assert any(json.dumps(f"Request: {question.question}")[1:-1] in each for each in said)
    assert not any(json.dumps(prompt)[1:-1] in each for each in said for prompt in (DRAFT_QUESTION, CRITIQUE_QUESTION))
    assert run.told["answered"] == 3 and run.told["answers"] == "the cast of the settings"
    assert set(run.told["models"]) == {"writer", "critic", "painter", "viewer"}
    folder = AnswerFolder(tmp_path / "out" / ANSWERS, set(FIRST))
    found = [folder.answer(name) for name in FIRST[:3]]
    assert all(isinstance(each, GivenAnswer) and each.picture and each.picture.width == 64 for each in found)


def test_a_judge_that_a_build_would_ask_is_no_maker_of_what_it_judges(tmp_path: Path, settings: Settings) -> None:
    class Seated(Panel):
        async def __aenter__(self) -> Cast:
            judge = settings.judge.judges[0].name
            bench = seat_bench(settings.judge, {judge: await self.judge(0)})
            return replace(await Panel.__aenter__(self), bench=bench)

    run = run_benchmark(settings, BenchmarkOptions(name="s", out=tmp_path / "out", limit=1), studio=Seated())
    assert set(run.told["models"]) == {"writer", "critic", "painter", "viewer"}
    assert run.told["warnings"] == [], "nobody is kin to itself"


def test_what_was_asked_is_not_asked_again(tmp_path: Path, settings: Settings) -> None:
    options = BenchmarkOptions(name="s", out=tmp_path / "out", limit=3)
    first = run_benchmark(settings, options, studio=Panel())
    again = Panel()
    assert run_benchmark(settings, options, studio=again).told == first.told
    assert again.asked == []


def test_a_run_that_was_stopped_goes_on_where_it_ended(tmp_path: Path, given: Path, settings: Settings) -> None:
    heard: list[str] = []

    def fails(request: ChatRequest) -> Exception | None:
        heard.append(request.key())
        return TerminalError("the key was refused") if len(heard) > 3 else None

    options = BenchmarkOptions(name="s", out=tmp_path / "out", answers=given, limit=2, repeats=3)
    with pytest.raises(TerminalError):
        run_benchmark(settings, options, studio=Panel(judge_fails=fails))
    with pytest.raises(UserError, match="no finished run"):
        read_results(tmp_path / "out")
    panel = Panel()
    assert run_benchmark(settings, options, studio=panel).rows.height == 6
    assert len(panel.asked) == 3


def test_a_question_that_the_cast_cannot_answer_counts_as_not_answered(tmp_path: Path, settings: Settings) -> None:
    first = read_questions()[0].question
    panel = Panel(
        writer_fails=lambda request: ContentError("refused", "no") if first in json.dumps(request.canonical()) else None
    )
    run = run_benchmark(settings, BenchmarkOptions(name="s", out=tmp_path / "out", limit=2), studio=panel)
    assert run.told["problems"] == {"failed": 1}
    assert run.rows["problem"].to_list() == ["failed", None]


def test_a_score_that_is_unknown_is_counted_and_never_averaged(tmp_path: Path, given: Path, settings: Settings) -> None:
    panel = Panel(
        say=lambda request: (
            "5 of 5" if any("picture to be judged>>" in str(m) for m in request.messages) else '{"tcc": 5}'
        )
    )
    options = BenchmarkOptions(name="s", out=tmp_path / "out", answers=given, limit=2)
    run = run_benchmark(settings, options, studio=panel)
    tcc, icc, *_ = tell_scores(run.rows)
    assert (tcc.n, tcc.mean, tcc.variance, tcc.unknown, tcc.reasons) == (1, 5, None, 1, {"not_json": 1})
    assert (icc.n, icc.mean, icc.unknown) == (1, 0, 1)


def test_a_folder_of_another_run_or_of_anything_else_stays_untouched(
    tmp_path: Path, given: Path, settings: Settings
) -> None:
    with pytest.raises(UserError, match="something else"):
        run_benchmark(settings, BenchmarkOptions(name="s", out=given, answers=given), studio=Panel())
    options = BenchmarkOptions(name="s", out=tmp_path / "out", answers=given, limit=1)
    run_benchmark(settings, options, studio=Panel())
    with pytest.raises(UserError, match="another system"):
        run_benchmark(settings, BenchmarkOptions(name="t", out=tmp_path / "out", answers=given), studio=Panel())


def test_rows_that_were_changed_are_no_result(tmp_path: Path) -> None:
    write_results(tmp_path, made_run("a", [1]).rows, made_run("a", [1]).told)
    read_results(tmp_path)
    made_run("a", [5]).rows.write_parquet(tmp_path / ROWS)
    with pytest.raises(UserError, match="not what the run wrote"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"results_sha256": None}, "results_sha256"),
        ({"judge": {"name": "j"}}, "judge.sha256"),
        ({"name": 5}, "name"),
        ({"warnings": "none"}, "warnings"),
    ],
)
def test_a_result_that_is_malformed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: object, why: str
) -> None:
    from flows.cli.main import main

    write_results(tmp_path, made_run("a", [1]).rows, made_run("a", [1]).told)
    told = json.loads((tmp_path / NUMBERS).read_text())
    (tmp_path / NUMBERS).write_text(json.dumps({**told, **change}))  # type: ignore[dict-item]
    monkeypatch.setattr("sys.argv", ["interlake", "benchmark", "compare", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert why in said and said.count("\n") == 1 and "run the benchmark anew" in said


@pytest.mark.parametrize("data", [b"no parquet at all", None])
def test_rows_that_are_no_such_table_are_no_result(tmp_path: Path, data: bytes | None) -> None:
    run = made_run("a", [1])
    write_results(tmp_path, run.rows, run.told)
    if data is None:
        buffer = io.BytesIO()
        run.rows.drop("tcc").write_parquet(buffer)
        data = buffer.getvalue()
    told = json.loads((tmp_path / NUMBERS).read_text())
    (tmp_path / ROWS).write_bytes(data)
    (tmp_path / NUMBERS).write_text(json.dumps({**told, "results_sha256": hashlib.sha256(data).hexdigest()}))
    with pytest.raises(UserError, match="run the benchmark anew"):
        read_results(tmp_path)


# Comparisons


def made_run(
    name: str, scores: Sequence[float | None], *, problems: dict[int, str] | None = None, judge: str = "j"
) -> Results:
    """A run whose four scores are alike, one verdict on each question."""
    problems = problems or {}
    rows = [
        {
            "question_id": question.question_id,
            "domain": question.domain,
            "category": question.category,
            "type": question.type,
            "problem": problems.get(place),
            "answer_sha256": "0",
            "repeat": 0,
            "verdict_id": f"{name}{place}",
            **dict.fromkeys(("tcc", "icc", "iq", "its"), score),
            "unknown": json.dumps({} if score is not None else dict.fromkeys(("tcc", "icc", "iq", "its"), "cut")),
        }
        for place, (question, score) in enumerate(zip(read_questions(), scores, strict=False))
    ]
    told = {
        "name": name,
        "judge": {"name": judge, "sha256": judge, "models": {"model": {"name": "m", "revision": "1"}}},
        "models": {},
        "rubric_sha256": "r",
        "questions_sha256": "q",
        "questions": len(rows),
        "answered": len(rows) - len(problems),
        "problems": {},
        "repeats": 1,
        "warnings": [],
    }
    return Results(told=told, rows=pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def compared(*runs: Results) -> Comparison:
    return compare_runs(runs)


def test_mean_and_variance_are_over_questions_by_the_mean_of_their_repeats() -> None:
    rows = made_run("a", [1, 2, None]).rows
    again = rows.head(1).with_columns(pl.lit(3.0).alias("tcc"))
    tcc = tell_scores(pl.concat([rows, again]))[0]
    assert (tcc.n, tcc.mean, tcc.variance, tcc.unknown, tcc.reasons) == (2, 2.0, 0.0, 1, {"cut": 1})


def test_a_real_difference_is_told_from_chance() -> None:
    worse, better = [float(n % 3) for n in range(40)], [float(n % 3 + 1) for n in range(40)]
    row = compared(made_run("a", worse), made_run("b", [*better[:20], *worse[20:]])).differences[0]
    assert (row.first, row.second, row.score) == ("a", "b", "tcc")
    assert row.paired.difference.value == pytest.approx(0.5)
    assert row.paired.difference.low is not None and 0.2 < row.paired.difference.low < 0.5
    assert row.paired.p is not None and row.p_holm is not None and row.paired.p < row.p_holm < 0.05
    same = compared(made_run("a", worse), made_run("b", worse)).differences[0]
    assert (same.paired.difference.value, same.paired.p, same.p_holm) == (0, 1, 1)


def test_more_systems_are_told_apart_by_more_draws() -> None:
    random = np.random.default_rng(1)
    first = random.uniform(0, 3, 30)
    runs = [made_run(f"s{number}", [*(first + number * random.uniform(0.1, 0.5, 30))]) for number in range(3)]
    assert {row.paired.least_p for row in compared(*runs).differences} == {1 / 4801}
    assert {row.paired.least_p for row in compared(*runs[:2]).differences} == {1 / 2001}


def test_runs_of_other_numbers_of_questions_or_repeats_are_compared_and_it_is_said() -> None:
    short, long = made_run("short", [1, 2]), made_run("long", [1, 2, 3])
    found = compared(short, long)
    (said,) = found.careful()
    assert said.startswith("the runs were asked different numbers of questions") and "(short 2, long 3)" in said
    assert found.json()["careful"] == [said]
    assert "asked different numbers of questions" in write_page(found)
    more = Results(told={**short.told, "repeats": 5}, rows=short.rows)
    assert ["a different number of times" in each for each in compared(more, long).careful()] == [False, True]
    assert list(compared(short, made_run("other", [4, 4])).careful()) == []


def test_differences_are_on_questions_that_both_answered_and_that_are_known_of_both() -> None:
    one = made_run("a", [5, 5, 5, 5], problems={0: "no_answer"})
    row = compared(one, made_run("b", [0, None, 4])).differences[0]
    assert (row.paired.items, row.paired.unknown, row.paired.difference.value) == (1, 1, -1)


def test_means_by_domain_and_type_have_their_numbers() -> None:
    groups = compared(made_run("a", [1, 2, 3, 4, 5, 1, 2, 3, None])).groups
    animals = [row for row in groups if (row.group, row.score) == ("Animals", "tcc")]
    assert [(row.n, row.mean) for row in animals] == [(1, 1.0)]
    assert {row.by for row in groups} == {"domain", "type"}


def test_differences_by_group_have_intervals_from_ten_questions_on() -> None:
    worse, better = [float(n % 3) for n in range(100)], [float(n % 3 + n % 2) for n in range(100)]
    found = compared(made_run("a", worse), made_run("b", better)).group_differences
    animals = [row for row in found if (row.group, row.score) == ("Animals", "tcc")]
    assert [(row.first, row.second, row.n) for row in animals] == [("a", "b", 13)]
    assert animals[0].difference.value == 0.0 and animals[0].difference.low is None
    plants = next(row for row in found if (row.group, row.score) == ("Plants and weather", "tcc"))
    assert plants.difference.value == 1.0
    assert all(row.difference.low is None for row in found if row.n < 10)
    mixed = compared(made_run("a", worse), made_run("b", [float(n // 8 % 2) for n in range(100)])).group_differences[0]
    assert mixed.difference.low is not None and mixed.difference.high is not None
    assert mixed.difference.low < (mixed.difference.value or 0) < mixed.difference.high


@pytest.mark.parametrize(
    ("other", "why"), [(made_run("a", [1]), "one name"), (made_run("b", [1], judge="k"), "different judges")]
)
def test_runs_that_are_not_alike_are_not_compared(other: Results, why: str) -> None:
    with pytest.raises(UserError, match=why):
        compared(made_run("a", [1]), other)


def test_page_and_chart_say_it_whatever_a_system_is_called() -> None:
    odd = "$x_1$ | <b>[a](http://b)"
    found = compared(made_run(odd, [1, 2, 3]), made_run("_hidden", [3, 2, 1]))
    page = write_page(found)
    assert "<b>" not in page and "](http" not in page
    assert len({row.count("|") - row.count("\\|") for row in page.splitlines() if row.startswith("| ")}) <= 3
    html = render_page(found)
    assert "<b>" not in html and "&lt;b&gt;" in html and "http://b" in html and "<a " not in html
    assert all(f"<h2>{title}</h2>" in html for title in ("Scores", "Differences", "By domain", "By type"))
    assert html.count("data:image/png;base64,") == 1 and 'src="http' not in html
    svg = draw_scores(found, kind="svg")
    assert svg == draw_scores(found, kind="svg") and b"$x_1$" in svg and b"_hidden" in svg
    assert draw_scores(found, kind="png").startswith(b"\x89PNG")


# Commands


@pytest.mark.parametrize(
    "words",
    [
        ["export", "--out", "questions.txt"],
        ["run", "--name", "s", "--out", "out", "--profile", "fake", "--answers", "empty"],
        ["run", "--name", "s", "--out", "out", "--profile", "fake", "--answers", "empty", "--lake", "lake"],
        ["run", "--name", " ", "--out", "out", "--profile", "fake", "--answers", "empty"],
        ["run", "--name", "s", "--out", "out", "--profile", "fake", "--judge", "nobody"],
        ["run", "--name", "s", "--out", "out", "--lake", "no-lake"],
        ["compare", "empty"],
        ["compare", "empty", "--picture", "c.gif"],
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    from flows.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("sys.argv", ["interlake", "benchmark", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("interlake: ")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_commands_go_from_questions_to_a_table(tmp_path: Path, given: Path) -> None:
    def say(*words: str) -> str:
        done = CliRunner().invoke(cli, ["benchmark", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    say("export", "--out", str(tmp_path / "q.jsonl"), "--limit", "3")
    exported = (tmp_path / "q.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(each)["question_id"] for each in exported] == FIRST[:3]
    for name in ("one", "two"):
        out = str(tmp_path / name)
        said = say("run", "--name", name, "--profile", "fake", "--answers", str(given), "--limit", "4", "--out", out)
        assert "2 of 4 questions answered; 2 not" in said and "tcc" in said
        assert (tmp_path / name / "report.md").read_text().startswith("# Benchmark")
        assert f"<title>Benchmark: {name}</title>" in (tmp_path / name / "report.html").read_text()
    runs = (str(tmp_path / "one"), str(tmp_path / "two"))
    found = json.loads(say("compare", *runs, "--json", "--markdown", str(tmp_path / "c.md")))
    assert [row["n"] for row in found["differences"]] == [2] * 4
    assert "## Differences" in (tmp_path / "c.md").read_text()
    assert json.loads((tmp_path / "one" / NUMBERS).read_text())["judge"]["name"] == "stand-in"


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_measures_a_system_by_the_judge_of_a_lake_and_leaves_the_lake_alone(
    tmp_path: Path, given: Path
) -> None:
    from flows.benchmark_lake import benchmark_lake

    lake = fake_lake(tmp_path / "lake")
    before = lake.version()

    def measure(out: Path) -> dict[str, object]:
        return benchmark_lake(name="theirs", out=str(out), lake=str(lake.path), answers=str(given), limit=3)

    told = measure(tmp_path / "out")
    assert (told["name"], told["questions"], told["answered"]) == ("theirs", 3, 2)
    assert read_results(tmp_path / "out").told == told
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.md", "report.html"}
    with pytest.raises(UserError, match="lies in the lake"):
        measure(lake.path / "out")
    assert lake.version() == before and not (lake.path / "out").exists()


def test_a_question_of_the_benchmark_becomes_no_topic(tmp_path: Path) -> None:
    path = tmp_path / "topics.txt"
    path.write_text(f"wombats\n{read_questions()[7].question.upper()}\n", encoding="utf-8")
    incoming = read_topic_file(path)
    assert [entry.name for entry in incoming.entries] == ["wombats"]
    assert "question q008 of the benchmark" in incoming.refused[0].problem
