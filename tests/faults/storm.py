"""A storm: two builds at once and a maintenance now and then, killed and stopped at random moments; then an account.

`python -m tests.faults.storm [--seconds S] [--seed N]` prints the seed, what was done, and what was lost; exit code 1
when anything was. Where a process is when it is hit depends on the machine: the seed repeats the hits, not the hour.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from flows.asked import BuildOptions
from flows.standing import read_status
from storage.lake import Lake
from storage.records import CallRow, SampleRow
from tests.faults.ledgers import Log, recorded
from tests.faults.soundness import unsound
from tests.faults.worker import Ledger, build, log_path
from tests.flows.casts import fake_lake
from tests.flows.test_build import assert_conserved

BATCH = 2
BUILDERS = 2
SETTINGS = {"batch_size = 8": f"batch_size = {BATCH}"}


@dataclass(slots=True)
class Storm:
    """Processes at work on one lake, and whoever hits them."""

    lake: Lake
    dice: random.Random
    builders: "list[subprocess.Popen[str]]" = field(default_factory=list)
    maintainers: "list[subprocess.Popen[str]]" = field(default_factory=list)
    kills: int = 0
    stops: int = 0
    maintenances: int = 0
    failures: list[str] = field(default_factory=list)

    def rage(self, seconds: float) -> None:
        """Hit for so long, then kill all that is left, but not before something was committed: machines may be slow."""
        end = time.monotonic() + seconds
        while (is_raging := time.monotonic() < end) or not Log.read(self.lake).committed:
            self.man()
            time.sleep(self.dice.uniform(0.1, 4.0))
            if is_raging:
                self.hit()
        for child in (*self.builders, *self.maintainers):
            self.kill(child)

    def man(self) -> None:
        """Start what is missing; a process that ended by itself with an error is a failure."""
        self.builders = [child for child in self.builders if not self._ended(child)]
        self.maintainers = [child for child in self.maintainers if not self._ended(child)]
        while len(self.builders) < BUILDERS:
            latency = self.dice.choice(["0", "0.1", "0.5"])
            self.builders.append(self._start("build-on", "--topics", "2", "--latency", latency))
        if not self.maintainers and self.dice.random() < 0.2:
            self.maintainers.append(self._start("maintain"))
            self.maintenances += 1

    def hit(self) -> None:
        """Kill or stop one of them, or let it be."""
        child = self.dice.choice([*self.builders, *self.maintainers])
        what = self.dice.random()
        if what < 0.5:
            self.kill(child)
        elif what < 0.7:
            child.send_signal(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.1, 1.0))
            child.send_signal(signal.SIGCONT)
            self.stops += 1

    def kill(self, child: "subprocess.Popen[str]") -> None:
        child.kill()
        child.wait()
        self.kills += 1

    def _start(self, job: str, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.faults.worker", str(self.lake.path), job, *options]
        with self.lake.path.with_name("errors").open("a") as errors:
            return subprocess.Popen(command, stderr=errors, text=True)

    def _ended(self, child: "subprocess.Popen[str]") -> bool:
        if child.poll() is None:
            return False
        if child.returncode not in (0, -signal.SIGKILL):
            self.failures.append(f"a process ended with {child.returncode}")
        return True


def account(storm: Storm) -> dict[str, int | str | list[str]]:
    """What was done and what was lost, after the builds were finished by the same command, given again."""
    lake = storm.lake
    known, log = recorded(lake), Log.read(lake)
    under_way = len(set(log.asked) - known)
    build(lake, Ledger(log_path(lake.path)), BuildOptions(new_topics=0, samples_per_topic=2, turns=1))
    after = Log.read(lake)
    lost = [number for number, sha256 in after.committed.items() if lake.version(number).sha256 != sha256]
    assert_conserved(lake)
    head = lake.version()
    ids = lake.scan(CallRow, head, ["call_id"]).collect()["call_id"]
    samples = lake.scan(SampleRow, head, ["sample_id"]).collect()["sample_id"]
    errors = lake.path.with_name("errors").read_text()
    return {
        "kills": storm.kills,
        "stops": storm.stops,
        "maintenances": storm.maintenances,
        "versions": head.number,
        "samples": len(samples),
        "open": read_status(lake.path).outcomes["open"],
        "calls": len(set(after.asked)),
        "under way at the last kills": under_way,
        "calls asked again": after.repeated(),
        "rows lost": len(lost) + len(ids) - ids.n_unique() + len(samples) - samples.n_unique(),
        "broken invariants": unsound(lake),
        "failures": [*storm.failures, *([errors[-4000:]] if storm.failures else [])],
    }


def run_storm(folder: Path, *, seconds: float, seed: int) -> dict[str, int | str | list[str]]:
    lake = fake_lake(folder / "lake", settings=SETTINGS)
    storm = Storm(lake=lake, dice=random.Random(seed))
    Ledger(log_path(lake.path))
    storm.rage(seconds)
    return account(storm)


def is_fine(found: dict[str, int | str | list[str]]) -> bool:
    """Nothing lost, nothing broken, and no more asked again than was under way."""
    kills, again = found["kills"], found["calls asked again"]
    assert isinstance(kills, int) and isinstance(again, int)
    clean = not any(found[name] for name in ("rows lost", "open", "broken invariants", "failures"))
    return clean and again <= BATCH * kills and bool(found["samples"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.seconds:.0f} seconds", flush=True)  # noqa: T201
    folder = Path(tempfile.mkdtemp(prefix="interlake-storm-"))
    found = run_storm(folder, seconds=asked.seconds, seed=asked.seed)
    for name, value in found.items():
        print(f"{name:>28}: {value}")  # noqa: T201
    if not is_fine(found):
        print(f"LOST: the lake is left in {folder}")  # noqa: T201
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
