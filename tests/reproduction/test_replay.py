"""Replay: all that was made comes out again from the record, and what differs is named where it first shows."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.asked import BuildOptions
from flows.replay.replaying import Replaying, ReplayOptions
from flows.replay.report import Replay
from flows.seir import dialogue as loop
from flows.seir.checks import Finding
from models.chat import Message
from storage.lake import Lake
from storage.records import CallRow, DecisionRow
from tests.flows import eventful_lake
from tests.flows.casts import fake_lake, grow, maintain
from tests.flows.conftest import Interlake
from tests.reproduction.bare_process import run_bare


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return eventful_lake.make(tmp_path_factory.mktemp("replay") / "lake")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two samples of two turns, kept, nothing odd about them."""
    lake = fake_lake(tmp_path_factory.mktemp("plain") / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=2))
    return lake


@pytest.fixture
def copied(plain: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(plain.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def replay(lake: Lake, **options: object) -> Replay:
    replaying = Replaying(lake.path, replace(ReplayOptions(), **options))  # type: ignore[arg-type]
    return replaying.report([replaying.replay(number) for number in replaying.numbers])


def alter(lake: Lake, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a table of a build's package anew, as a file that is whole."""
    (path,) = lake.packages.glob(f"*-build-*/{table}.parquet")
    pq.write_table(change(pq.read_table(path)), path)


def with_value(rows: pa.Table, place: int, column: str, value: object) -> pa.Table:
    values = rows[column].to_pylist()
    values[place] = value
    index = rows.column_names.index(column)
    return rows.set_column(index, rows.schema.field(column), pa.array(values, rows.schema.field(column).type))


# Identical


def test_every_version_of_an_eventful_lake_is_made_again_to_its_hash(eventful: Lake) -> None:
    report = replay(eventful)
    assert report.is_identical, report.differences
    made = {each.version: each.made_sha256 for each in report.versions}
    assert made == {number: eventful.version(number).sha256 for number in made}
    assert {each.what for each in report.versions} == {"build", "new vectors", "decisions anew", "samples given up"}
    assert len(made) + report.given == eventful.version().number


def test_every_outcome_that_is_no_success_comes_again_with_its_reason(eventful: Lake) -> None:
    report = replay(eventful)
    rows = list(eventful.rows(DecisionRow, eventful.version()))
    recorded = {row.outcome for row in rows if row.turn is None}
    assert recorded == {"kept", "failed", "duplicate", "rejected"}
    replayed: dict[str, int] = {}
    for each in report.versions:
        for outcome, count in each.outcomes.items():
            replayed[outcome] = replayed.get(outcome, 0) + count
    assert replayed == {
        outcome: sum(row.outcome == outcome and row.turn is None for row in rows) for outcome in recorded
    }
    assert report.is_identical


def test_a_lake_whose_packages_were_retired_into_compact_folders_is_replayed_as_before(
    eventful: Lake, tmp_path: Path
) -> None:
    shutil.copytree(eventful.path, tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    maintain(lake, days=0)
    assert not list(lake.packages.iterdir())
    report = replay(lake)
    assert report.is_identical
    assert [each.made_sha256 for each in report.versions] == [each.made_sha256 for each in replay(eventful).versions]


def test_each_sample_and_each_run_is_replayed_by_itself(eventful: Lake) -> None:
    rows = [row for row in eventful.rows(DecisionRow, eventful.version()) if row.turn is None]
    for sample_id in {row.sample_id for row in rows}:
        report = replay(eventful, sample=sample_id[:12])
        assert report.is_identical, report.differences
        decided = [row for row in rows if row.sample_id == sample_id]
        assert sum(each.samples for each in report.versions) == len(decided)
    runs = {eventful.version(number).run_id for number in range(2, eventful.version().number + 1)} - {None}
    versions = [each.version for run in runs for each in replay(eventful, run=str(run)).versions]
    assert sorted(versions) == [each.version for each in replay(eventful).versions]


def test_a_copy_is_replayed_in_a_fresh_process_without_network_and_models(eventful: Lake, tmp_path: Path) -> None:
    shutil.copytree(eventful.path, tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    done = run_bare("replay", "--lake", tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].endswith("all identical")
    after = {path: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    assert after == before, "a replay writes nothing"


# What was recorded is not what it was


def test_a_changed_response_is_named_by_its_call(copied: Lake) -> None:
    rewrites: dict[str, str] = {}
    for row in copied.rows(CallRow, copied.version()):
        if row.purpose == "rewrite":
            rewrites.setdefault(row.sample_id, row.call_id)
    for call_id in rewrites.values():
        alter(copied, "calls", partial(flipped, call_id=call_id))
    report = replay(copied)
    assert len(rewrites) == 2
    assert {difference.call_id for difference in report.differences} == set(rewrites.values())
    assert all("response is not what its own hash says" in difference.what for difference in report.differences)


def flipped(rows: pa.Table, call_id: str) -> pa.Table:
    """The calls with one letter of one response changed."""
    place = rows["call_id"].to_pylist().index(call_id)
    text = str(rows["response"][place].as_py())
    letter = next(at for at, sign in enumerate(text) if at > 2 and sign.isalpha())
    return with_value(rows, place, "response", text[:letter] + chr(ord(text[letter]) ^ 1) + text[letter + 1 :])


def test_one_flipped_byte_in_a_picture_is_named_by_its_call(copied: Lake) -> None:
    (pack,) = copied.packages.glob("*-build-*/images.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(bytes(data))
    (difference,) = replay(copied).differences
    (row,) = [row for row in copied.rows(CallRow, copied.version()) if row.call_id == difference.call_id]
    assert row.purpose == "draw"
    assert f"is damaged at picture {row.image_sha256}" in difference.what


def test_one_flipped_byte_in_a_vector_is_named_by_its_call(copied: Lake) -> None:
    def flip(rows: pa.Table) -> pa.Table:
        vector = bytearray(rows["vector"][0].as_py())
        vector[5] ^= 1
        return with_value(rows, 0, "vector", bytes(vector))

    alter(copied, "vectors", flip)
    (difference,) = replay(copied).differences
    (row,) = [row for row in copied.rows(CallRow, copied.version()) if row.call_id == difference.call_id]
    assert row.purpose in ("embed_image", "embed_text")


def test_one_flipped_byte_in_the_file_of_calls_is_named_by_its_call_or_at_least_its_file(copied: Lake) -> None:
    (path,) = copied.packages.glob("*-build-*/calls.parquet")
    whole, told = path.read_bytes(), set()
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        chunk = group.column(file.schema_arrow.names.index("response"))
    start, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    assert start is not None
    rows = pq.read_table(path)
    for place in range(start, start + size, size // 16):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        differences = replay(copied).differences
        assert differences or pq.read_table(path).equals(rows), "a byte that says nothing of the rows"
        assert all(each.call_id or str(path) in each.what for each in differences)
        told |= {each.call_id for each in differences}
    assert told - {None}, "where the damaged page can still be read, the call is named"


def test_without_its_guard_a_changed_draft_shows_in_the_first_request_that_has_it(copied: Lake) -> None:
    def change(rows: pa.Table) -> pa.Table:
        rows = rows.set_column(
            rows.column_names.index("answer_sha256"),
            rows.schema.field("answer_sha256"),
            pa.nulls(len(rows), pa.string()),
        )
        place = list(zip(rows["stage"].to_pylist(), rows["purpose"].to_pylist(), strict=True)).index(
            ("question", "draft")
        )
        return with_value(rows, place, "response", str(rows["response"][place].as_py()).replace("A ", "An ", 1))

    alter(copied, "calls", change)
    (difference,) = replay(copied).differences
    assert ", question, round " in difference.where


def test_a_changed_round_and_a_changed_decision_are_named(copied: Lake) -> None:
    alter(copied, "iterations", lambda rows: with_value(rows, 0, "stage", rows["stage"][0].as_py()))
    assert replay(copied).is_identical, "a file may be written anew"
    alter(copied, "iterations", lambda rows: with_value(rows, 0, "chosen", not rows["chosen"][0].as_py()))
    (path,) = copied.packages.glob("*-decision-*/decisions.parquet")
    pq.write_table(with_value(pq.read_table(path), 1, "outcome", "duplicate"), path)
    round_, decision = replay(copied).differences
    assert round_.what.startswith("chosen was")
    assert round_.call_id
    assert decision.what == "outcome was 'duplicate', is 'kept'"


def test_a_call_that_is_gone_is_one_that_was_never_recorded(copied: Lake) -> None:
    alter(
        copied, "calls", lambda rows: rows.filter([purpose != "embed_text" for purpose in rows["purpose"].to_pylist()])
    )
    report = replay(copied)
    assert len(report.differences) == 2
    assert all(difference.where.endswith("embed_text") for difference in report.differences)
    assert all("was never recorded" in difference.what for difference in report.differences)


# The code goes another way


def test_an_edited_prompt_is_named_by_the_first_round_that_it_touches(
    plain: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.seir import prompts

    monkeypatch.setattr(prompts, "DRAFT_ANSWER", prompts.DRAFT_ANSWER.replace("true sentences", "kind sentences"))
    recipe, *samples = replay(plain).differences
    assert "another recipe" in recipe.what
    assert any("prompts.sha256" in line for line in recipe.detail)
    assert [difference.where for difference in samples] == ["turn 1, answer, round 0, draft"] * 2
    assert all("is asked for, and was never recorded" in difference.what for difference in samples)
    changed = [line for line in samples[0].detail if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert [line[0] for line in changed] == ["-", "+"]
    assert "true sentences" in changed[0]
    assert "kind sentences" in changed[1]


def test_a_setting_that_is_read_in_another_way_shows_in_its_requests(
    plain: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.seir import asking

    before = asking.sampling_of
    monkeypatch.setattr(asking, "sampling_of", lambda *given: replace(before(*given), temperature=0.9))
    first = replay(plain).differences[0]
    assert first.where == "turn 1, question, round 0, draft"
    assert {"-sampling.temperature: 0.4", "+sampling.temperature: 0.9"} <= set(first.detail)


def test_a_critic_that_would_object_now_shows_in_the_first_round(plain: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    objection = Finding(name="length", suggestion="Say it in other words.")
    monkeypatch.setattr(loop, "check_question", lambda *_: objection)
    differences = replay(plain).differences
    assert {difference.where.split(", ")[1] for difference in differences} == {"question"}


def test_a_pipeline_that_fails_is_a_difference_and_no_crash(plain: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterator[Message]:
        raise RuntimeError("no prompt today")

    monkeypatch.setattr(loop, "critique_image", fail)
    differences = replay(plain).differences
    assert all("the pipeline fails (RuntimeError: no prompt today)" in difference.what for difference in differences)
    assert len(differences) == 2


# The command


def test_the_command_says_identical_and_where_not(interlake: Interlake, copied: Lake) -> None:
    code, out, _ = interlake("replay", "--lake", copied.path)
    assert code == 0
    assert "identical, sha256" in out
    call = next(row for row in copied.rows(CallRow, copied.version()) if row.purpose == "rewrite")
    alter(copied, "calls", partial(flipped, call_id=call.call_id))
    code, out, _ = interlake("replay", "--lake", copied.path)
    assert code == 1
    assert call.call_id in out
    code, out, _ = interlake("replay", "--lake", copied.path, "--json")
    told = json.loads(out)
    assert (code, told["identical"]) == (1, False)
    assert told["versions"][0]["differences"][0]["call_id"] == call.call_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--version", "99"), "there is no version 99"),
        (("--since", "99"), "there is no version after 99"),
        (("--sample", "ffffffff"), "no sample's id begins with ffffffff"),
        (("--run", "xyz"), "no id of a run"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    interlake: Interlake, plain: Lake, options: tuple[str, ...], message: str
) -> None:
    code, _, err = interlake("replay", "--lake", plain.path, *options)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("kind", "table", "column", "value"),
    [
        ("run", "claims", "retry", 3),
        ("run", "claims", "templates", "no JSON"),
        ("run", "run_starts", "planned", 7),
        ("run", "recipes", "generation", "no JSON"),
        ("run", "models", "licence", "nobody's"),
        ("topics", "topics", "source", "elsewhere"),
        ("build", "calls", "seed", 5),
        ("build", "calls", "model_id", "f" * 32),
        ("build", "vectors", "encoder", "f" * 32),
        ("build", "images", "length", 5),
    ],
)
def test_nothing_hashed_can_be_altered_unnoticed_not_even_what_a_replay_only_reads(
    copied: Lake, kind: str, table: str, column: str, value: object
) -> None:
    path = next(iter(sorted(copied.packages.glob(f"*-{kind}-*/{table}.parquet"))))
    pq.write_table(with_value(pq.read_table(path), 0, column, value), path)
    assert replay(copied).differences


def test_a_row_that_nobody_looks_up_is_found_by_its_hash(copied: Lake) -> None:
    def with_one_more(rows: pa.Table) -> pa.Table:
        return pa.concat_tables([rows, with_value(rows.slice(0, 1), 0, "sample_id", "f" * 32)])

    alter(copied, "iterations", with_one_more)
    (difference,) = replay(copied).differences
    assert difference.where.startswith("package 000003-build-")
    assert "its rows hash to" in difference.what


def test_a_scope_in_which_nothing_was_made_is_no_success(interlake: Interlake, plain: Lake) -> None:
    sample = next(plain.rows(DecisionRow, plain.version())).sample_id
    for options in (("--sample", sample, "--version", "2"), ("--run", str(plain.version(3).run_id), "--since", "4")):
        code, _, err = interlake("replay", "--lake", plain.path, *options)
        assert code == 2, options
        assert "there is no version after" in err or "nothing of that was made" in err
