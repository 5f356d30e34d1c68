"""`interlake watch`: a living run, followed from another terminal."""

import json
import shutil
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import json_option, lake_option, plain
from flows.progress import Progress

if TYPE_CHECKING:
    from storage.lake import Lake

CLEAR = "\r\x1b[K"


@click.command()
@lake_option
@json_option
@click.argument("run", required=False)
def watch(*, lake_path: Path, as_json: bool, run: str | None) -> None:
    """Follow RUN (an id or its first digits; the newest living one by default) until it ends, and say what it came to.

    One line on a terminal, elsewhere a line a change; with --json a JSON object a change, the last one the outcome.
    Ctrl-C ends the watching alone.
    """
    from flows.watching import find_run
    from storage.lake import Lake
    from storage.slots import is_alive

    lake = Lake.open(lake_path)
    run_id = find_run(lake, run)
    if run_id is None:
        _tell({"run_id": None}, "no run is at work, and there was none yet", as_json=as_json)
        return
    if not is_alive(lake, run_id):
        _tell_outcome(
            lake, run_id, before="not at work any more: " if run else "no run is at work; the last: ", as_json=as_json
        )
        return
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        _follow(lake, run_id, as_json=as_json, until=interrupted)
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(lake: "Lake", run_id: str, *, as_json: bool, until: threading.Event) -> None:
    from flows.watching import follow

    rewrites = sys.stdout.isatty() and not as_json
    for now in follow(lake, run_id, until=until):
        if rewrites:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"{CLEAR}{plain(now.line())[:width]}", nl=False)
        else:
            _tell(progress_json(now), now.line(), as_json=as_json)
    if until.is_set():
        click.echo("\nno longer watching; the run goes on", err=True)
        return
    if rewrites:
        click.echo(CLEAR, nl=False)
    _tell_outcome(lake, run_id, before="", as_json=as_json)


def progress_json(now: Progress) -> dict[str, object]:
    """Progress with what is reckoned from it."""
    reckoned = {"open": now.open, "calls_per_second": now.calls_per_second, "seconds_left": now.seconds_left}
    return {"state": "running", **asdict(now), **reckoned}


def _tell_outcome(lake: "Lake", run_id: str, *, before: str, as_json: bool) -> None:
    from flows.watching import read_outcome

    came_to = read_outcome(lake, run_id)
    _tell(asdict(came_to), f"{before}{came_to.line()}", as_json=as_json)


def _tell(facts: dict[str, object], line: str, *, as_json: bool) -> None:
    """One line, at once also into a pipe."""
    click.echo(json.dumps(facts, allow_nan=False) if as_json else plain(line))
