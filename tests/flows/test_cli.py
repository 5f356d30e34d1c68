"""The command line: what it prints, its exit codes, and that bad input leaves the lake as it was."""

import csv
import json
import os
import pty
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flows.topics.catalogue import read_catalogue
from storage.packages import seal
from tests.flows.casts import fake_lake, grow
from tests.flows.conftest import Interlake
from tests.flows.test_build import TWO_BY_TWO


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return fake_lake(tmp_path / "lake").path


def picture_of(folder: Path) -> dict[str, bytes]:
    """Every file of a lake but its locks."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_makes_a_lake_that_status_reads(interlake: Interlake, tmp_path: Path) -> None:
    code, out, _ = interlake("init", "--lake", tmp_path / "new", "--seed", "3")
    assert code == 0
    assert "embedded" in out
    code, out, _ = interlake("status", "--lake", tmp_path / "new", "--json")
    assert (code, json.loads(out)["topics"]) == (0, len(read_catalogue()))


def test_reading_commands_show_what_a_build_made(interlake: Interlake, lake: Path, tmp_path: Path) -> None:
    run = grow(lake, TWO_BY_TWO)
    sample = run.plan.slots[0].sample_id
    code, out, _ = interlake("status", "--lake", lake)
    assert code == 0
    assert "4 planned = 4 kept + 0 rejected + 0 duplicate + 0 failed + 0 open" in out
    code, out, _ = interlake("sql", "--lake", lake, "SELECT stage, round, count(*) AS n FROM iterations GROUP BY ALL")
    assert code == 0
    assert all(stage in out for stage in ("question", "answer", "image"))
    code, out, _ = interlake("versions", "--lake", lake, "--json")
    assert [row["version"] for row in json.loads(out)] == [1, 2, 3, 4]
    code, out, _ = interlake("show", "--lake", lake, sample[:10], "--pictures", tmp_path / "pictures")
    assert code == 0
    assert f"sample {sample}: kept" in out
    assert "question round 0" in out
    assert list((tmp_path / "pictures").glob("*.png"))
    code, out, _ = interlake("sql", "--lake", lake, "--at", "1", "--format", "csv", "SELECT count(*) AS n FROM samples")
    assert (code, out) == (0, "n\n0\n")


def test_plan_says_what_a_build_would_do_and_writes_nothing(interlake: Interlake, lake: Path) -> None:
    before = picture_of(lake)
    code, out, _ = interlake("plan", "--lake", lake, "--new-topics", "3", "--samples-per-topic", "2", "--json")
    assert code == 0
    assert len(json.loads(out)["slots"]) == 6
    assert picture_of(lake) == before


def test_topics_come_in_once_and_are_listed(interlake: Interlake, lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(["paper boats", "The paper boat", "paper  boats", "moth wings"]))
    code, out, _ = interlake("topics", "add", "--lake", lake, file)
    assert code == 0
    assert "2 topics added, 0 were there already" in out
    assert "The paper boat -> " in out
    code, out, _ = interlake("topics", "add", "--lake", lake, file)
    assert "0 topics added, 3 were there already" in out
    assert "1 merged" in out
    code, out, _ = interlake("topics", "list", "--lake", lake)
    assert "moth wings" in out
    code, out, _ = interlake("topics", "coverage", "--lake", lake, "--json")
    assert sum(row["topics"] for row in json.loads(out)) == len(read_catalogue()) + 2


BAD_TOPICS = {
    "empty": b"",
    "only spaces": b'["   "]',
    "binary": b"\x00\x01\x02" * 100,
    "a line of 10 MB": b"x" * 10_000_000,
    "not UTF-8": b"caf\xe9\n",
}


@pytest.mark.parametrize("name", BAD_TOPICS)
def test_a_bad_topic_file_is_one_clear_line_and_the_lake_stays(
    interlake: Interlake, lake: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / ("bad.json" if name == "only spaces" else "bad.txt")
    file.write_bytes(BAD_TOPICS[name])
    before = picture_of(lake)
    code, _, err = interlake("topics", "add", "--lake", lake, file)
    assert code == 2
    assert file.name in err
    assert len(err) < 600
    assert err.count("\n") == 1
    after = {path: data for path, data in picture_of(lake).items() if not path.endswith(".lock")}
    assert after == {path: data for path, data in before.items() if not path.endswith(".lock")}


BAD_SETTINGS = {
    "unknown key": ("turns = 2 ", "turnz = 2 ", "unknown setting 'generation.turnz'"),
    "unknown section": ("[run]", "[runs]", "unknown setting 'runs'"),
    "impossible value": ("question = 3", "question = -1", "'generation.rounds.question'"),
    "a truth for a number": ("turns = 2 ", "turns = true ", "'generation.turns'"),
    "wrong type": ("batch_size = 8", 'batch_size = "many"', "'run.batch_size'"),
    "unknown backend": ('backend = "fake"', 'backend = "gpt-9"', "backend"),
    "not TOML": ("[run]", "[run", "not TOML"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_a_bad_setting_is_named(interlake: Interlake, lake: Path, name: str) -> None:
    good, bad, message = BAD_SETTINGS[name]
    file = lake / "interlake.toml"
    assert good in file.read_text()
    file.write_text(file.read_text().replace(good, bad, 1))
    before = picture_of(lake)
    for command in ("build", "plan"):
        code, _, err = interlake(command, "--lake", lake)
        assert code == 2
        assert message in err
        assert "interlake.toml" in err
        assert err.count("\n") == 1
    assert picture_of(lake) == before


def test_a_missing_model_names_the_setting_and_the_way_out(
    interlake: Interlake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    assert interlake("init", "--lake", lake)[0] == 0
    monkeypatch.setattr("models.llama_chat.PACKAGE", "no-such-weights")
    before = picture_of(lake)
    code, _, err = interlake("plan", "--lake", lake)
    assert code == 2
    assert "'generation.writer.backend' is 'smollm2'" in err
    assert "pip install" in err
    assert err.count("\n") == 1
    assert picture_of(lake) == before


def test_a_missing_settings_file_says_where_one_comes_from(interlake: Interlake, lake: Path) -> None:
    (lake / "interlake.toml").unlink()
    code, _, err = interlake("build", "--lake", lake)
    assert (code, "interlake init" in err) == (2, True)


@pytest.mark.parametrize("command", ["status", "versions", "build", "plan"])
def test_a_folder_that_is_no_lake_says_how_to_make_one(interlake: Interlake, tmp_path: Path, command: str) -> None:
    code, _, err = interlake(command, "--lake", tmp_path)
    assert (code, "interlake init" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_init_leaves_another_folder_alone(interlake: Interlake, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = interlake("init", "--lake", tmp_path)
    assert (code, "not an empty folder" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_lake_of_a_newer_format_is_refused(interlake: Interlake, lake: Path) -> None:
    (lake / "lake.json").write_bytes(seal({"format": 99, "seed": 1}))
    code, _, err = interlake("build", "--lake", lake)
    assert (code, "format 99" in err) == (2, True)


def test_a_lake_that_another_process_holds_ends_with_3_and_says_by_whom(interlake: Interlake, lake: Path) -> None:
    holder = (
        "import sys, fcntl; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); "
        'f.write(\'{"pid": 4711, "host": "here", "since": "2026-11-01", "purpose": "a commit"}\'); f.flush(); '
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", holder, str(lake / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdin
    child.stdout.readline()
    try:
        file = lake.parent / "topics.txt"
        file.write_text("one more topic\n")
        code, _, err = interlake("topics", "add", "--lake", lake, file, "--lock-timeout", "0.1")
        assert code == 3
        assert "process 4711 on here (a commit)" in err
    finally:
        child.communicate("")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named_for_users(interlake: Interlake, tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    code, _, err = interlake("init", "--lake", tmp_path / "lake")
    assert (code, "ermission" in err) == (2, True)


def test_a_place_where_no_folder_can_be_made_is_named(interlake: Interlake) -> None:
    code, _, err = interlake("init", "--lake", "/proc/lake")
    assert code == 2
    assert "/proc/lake" in err


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT nothing FROM samples", "nothing"),
        ("DROP TABLE samples", "only be read"),
        ("SELECT * FROM read_csv('/etc/passwd')", ""),
        ("COPY samples TO 'out.csv'", "only be read"),
    ],
)
def test_sql_reads_and_does_nothing_else(interlake: Interlake, lake: Path, query: str, message: str) -> None:
    code, out, err = interlake("sql", "--lake", lake, query)
    assert code == 2
    assert message.lower() in err.lower()
    assert "root:" not in out


def test_sql_at_a_version_that_is_not_there(interlake: Interlake, lake: Path) -> None:
    code, _, err = interlake("sql", "--lake", lake, "--at", "99", "SELECT 1")
    assert (code, "99" in err) == (2, True)


@pytest.mark.parametrize("sample", ["zzzz", "0000", "'; --"])
def test_show_of_an_unknown_sample_says_so(interlake: Interlake, lake: Path, sample: str) -> None:
    code, _, err = interlake("show", "--lake", lake, sample)
    assert (code, "sample" in err) == (2, True)


def test_a_lake_with_a_lost_table_is_one_line_that_names_it(interlake: Interlake, lake: Path) -> None:
    (file,) = (lake / "packages").glob("000001-*/topics.parquet")
    torn = file.read_bytes()[:-4]
    for damage in (file.unlink, lambda: file.write_bytes(torn)):
        damage()
        code, out, err = interlake("status", "--lake", lake)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert str(file) in err


def test_an_init_that_was_killed_is_simply_done_again(interlake: Interlake, tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    killed = (
        "import os, signal, sys; from pathlib import Path; import flows.lakes as lakes; "
        "lakes.read_catalogue = lambda: os.kill(os.getpid(), signal.SIGKILL); "
        "lakes.make_lake(Path(sys.argv[1]), profile='fake', seed=1)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(folder)], check=False).returncode == -signal.SIGKILL
    code, _, err = interlake("status", "--lake", folder)
    assert (code, "interlake init" in err) == (2, True)
    assert interlake("init", "--lake", folder, "--seed", "3")[0] == 0
    code, out, _ = interlake("status", "--lake", folder, "--json")
    assert (code, json.loads(out)["topics"]) == (0, len(read_catalogue()))


def test_values_that_csv_has_no_cell_for_are_json_or_hex(interlake: Interlake, lake: Path) -> None:
    query = r"""SELECT [1, 2] AS l, {'a': 'x'} AS s, '\xAA\x01'::BLOB AS b, INTERVAL 1 MONTH AS i, MAP {'k': 1} AS m,
        [1.5, 'nan'::DOUBLE] AS f, NULL::INTEGER[] AS n, 2.50 AS d, array_value(1, 2) AS a"""
    code, out, _ = interlake("sql", "--lake", lake, "--format", "csv", query)
    assert code == 0
    header, row = csv.reader(out.splitlines())
    assert dict(zip(header, row, strict=True)) == {
        "l": "[1, 2]",
        "s": '{"a": "x"}',
        "b": "aa01",
        "i": "1 month",
        "m": '{"k": 1}',
        "f": "[1.5, null]",
        "n": "",
        "d": "2.50",
        "a": "[1, 2]",
    }


def test_json_is_valid_whatever_the_values(interlake: Interlake, lake: Path) -> None:
    query = r"""SELECT 'nan'::DOUBLE AS nan, ['inf'::DOUBLE, 1] AS l, '\xAA'::BLOB AS b, 2.5 AS d, INTERVAL 1 DAY AS i,
        99999999999999999999999999999999999999::HUGEINT AS h, MAP {DATE '2026-01-02': 1} AS m, 'é' AS t"""
    code, out, _ = interlake("sql", "--lake", lake, "--json", query)
    assert code == 0

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    assert json.loads(out, parse_constant=refuse) == [
        {
            "nan": None,
            "l": [None, 1.0],
            "b": "aa",
            "d": 2.5,
            "i": "1 day",
            "h": 99999999999999999999999999999999999999,
            "m": {"2026-01-02": 1},
            "t": "é",
        }
    ]
    assert "é" in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_nothing_that_is_printed_steers_a_terminal(lake: Path, form: str) -> None:
    query = r"SELECT 'a' || chr(27) || '[2J' || chr(155) || chr(8238) || 'é' AS t"
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", "from flows.cli.main import main; main()", "sql", "--lake", str(lake)]
    with subprocess.Popen(
        [*words, "--format", form, query], stdout=theirs, env={**os.environ, "TERM": "dumb"}
    ) as child:
        os.close(theirs)
        out = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert child.returncode == 0
    assert "a\\u001b[2J\\u009b\\u202e" in out
    assert not set(out) & {"\x1b", "\x9b", "\u202e"}


def read_terminal(terminal: int) -> bytes:
    """What comes next from a pseudo-terminal; nothing once its other end is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
