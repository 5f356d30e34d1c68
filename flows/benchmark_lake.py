"""The flow `benchmark_lake`: have a system's answers to the benchmark judged. Holds only what Prefect loads."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field

from flows.benchmark.comparing import compare_runs
from flows.benchmark.reports import write_reports
from flows.benchmark.running import BenchmarkOptions
from flows.opening import open_lake
from flows.tasks import measure_system, show_benchmark


@flow(name="benchmark_lake", flow_run_name="benchmark {name} by the judges of {lake}", retries=0)
def benchmark_lake(
    *,
    name: Annotated[str, Field(min_length=1, max_length=80)],
    out: str,
    lake: str = "./lake",
    answers: str | None = None,
    judge: str | None = None,
    repeats: Annotated[int | None, Field(ge=1, le=20)] = None,
    limit: Annotated[int | None, Field(ge=1, le=500)] = None,
) -> dict[str, Any]:
    """Have questions that are no training topics answered, by the models of a lake or from a folder, and judged.

    The lake is not written to. An interrupted run goes on by the same call and asks nothing twice. Returns what
    benchmark.json of the run says.

    Args:
        name: What the system is called in tables.
        out: Folder of the run, as the worker sees it: a new one, or the same one again; not in the lake.
        lake: Folder of the lake whose settings name the judge, and the models that answer.
        answers: Folder with answers.jsonl and pictures, in place of models that answer; empty: the models answer.
        judge: Which judge of the settings; empty: the first.
        repeats: Verdicts on an answer; empty: as the lake's settings say.
        limit: Only the first so many questions; empty: all 500.
    """
    options = BenchmarkOptions(
        name=name,
        out=Path(out),
        lake=Path(lake),
        answers=Path(answers) if answers else None,
        judge=judge,
        repeats=repeats,
        limit=limit,
    )
    results = measure_system(open_lake(Path(lake))[1], options)
    for warning in results.told["warnings"]:
        get_run_logger().warning(warning)
    compared = compare_runs([results])
    write_reports(options.out, compared)
    show_benchmark(compared)
    return dict(results.told)
