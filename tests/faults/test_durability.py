"""A trace of system calls: every file of a commit is written, synced, renamed and its folder synced before the commit
is reported, packages before the version's name, LanceDB's files before their tag. Power loss itself is not tried."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from storage.lake import Lake
from tests.faults.traces import TRACED, Call, Disk, read_trace, replay
from tests.faults.worker import Ledger, log_path
from tests.flows.casts import fake_lake, grow

TRUTH = ("packages", "versions", "compact", "lake.json")
KEPT = (*TRUTH, "lance", "history.duckdb")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    for _ in range(2):
        grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    Ledger(log_path(lake.path))
    return lake


def trace(lake: Lake, job: str) -> tuple[Disk, Iterator[Call]]:
    """The disk before a job, and the calls of the job."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    out = lake.path.with_name("trace")
    there = {str(path) for path in lake.path.rglob("*")}
    command = ["strace", "-f", "-y", "-qq", "-s", "12", "-o", str(out), "-e", f"trace={TRACED}"]
    worker = [sys.executable, "-m", "tests.faults.worker", str(lake.path), job]
    done = subprocess.run([*command, *worker], capture_output=True, text=True, timeout=300, check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"processes may not be traced here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-2000:]
    return Disk(root=str(lake.path), there=there), read_trace(out)


def names_version(call: Call) -> bool:
    return call.name.startswith("rename") and bool(re.search(r"/versions/\d+\.json$", call.paths[-1]))


def writes_tag(call: Call) -> bool:
    return "/_refs/tags/v" in "".join(call.paths) and "O_CREAT" in call.arguments


def test_every_file_of_a_commit_is_synced_before_the_commit_is_reported(lake: Lake) -> None:
    disk, calls = trace(lake, "build")
    reports = versions = tags = 0
    for call in replay(calls, disk):
        if call.text.startswith("committed"):
            assert disk.unsafe(*KEPT) == []
            reports += 1
        elif names_version(call):
            assert disk.unsafe("packages", "staging") == [], (
                "packages outlive a power cut before the version names them"
            )
            assert call.paths[0] not in disk.dirty
            versions += 1
        elif writes_tag(call):
            assert disk.unsafe("lance/turns.lance/data", "lance/turns.lance/_versions") == []
            assert disk.unsafe("versions") == []
            tags += 1
    assert (reports, versions) == (2, 4), "two batches; a claim, two batches and an end"
    assert tags >= versions
    assert disk.unsafe(*KEPT) == []
    there = [path for part in KEPT for path in files_below(lake.path / part)]
    new = [path for path in there if path in disk.synced]
    kinds = {"".join(Path(path).suffixes[-1:]) for path in new}
    assert kinds >= {".parquet", ".pack", ".json", ".lance", ".manifest", ".txn", ".duckdb"}


@pytest.mark.parametrize("job", ["maintain", "rebuild"])
def test_maintenance_and_rebuild_leave_nothing_that_is_not_synced(lake: Lake, job: str) -> None:
    disk, calls = trace(lake, job)
    removed = 0
    for call in replay(calls, disk):
        if call.name.startswith("rename") and "/packages/" in call.paths[0]:
            assert disk.unsafe("compact/0") == [], "a package goes when the folder that holds it outlives a power cut"
            removed += 1
    assert removed == (len(lake.version().packages) if job == "maintain" else 0)
    assert disk.unsafe(*KEPT) == []


def files_below(path: Path) -> list[str]:
    return [str(path)] if path.is_file() else [str(found) for found in path.rglob("*") if found.is_file()]


LITERAL = """\
7 openat(AT_FDCWD</>, "/lake/.a.part", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</lake/.a.part>
7 write(3</lake/.a.part>, "x"..., 1) = 1
8 fsync(3</lake/.a.part> <unfinished ...>
7 openat(AT_FDCWD</>, "/lake/none", O_RDONLY) = -1 ENOENT (No such file or directory)
8 <... fsync resumed>) = 0
7 rename("/lake/.a.part", "/lake/a") = 0
7 openat(AT_FDCWD</>, "/lake", O_RDONLY) = 3</lake>
7 fsync(3</lake>) = 0
7 write(4</lake/a>, "x"..., 1) = 1
"""


def test_the_reckoning_knows_what_is_not_safe_yet(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(LITERAL)
    disk = Disk(root="/lake", there=set())
    states = []
    for call in read_trace(path):
        disk.note(call)
        states.append((call.name, disk.unsafe()))
    assert states == [
        ("openat", ["name of /lake/.a.part"]),
        ("write", ["bytes of /lake/.a.part", "name of /lake/.a.part"]),
        ("fsync", ["name of /lake/.a.part"]),
        ("rename", ["name of /lake/a"]),
        ("openat", ["name of /lake/a"]),
        ("fsync", []),
        ("write", ["bytes of /lake/a"]),
    ]
