"""The README's section "Reproduce a dataset" is run as it stands, and what it says comes out."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADING = "Reproduce a dataset"
MARK = "@@@ next"


@dataclass(frozen=True, slots=True)
class Step:
    """A command as it is shown, and the lines that are shown to come of it; `…` stands for what differs."""

    command: str
    said: tuple[str, ...]


def read_walk() -> list[Step]:
    """The commands of the section, in their order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {HEADING}\n(.*?)^## ", text, flags=re.MULTILINE | re.DOTALL)
    assert section, f"the README has a section {HEADING!r}"
    steps: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```", section[1], flags=re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *said = part.rstrip("\n").split("\n")
            steps.append(Step(command, tuple(said)))
    return steps


def pattern(said: tuple[str, ...]) -> re.Pattern[str]:
    """What is shown as an expression: a line `…` is any lines, `…` within a line any text."""
    parts = ["(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\s*\n" for line in said]
    return re.compile("".join(parts) + r"\s*")


def run_all(steps: list[Step], folder: Path, api: str) -> list[str]:
    """The output of each command, all of them run by one shell in the repository."""
    lines = [f"{step.command}\necho; echo {shlex.quote(MARK)}" for step in steps]
    script = "\n".join(["set -e", *lines]).replace("/tmp/walk", str(folder))
    script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    environment = {**os.environ, "PREFECT_API_URL": api, "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.replace(str(folder), "/tmp/walk").split(f"\n{MARK}\n")


@pytest.mark.usefixtures("prefect_server")
def test_every_command_of_the_walk_says_what_the_readme_says(tmp_path: Path, prefect_server: str) -> None:
    steps = read_walk()
    assert {"replay", "regenerate", "rerun", "diff", "why", "call"} <= {
        step.command.split()[1] for step in steps if "/interlake " in step.command.split("=$(")[0]
    }
    outputs = run_all(steps, tmp_path / "walk", prefect_server)
    for step, output in zip(steps, outputs, strict=False):
        shown = re.sub(r"[ \t]+$", "", output, flags=re.MULTILINE).strip("\n") + "\n"
        assert not step.said or pattern(step.said).fullmatch(shown), f"$ {step.command}\n{output}"
        assert step.said or not output.strip(), f"the README does not show what comes of it: $ {step.command}\n{output}"
