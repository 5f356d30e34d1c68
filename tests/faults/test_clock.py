"""The wall clock is set back, before and during runs: times are told, and nothing hangs on them."""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flows.asked import BuildOptions
from storage.lake import Lake
from storage.packages import seal
from storage.query import query
from storage.records import CallRow, IterationRow, RunEndRow
from storage.versions import version_path
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved
from tests.flows.test_models_cli import interlake

ONE = BuildOptions(new_topics=1, samples_per_topic=2, turns=1)


def date_anew(lake: Lake, number: int, created_at: str) -> None:
    """Give a version another time; no hash of the chain knows of it."""
    path = version_path(lake.versions, number)
    body = json.loads(path.read_bytes())["body"]
    path.write_bytes(seal(body | {"created_at": created_at}))


def test_a_lake_from_the_future_is_read_and_grows(tmp_path: Path) -> None:
    """The equivalent of a clock that was set back since: the lake's versions are re-sealed with times to come.

    Time stands in no hash, so this is what they would be had the clock been wrong when they were written.
    """
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, ONE)
    times = ["2999-12-31T23:59:59+00:00", "1970-01-01T00:00:00+00:00", "2600-01-01T00:00:00.000001+00:00"]
    before = lake.version()
    for number in range(1, before.number + 1):
        date_anew(lake, number, times[number % 3])
    (lake.path / "history.duckdb").unlink()
    assert lake.version().sha256 == before.sha256
    run = grow(lake.path, ONE)
    assert (run.plan.resumed, run.counts()["kept"]) == (0, 2)
    code, out, err = interlake("versions", "--lake", lake.path, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["version"] for row in rows] == list(range(1, lake.version().number + 1))
    assert [row["parent"] for row in rows[1:]] == [row["sha256"] for row in rows[:-1]]
    told = [datetime.fromisoformat(row["created_at"]) for row in rows]
    assert told[: before.number] == [datetime.fromisoformat(times[n % 3]) for n in range(1, before.number + 1)]
    assert query(lake, "SELECT count(*) AS n FROM samples", at=before.number)["n"].to_list() == [2]
    code, out, err = interlake("fsck", "--lake", lake.path)
    assert (code, err) == (0, ""), out
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile long *moved;
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void start(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("CLOCK_MOVED_BY"), O_RDWR);
    moved = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = real(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *moved;
    return failed;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""

MOVED_BUILDS = """
import json, os, struct, sys, time
from itertools import chain, repeat
from pathlib import Path
from flows.progress import LISTENER
from models.errors import TerminalError
from storage.lake import Lake
from tests.flows.casts import Troupe, grow
from tests.faults.test_clock import ONE
clock = open(os.environ["CLOCK_MOVED_BY"], "r+b", buffering=0)
def move(seconds):
    clock.seek(0)
    clock.write(struct.pack("q", int(seconds)))
year = 365 * 86400
assert time.time() > 40 * year
hours = chain((2 * year - 3600 * at for at in range(6)), [-40 * year], repeat(-50 * year))
asked, seen = [], []
def turn_back(_):
    asked.append(1)
    move(next(hours))
    return TerminalError("down") if len(asked) == 9 else None
LISTENER.set(lambda now: seen.append(now.seconds))
path = Path(sys.argv[1])
try:
    grow(path, ONE, Troupe(writer_fails=turn_back, latency=0.002))
except TerminalError:
    pass
grow(path, ONE, Troupe(writer_fails=turn_back))
with Lake.open(path).lock(purpose="a look", timeout=1):
    print(json.dumps({"seconds": seen, "year": time.gmtime().tm_year}))
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, to put another clock before the kernel's")
def test_a_clock_that_runs_backwards_costs_nothing(tmp_path: Path) -> None:
    """Real builds in a process whose C library tells times that go back by hours and decades while they run."""
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    told = build_with_moved_clock(tmp_path, lake)
    assert told["year"] < 1980
    assert all(0 <= seconds < 60 for seconds in told["seconds"]), "how far a run is, is told in seconds that only grow"
    assert [row.state for row in lake.rows(RunEndRow, lake.version())] == ["stopped", "finished"]
    runs = query(lake, "SELECT started_at, finished_at, kept, open FROM runs ORDER BY version").to_dicts()
    assert runs[0]["finished_at"] < runs[0]["started_at"], "the clock went back, and that is what is told"
    assert [row["open"] for row in runs][-1] == 0
    times = query(lake, "SELECT created_at FROM versions ORDER BY version")["created_at"].to_list()
    assert times != sorted(times)
    assert all(0 <= row.seconds < 60 for row in lake.rows(CallRow, lake.version()))
    assert all(0 <= row.seconds < 60 for row in lake.rows(IterationRow, lake.version()))
    assert_conserved(lake)
    assert grow(lake.path, ONE).counts()["kept"] == 2
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def build_with_moved_clock(folder: Path, lake: Lake) -> dict[str, Any]:
    source, shim, moved = folder / "clock.c", folder / "clock.so", folder / "moved"
    source.write_text(CLOCK)
    moved.write_bytes(bytes(8))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    there = {"LD_PRELOAD": str(shim), "CLOCK_MOVED_BY": str(moved)}
    words = ["env", *(f"{name}={value}" for name, value in there.items()), sys.executable, "-c", MOVED_BUILDS]
    done = subprocess.run([*words, str(lake.path)], stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
