"""Processes are known again for certain: a number that is another's now, a mark that is inherited, an end in time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.errors import StackError
from deploy.place import Place, find_place
from deploy.processes import MARK, Process, end, identify, is_running, marked, recall, remember, start

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    mark = f"test of {tmp_path}"
    yield mark
    end(marked(mark), patience=0.1)


def begin(program: str, folder: Path, mark: str) -> Process:
    return start(
        [sys.executable, "-c", program], folder=folder, environment={**os.environ, MARK: mark}, log=folder / "log"
    )


def test_a_process_is_recalled_until_it_ends(tmp_path: Path, mark: str) -> None:
    process = begin(SLEEP, tmp_path, mark)
    remember(tmp_path / "pid", process)
    assert recall(tmp_path / "pid") == process
    end([process], patience=60)
    assert recall(tmp_path / "pid") is None


def test_another_process_under_the_same_number_is_neither_recalled_nor_ended(tmp_path: Path, mark: str) -> None:
    process = begin(SLEEP, tmp_path, mark)
    earlier = Process(pid=process.pid, started=process.started - 1, boot=process.boot)
    other_boot = Process(pid=process.pid, started=process.started, boot="before the reboot")
    for stale in (earlier, other_boot):
        remember(tmp_path / "pid", stale)
        assert recall(tmp_path / "pid") is None
    end([earlier, other_boot], patience=1)
    assert is_running(process)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '"x"'])
def test_a_torn_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert recall(tmp_path / "pid") is None


def test_the_mark_finds_grandchildren_in_sessions_of_their_own_and_nobody_else(tmp_path: Path, mark: str) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        parent = begin(PARENT, tmp_path, mark)
        while len(marked(mark)) < 2:
            assert is_running(parent)
        end([parent], patience=60)
        (orphan,) = marked(mark)
        end([orphan], patience=60)
        assert marked(mark) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_who_does_not_listen_is_killed(tmp_path: Path, mark: str) -> None:
    process = begin(STUBBORN, tmp_path, mark)
    while "deaf" not in (tmp_path / "log").read_text():
        assert is_running(process)
    end([process], patience=0.5)
    assert identify(process.pid) is None


def test_the_secret_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    place = Place(state=tmp_path / "state", asked_port=4999)
    place.prepare()
    secret = place.secret
    place.prepare()
    assert place.secret == secret
    assert len(secret) > 30
    assert place.secret_file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state" / "env").stat().st_mode & 0o777 == 0o600
    assert Place(state=tmp_path / "state").port == 4999, "that of last time"


def test_the_database_is_postgres_where_one_is_named(tmp_path: Path) -> None:
    state = {"INTERLAKE_STATE": str(tmp_path)}
    assert find_place(state).database is None
    for name in ("INTERLAKE_DATABASE_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):
        place = find_place({**state, name: "postgresql://u:p@db/prefect"})
        assert place.database == "postgresql+asyncpg://u:p@db/prefect"
    for name, value in (("INTERLAKE_DATABASE_URL", "mysql://db"), ("INTERLAKE_PREFECT_PORT", "http")):
        with pytest.raises(StackError):
            find_place({**state, name: value})
