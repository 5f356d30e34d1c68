"""The benchmarks still run; what they measure is judged by whoever runs them."""

import pytest

from tests.benchmarks import lake, recording


def test_the_benchmark_of_the_lake_runs_small_and_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert lake.main(["--turns", "100", "--dims", "16", "--batches", "2", "--no-verdict"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["committed", "turns", "100", "growth", "maintained"]
    names = [line[:46].strip() for line in printed]
    for name in ("duplicates", "packages", "version file", "table: rows", "verify", "publish one more batch"):
        assert name in names
    assert not any(line.startswith(("PASS", "FAIL")) for line in printed)


def test_the_benchmark_of_recording_runs_small_and_says_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert recording.main(["--pairs", "1", "--samples", "4", "--no-verdict"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "calls/s without" in printed[0]
    assert printed[1].startswith("recording costs ")
    assert not any(line.startswith(("PASS", "FAIL")) for line in printed)
