"""The benchmarks still run; what they measure is judged by whoever runs them."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import dedup, gallery, lake, one_build, recording, topics
from tests.benchmarks.pipeline import __main__ as pipeline


def test_the_benchmark_of_the_lake_runs_small_and_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert lake.main(["--turns", "100", "--dims", "16", "--batches", "2", "--no-verdict"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["committed", "turns", "100", "growth", "maintained"]
    names = [line[:46].strip() for line in printed]
    for name in ("duplicates", "packages", "version file", "table: rows", "verify", "publish one more batch"):
        assert name in names
    assert not any(line.startswith(("PASS", "FAIL")) for line in printed)


def test_the_benchmark_of_the_gallery_asks_for_every_page_and_prints_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--samples", "130", "--repeats", "2", "--lake", str(tmp_path / "lake"), "--no-verdict"]
    assert gallery.main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["130", "samples,", "milliseconds", "median", "p95", "slowest"]
    names = [line[:34].strip() for line in printed]
    assert {*gallery.AIMED_AT, "SQL", "thumbnail"} <= set(names)
    assert not any(line.startswith(("PASS", "FAIL")) for line in printed)


def test_the_benchmark_of_recording_runs_small_and_says_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert recording.main(["--pairs", "1", "--samples", "4", "--no-verdict"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "calls/s without" in printed[0]
    assert printed[1].startswith("recording costs ")
    assert not any(line.startswith(("PASS", "FAIL")) for line in printed)


def test_the_benchmark_of_topics_brings_in_few_names_and_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.main(["--parts", "import", "--sizes", "100", "200", "--no-verdict"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["names", "brought", "in", "100", "200", "x", "2.0"]
    assert any(line.startswith("merge and place") for line in printed)
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


def rows_of(printed: str) -> list[list[str]]:
    """The cells of the tables in Markdown, heads and lines left out."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    return [
        row
        for place, row in enumerate(rows)
        if "---" not in (row[0], *(rows[place + 1][:1] if rows[place + 1 :] else ()))
    ]


def test_the_benchmark_of_the_pipeline_lays_a_build_beside_its_ideal_schedule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["--samples", "6", "--batch", "2", "--open-batches", "3", "--at-once", "4", "--mean", "0.02"]
    assert pipeline.main(["--part", "latency", *small, "--no-verdict"]) == 0
    printed = capsys.readouterr().out
    ((samples, calls, wall, ideal, *_),) = rows_of(printed)
    assert samples == "6"
    assert int(calls) >= 6 * 5
    assert float(wall) >= float(ideal) > 0
    assert "6 kept; batches of 2, 3 open" in printed


def test_the_benchmark_of_the_pipeline_says_where_time_goes_without_latency(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--samples", "6", "--batch", "2", "--open-batches", "3", "--at-once", "4"]
    assert pipeline.main(["--part", "zero", *small, "--no-verdict"]) == 0
    first, *profile = rows_of(capsys.readouterr().out)
    assert first[0] == "6 (at most 6)"
    assert float(first[2]) > 0
    assert profile


def test_the_chain_of_the_peers_is_run_by_a_bare_client_and_all_of_its_calls_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["--samples", "5", "--zero-rows", "3", "--mean", "0.02", "--at-once", "2"]
    assert pipeline.main(["--part", "peers", *small, "--peers", "aiohttp"]) == 0
    ((tool, _, _, rows, wall, ideal, *_, rate, _, _),) = rows_of(capsys.readouterr().out)
    assert (tool, rows) == ("aiohttp", "5")
    assert float(wall) >= float(ideal) > 0
    assert rate.endswith("(3 rows)")
