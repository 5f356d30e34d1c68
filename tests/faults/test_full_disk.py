"""A disk that is full, at every write: the run stops with an error, the lake is as it was or one version on, and once
there is room the same command goes on. Power loss itself is not tried; what is synced when is in test_durability.py."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import storage.writing
from flows.standing import read_status
from storage.errors import NoRoom
from storage.lake import Lake
from storage.steps import Step
from tests.faults.ledgers import Log, assert_reported_is_there
from tests.faults.soundness import assert_sound
from tests.faults.worker import OPTIONS, Ledger, build, log_path
from tests.flows.casts import fake_lake, grow, maintain
from tests.flows.test_build import assert_conserved

PAGE = 4096
BATCH = 2
FULL = (errno.ENOSPC, errno.EFBIG)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes in memory; skips where we may not mount one."""
    folder.mkdir()
    options = f"size={size},nr_inodes=0"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Leave so many bytes free."""
    ballast = folder / "ballast"
    there = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(b"\0" * max(0, there.f_bavail * there.f_frsize - free))
    return ballast


def grow_starved(lake: Lake) -> str:
    """Build and say how it ended: `done`, or the error of a full disk. Any other error is passed on."""
    try:
        build(lake, Ledger(log_path(lake.path)))
    except NoRoom:
        return "no room"
    except Exception as error:  # Lance and DuckDB have errors of their own for it
        if not is_full(error):
            raise
        return "full"
    return "done"


def is_full(error: BaseException | None) -> bool:
    """Whether an error says, in whatever words, that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(word in str(error) for word in ("No space left", "File too large", "os error 28", "os error 27")):
            return True
        error = error.__cause__ or error.__context__
    return False


def assert_goes_on(lake: Lake) -> None:
    """Whatever was reported is there, and the same command makes the rest."""
    assert_reported_is_there(lake, Log.read(lake))
    while read_status(lake.path).outcomes["kept"] < 6:
        build(lake, Ledger(log_path(lake.path)))
    assert read_status(lake.path).outcomes["kept"] == 6
    assert Log.read(lake).repeated() <= BATCH, "answers that came when there was no room for them, and no others"
    assert_conserved(lake)
    assert_sound(lake)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 64 << 20) as folder:
        yield folder


def start(folder: Path) -> Lake:
    lake = fake_lake(folder / "lake", settings={"batch_size = 8": f"batch_size = {BATCH}"})
    grow(lake.path, OPTIONS.__class__(new_topics=1, samples_per_topic=2, turns=1))
    Ledger(log_path(lake.path))
    return lake


def test_a_version_that_would_not_fit_is_refused_before_it_is_begun(disk: Path) -> None:
    lake = start(disk)
    before = lake.version()
    ballast = fill(disk, storage.writing.SPARE_BYTES // 2)
    with pytest.raises(NoRoom, match=r"MB free, and the next version needs"):
        build(lake, Ledger(log_path(lake.path)))
    assert lake.version() == before
    assert not list((lake.path / "staging").iterdir())
    ballast.unlink()
    assert_goes_on(lake)


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 22, 25, 30, 35, 40, 50, 60, 80, 120])
def test_a_disk_that_fills_up_in_the_middle_stops_the_run_and_loses_nothing(
    disk: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = start(disk)
    monkeypatch.setattr(storage.writing, "SPARE_BYTES", 0)  # somebody else took the room after it was looked for
    monkeypatch.setattr(storage.writing, "COPIES", 0)
    ballast = fill(disk, pages * PAGE)
    ended = grow_starved(lake)
    assert ended != "done" or pages > 25
    ballast.unlink()
    assert_goes_on(lake)


WRITING = [
    Step.FILES_CLEARED,
    Step.RECOVERED,
    Step.TABLE_WRITTEN,
    Step.PICTURES_WRITTEN,
    Step.MANIFEST_WRITTEN,
    Step.PACKAGE_NAMED,
    Step.VERSION_STAGED,
    Step.COMMITTED,
    Step.ROWS_ADDED,
    Step.TABLE_SYNCED,
    Step.VERIFIED,
    Step.HISTORY_COPIED,
]


@pytest.mark.parametrize("step", WRITING, ids=lambda step: step.value)
def test_when_no_file_may_grow_from_a_step_on_the_run_stops_and_loses_nothing(tmp_path: Path, step: Step) -> None:
    lake = start(tmp_path)
    command = [sys.executable, "-m", "tests.faults.worker", str(lake.path), "build", "--at", step.value]
    done = subprocess.run(
        [*command, "--after", "1", "--then", "starve"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert any(word in done.stderr for word in ("too large", "os error 27")), done.stderr[-2000:]
    assert_goes_on(lake)


@pytest.mark.parametrize("pages", [0, 4, 16])
def test_maintenance_on_a_full_disk_changes_nothing(disk: Path, pages: int) -> None:
    lake = start(disk)
    before = lake.version()
    ballast = fill(disk, pages * PAGE)
    with pytest.raises((OSError, RuntimeError, ValueError, NoRoom)) as caught:
        maintain(lake, days=0)
    assert is_full(caught.value)
    ballast.unlink()
    assert lake.version() == before
    maintain(lake, days=0)
    assert_goes_on(lake)


def test_the_limit_of_a_file_is_a_full_disk_for_python_and_for_what_it_calls(tmp_path: Path) -> None:
    """The means of the test above, tried by itself: the signal is ignored, the write fails."""
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        f"open({str(tmp_path / 'file')!r}, 'wb', buffering=0).write(b'x')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
