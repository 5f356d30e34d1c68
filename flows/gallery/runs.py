"""Runs: where their slots went, what they asked of models, how fast, and whether another round helped."""

import re
from collections.abc import Iterator, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.gallery.charts import Chart, column_chart, line_chart
from flows.gallery.page import Gallery
from flows.gallery.snapshot import SCORES, Record, Snapshot

RUN_ID = re.compile(r"[0-9a-f]{32}")
SLICES = 48
"""Columns of the chart of a run's calls."""
MOST_RUNS = 200

_SPENT = """
SELECT run_id, count(*) AS calls, sum(seconds) AS seconds, sum(completion_tokens)::BIGINT AS tokens,
    epoch(max(started_at)) - epoch(min(started_at)) AS lasted
FROM calls WHERE {where} GROUP BY run_id
"""
_MODELS = """
SELECT name AS model, purpose, count(*) AS calls, sum(seconds) AS seconds, sum(tries) AS tries,
    sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
    count(error) AS errors
FROM calls LEFT JOIN (SELECT model_id, min(name) AS name FROM models GROUP BY model_id) USING (model_id)
WHERE run_id = $run GROUP BY ALL ORDER BY calls DESC, model, purpose
"""
_TIMES = """
WITH mine AS (SELECT epoch(started_at) AS moment FROM calls WHERE run_id = $run),
ends AS (SELECT min(moment) AS first, greatest(max(moment) - min(moment), 1) AS lasted FROM mine)
SELECT least(floor((moment - first) / lasted * $slices)::INTEGER, $slices - 1) AS slice, count(*) AS n,
    min(lasted) AS lasted
FROM mine, ends GROUP BY slice ORDER BY slice
"""
_DRAFTS = """
SELECT stage, round, count(*) AS drafts, count(*) FILTER (stopped = 'satisfied') AS satisfied,
    count(*) FILTER (stopped = 'rounds_spent') AS spent, count(*) FILTER (chosen) AS chosen
FROM iterations GROUP BY stage, round ORDER BY CASE stage WHEN 'question' THEN 0 WHEN 'answer' THEN 1 ELSE 2 END, round
"""
_COSTS = "SELECT * FROM costs WHERE part <> 'topic'"


def routes(gallery: Gallery) -> list[Route]:
    """`/runs` and `/runs/ID`."""

    def show_all(request: Request) -> Response:
        snapshot = gallery.snapshot()
        drafts = snapshot.once("drafts", lambda: snapshot.rows(_DRAFTS))
        return gallery.render(
            request,
            "runs.html",
            title="Runs",
            version=snapshot.number,
            runs=snapshot.once("runs", lambda: _runs(snapshot)),
            costs=snapshot.once("costs", lambda: snapshot.rows(_COSTS)),
            drafts=drafts,
            drafts_chart=_drafts_chart(drafts),
            depth=snapshot.once("depth", lambda: list(_depth_charts(snapshot))),
        )

    def show(request: Request) -> Response:
        snapshot, run_id = gallery.snapshot(), str(request.path_params["run_id"])
        known = {row["run_id"]: row for row in snapshot.once("runs", lambda: _runs(snapshot))}
        run = known.get(run_id) or _run(snapshot, run_id)
        return gallery.render(
            request,
            "run.html",
            title=f"{run['kind']} {run_id[:8]}",
            version=snapshot.number,
            here="/runs",
            run=run,
            models=snapshot.rows(_MODELS, {"run": run_id}),
            speed=_speed(snapshot, run_id),
        )

    return [Route("/runs", show_all), Route("/runs/{run_id}", show)]


def _runs(snapshot: Snapshot, where: str = "TRUE", values: Mapping[str, object] | None = None) -> list[Record]:
    """The latest runs, with what they asked; of all, or of those that SQL says."""
    return snapshot.rows(
        f"""SELECT runs.* EXCLUDE (settings, environment), calls, seconds, tokens,
            calls / nullif(lasted, 0) AS pace, epoch(finished_at) - epoch(runs.started_at) AS took
        FROM runs LEFT JOIN ({_SPENT.format(where=where)}) USING (run_id)
        WHERE {where} ORDER BY runs.started_at DESC, run_id LIMIT {MOST_RUNS}""",
        values,
    )


def _run(snapshot: Snapshot, run_id: str) -> Record:
    """A run that is no longer among the latest."""
    if not RUN_ID.fullmatch(run_id):
        raise HTTPException(404, "A run is named by its id.")
    found = _runs(snapshot, "run_id = $run", {"run": run_id})
    if not found:
        raise HTTPException(404, "The lake has no such run.")
    return found[0]


def _speed(snapshot: Snapshot, run_id: str) -> Chart | None:
    """Calls begun a second, over the time of a run."""
    found = snapshot.rows(_TIMES, {"run": run_id, "slices": SLICES})
    if not found:
        return None
    lasted = float(found[0]["lasted"])
    counts = {row["slice"]: row["n"] for row in found}
    values = [counts.get(place, 0) / (lasted / SLICES) for place in range(SLICES)]
    labels = {place: f"{lasted * place / SLICES:.0f} s" for place in range(0, SLICES, 12)}
    return column_chart("Calls begun a second, over the time of the run", values, labels, unit="calls a second")


def _drafts_chart(rows: list[Record]) -> Chart | None:
    """How many drafts came to each round, of those of round 0."""
    first = {row["stage"]: row["drafts"] for row in rows if row["round"] == 0}
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        if first.get(row["stage"]):
            series.setdefault(row["stage"], {})[row["round"]] = 100 * row["drafts"] / first[row["stage"]]
    title = "Drafts that came to each round, in per cent of those begun"
    return line_chart(title, series, most=100) if series else None


def _depth_charts(snapshot: Snapshot) -> Iterator[Chart]:
    """Mean scores by round, a chart for each judge and stage."""
    rows = snapshot.rows("SELECT * FROM depth")
    for judge, stage in dict.fromkeys((row["judge"], row["stage"]) for row in rows):
        mine = [row for row in rows if (row["judge"], row["stage"]) == (judge, stage)]
        series = {name.upper(): {row["round"]: row[name] for row in mine if row[name] is not None} for name in SCORES}
        known = {name: points for name, points in series.items() if points}
        yield line_chart(f"Scores by round of the {stage} stage, by the judge {judge}", known, most=5)
