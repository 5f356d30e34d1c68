"""The notebook as a script, over a small lake: it comes to its end, and says what the lake says."""

import os
import subprocess
import sys
from pathlib import Path

from storage.query import query
from tests.storage.lakes import claim_row, commit, decision_row, made_sample, make_lake, package, start_row, topic_row

ROOT = Path(__file__).parents[2]


def test_the_notebook_runs_as_a_script_and_prints_what_the_lake_holds(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    claims = [claim_row(name, "run1") for name in ("s1", "s2", "s3")]
    commit(lake, package(topic_row(), start_row("run1"), *claims, kind="run"))
    commit(lake, made_sample("s1", 10, 20), made_sample("s2", 30), package(decision_row("s1", "kept"), kind="decision"))
    shown = subprocess.run(
        [sys.executable, "flows/gallery/notebook.py", "--", "--lake", str(lake.path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert f"{lake.path}, version 2" in shown.stdout
    assert "│ open    ┆ 2 " in shown.stdout
    assert "│ kept    ┆ 1 " in shown.stdout
    turns = query(lake, "SELECT count(*) FROM turns JOIN samples USING (sample_id) WHERE outcome = 'kept'").item()
    assert f"{turns} kept turns, {turns} pictures shown" in shown.stdout


def test_the_notebook_says_when_there_is_no_lake(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "flows/gallery/notebook.py", "--", "--lake", str(tmp_path / "nowhere")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode != 0
    assert "nowhere is not a lake" in shown.stderr + shown.stdout
