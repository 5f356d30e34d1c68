"""A short storm; `make storm` has a long one."""

import time
from pathlib import Path

from tests.faults.storm import is_fine, run_storm

SECONDS = 20


def test_two_builds_in_a_storm_lose_nothing(tmp_path: Path) -> None:
    seed = time.time_ns() % 1_000_000
    found = run_storm(tmp_path, seconds=SECONDS, seed=seed)
    assert is_fine(found), f"seed {seed}: {found}"
    assert found["kills"]
