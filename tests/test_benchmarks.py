"""The benchmarks still run; what they measure is judged by whoever runs them."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import dedup, lake, one_build, recording


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


def test_the_benchmark_of_near_duplicates_runs_small_and_finds_every_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--rows",
        "4500",
        "--queries",
        "40",
        "--pairs",
        "20",
        "--repeats",
        "1",
        "--plot",
        str(tmp_path / "near.png"),
    ]
    assert (
        dedup.main([*small, "--tools", "this-numpy", "gemm", "lance-flat", "--shapes", "clustered", "--no-verdict"])
        == 0
    )
    printed = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed if line.startswith("|")]
    tools = [row for row in rows if row[0] not in {"tool", "---"}]
    assert [row[0] for row in tools] == ["this, numpy", "numpy GEMM", "LanceDB flat"]
    assert {row[4] for row in tools} == {"1.0000"}
    assert (tmp_path / "near.png").read_bytes().startswith(b"\x89PNG")
    assert not any(line.startswith(("PASS", "FAIL")) for line in printed)


def test_the_benchmark_of_prefect_measures_its_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--plain", "--samples", "4", "--batch", "2", "--open-batches", "2", "--latency", "0.01"]
    assert one_build.main(words) == 0
    took = json.loads(capsys.readouterr().out)
    assert (took["samples"], took["tasks"]) == (4, 0)
    assert took["seconds"] > 0
