"""The Prefect tasks, a batch being the unit, and what they leave for the UI."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.benchmark.comparing import Comparison
from flows.benchmark.page import score_table
from flows.benchmark.results import Results
from flows.benchmark.running import BenchmarkOptions, run_benchmark
from flows.derivation_run import Derived, Deriving
from flows.export.asked import Exported, ExportOptions
from flows.export.exporting import export_lake_at
from flows.judge.depth import depth_table, read_depth
from flows.judge.findings import findings_table, read_findings
from flows.judge.judging import Judging
from flows.maintaining import Maintained, Maintenance
from flows.progress import OUTCOMES
from flows.proposal_run import Proposing
from flows.proposing import Proposed
from flows.reembedding import Moved, Reembedding
from flows.replay.replaying import Replaying
from flows.replay.report import Replay, ReplayDiffers, ReplayedVersion
from flows.rerunning.opening import Rerun
from flows.rethresholding import AskedThresholds, Rethresholded, rethreshold
from flows.run import Run
from flows.settings import Settings
from flows.ui.besides import besides
from flows.ui.escaping import as_text
from storage.lake import Lake


# Prefect repeats none of these: a request is repeated for as long as the patience of the settings lasts, no longer.
@task(task_run_name="make {label}", cache_policy=NO_CACHE, persist_result=False)
def make_batch(run: Run, number: int, label: str) -> bool:
    """Have the engine make one batch, and wait for it; False when the budget leaves it open."""
    is_made = run.make(number)
    if not is_made:
        get_run_logger().warning("%s: %s stays open", run.used_up, label)
    return is_made


@task(task_run_name="commit {label}", cache_policy=NO_CACHE, persist_result=False)
def commit_batch(run: Run, number: int, label: str) -> int:
    """Commit one batch; returns the number of the version that holds it."""
    committed = run.commit(number)
    version, counts = committed.version.number, Counter(committed.outcomes.values())
    came_to = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    get_run_logger().info("committed %s, as version %d: %s", label, version, came_to)
    return version


def make_in_order(run: Run) -> Iterator[int]:
    """Make all batches and yield their numbers in the order of the plan; `flows.intake` says how many at once.

    A thread of its own begins batches, also while whoever iterates commits one. Where the budget leaves a batch open,
    those after it are as well, and what is under way is waited for.
    """
    begun: Queue[_Begun | None] = Queue()
    with ThreadPoolExecutor(1, thread_name_prefix="interlake-intake") as beside:
        beginning = beside.submit(copy_context().run, _begin_all, run, begun)
        try:
            is_whole = True
            while (batch := begun.get()) is not None:
                is_whole = batch.made.result() and is_whole
                if is_whole:
                    yield batch.number
            beginning.result()
        finally:
            run.intake.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A batch, and the promise to make it: False when the budget leaves it open."""

    number: int
    made: PrefectFuture[bool]


def _begin_all(run: Run, begun: "Queue[_Begun | None]") -> None:
    """Begin batches as there is room for them, and hand them on; None is the end, also after an error."""
    try:
        for number in range(len(run.batches)):
            if not run.intake.wait_for_room() or run.used_up:
                break
            run.intake.begin(number, len(run.batches[number]))
            made = make_batch.submit(run, number, run.label(number))
            begun.put(_Begun(number=number, made=made))
    finally:
        begun.put(None)


@task(task_run_name="embed {label}", cache_policy=NO_CACHE, persist_result=False)
def embed_turns(move: Reembedding, number: int, label: str) -> None:
    """Embed one batch of turns and commit their vectors."""
    move.embed(number)
    get_run_logger().info("embedded %s", label)


@task(task_run_name="decide anew what is kept", cache_policy=NO_CACHE, persist_result=False)
def decide_anew(move: Reembedding) -> Moved:
    """Decide by the new vectors what is kept, as one version."""
    moved = move.settle()
    get_run_logger().info("version %d: %d samples kept, %d duplicate", moved.version, moved.kept, moved.duplicate)
    return moved


@task(task_run_name="propose topics for {branch}", cache_policy=NO_CACHE, persist_result=False)
def propose_for_branch(proposing: Proposing, branch: str) -> Proposed:  # noqa: ARG001 - names the task's run
    """Have the writer propose topics for a branch, and commit what is new."""
    return proposing.propose()


@task(task_run_name="derive templates", cache_policy=NO_CACHE, persist_result=False)
def derive_from_questions(deriving: Deriving) -> Derived:
    """Have the writer generalise questions, and commit the templates that came of it."""
    return deriving.derive()


@task(task_run_name="judge {label}", cache_policy=NO_CACHE, persist_result=False)
def judge_batch(judging: Judging, number: int, label: str) -> int:
    """Have one batch of samples judged and commit the verdicts; returns how many."""
    verdicts = judging.judge(number)
    get_run_logger().info("judged %s: %d verdicts", label, verdicts)
    return verdicts


@task(task_run_name="measure {options.name}", cache_policy=NO_CACHE, persist_result=False)
def measure_system(settings: Settings, options: BenchmarkOptions) -> Results:
    """Have a system's answers to the benchmark judged; what was asked before is not asked again."""
    return run_benchmark(settings, options, tell=get_run_logger().info)


@task(task_run_name="decide by other thresholds", cache_policy=NO_CACHE, persist_result=False)
def decide_by_thresholds(
    lake: Path, asked: AskedThresholds, lock_timeout: float | None, flow_run_id: str | None
) -> Rethresholded:
    """Decide all samples by other thresholds, as one version, and put them into the settings."""
    done = rethreshold(lake, asked, lock_timeout=lock_timeout, flow_run_id=flow_run_id)
    get_run_logger().info("%d samples kept, %d duplicate", done.kept, done.duplicate)
    return done


@task(task_run_name="export as {options.format}", cache_policy=NO_CACHE, persist_result=False)
def export_samples(lake: Path, out: Path, options: ExportOptions) -> Exported:
    """Write the chosen samples of a lake as files, shard by shard."""
    done = export_lake_at(lake, out, options, tell=get_run_logger().info)
    get_run_logger().info(done.line())
    return done


@task(task_run_name="retire superseded samples", cache_policy=NO_CACHE, persist_result=False)
def retire_superseded(rerun: Rerun) -> int:
    """Let old samples give way to kept ones by the present recipe, as one version; returns how many."""
    retired = rerun.retire()
    get_run_logger().info("%d old samples retired", retired)
    return retired


@task(task_run_name="replay version {number}", cache_policy=NO_CACHE, persist_result=False)
def replay_version(replaying: Replaying, number: int) -> ReplayedVersion:
    """Make one version again, and compare."""
    replayed = replaying.replay(number)
    get_run_logger().info(replayed.line())
    return replayed


@task(task_run_name="compact {label}", cache_policy=NO_CACHE, persist_result=False)
def compact_packages(maintenance: Maintenance, number: int, label: str) -> None:
    """Put some packages together in one folder."""
    get_run_logger().info("%s are %s now", label, maintenance.compact(number))


@task(task_run_name="rewrite the table of turns", cache_policy=NO_CACHE, persist_result=False)
def optimize_table(maintenance: Maintenance) -> None:
    """Put the rows of the table of turns into fewer files."""
    get_run_logger().info(maintenance.optimize())


@task(task_run_name="index the table of turns", cache_policy=NO_CACHE, persist_result=False)
def index_table(maintenance: Maintenance) -> None:
    """Give a large table of turns an index over its vectors."""
    get_run_logger().info(maintenance.index())


@task(task_run_name="retire what was asked for", cache_policy=NO_CACHE, persist_result=False)
def retire_old(maintenance: Maintenance) -> None:
    """Remove packages and tags of old, as far as the user asked for it."""
    get_run_logger().info(maintenance.retire())


def show_thresholds(done: Rethresholded) -> None:
    """A table in the UI: what other thresholds changed."""
    create_table_artifact(done.table(), key="lake-thresholds", description=done.line())


def show_verdicts(path: Path) -> None:
    """A table in the UI: what the lake's verdicts come to, judge by judge."""
    lake = Lake.open(path)
    with besides("the table of verdicts"):
        table = list(findings_table(read_findings(lake, lake.version())))
        create_table_artifact(table, key="lake-verdicts", description="Unknown scores enter no mean")


def show_depth(path: Path) -> None:
    """A table in the UI: what each round was worth, where drafts were judged; a table of none else."""
    lake = Lake.open(path)
    with besides("the table of rounds"):
        table = [row for found in read_depth(lake, lake.version()) for row in depth_table(found)]
        if table:
            told = "Gains are over turns that have both rounds: who stopped earlier is in none"
            create_table_artifact(table, key="lake-depth", description=told)


def show_benchmark(compared: Comparison) -> None:
    """A table in the UI: the four scores of a system, with the intervals of their means."""
    heads, rows = score_table(compared.systems)
    with besides("the table of the benchmark"):
        table = [dict(zip(heads, map(as_text, row), strict=True)) for row in rows]
        create_table_artifact(table, key="benchmark-scores", description="Unknown scores enter no mean")


def show_export(done: Exported) -> None:
    """A table in the UI: what an export came to."""
    with besides("the table of the export"):
        told = {name: as_text(str(value)) for name, value in done.json().items()}
        create_table_artifact([told], key="lake-export", description=as_text(done.line()))


def show_sizes(done: Maintained) -> None:
    """A table in the UI: what the lake weighs, part by part."""
    create_table_artifact(done.after.table(), key="lake-sizes", description=f"{done.after.samples} samples")


def show_summary(run: Run) -> None:
    """Two tables in the UI: conservation, and what each topic got."""
    where = as_text(str(run.shop.lake.path.resolve()))
    with besides("the tables of the build"):
        create_table_artifact([run.counts()], key="build-conservation", description=f"Run {run.shop.run_id} in {where}")
        create_table_artifact(
            run.topic_table(), key="build-topics", description="Samples of this run by topic and outcome"
        )


def show_replay(report: Replay) -> None:
    """Tables in the UI: the versions replayed, and what differs in them."""
    create_table_artifact(report.table(), key="replay-versions", description=report.line())
    if report.differences:
        told = [{"version": each.version, "where": each.where, "what": each.what} for each in report.differences]
        create_table_artifact(told, key="replay-differences", description="What is not as it was recorded")


def fail_on_differences(report: Replay) -> None:
    """Raise ReplayDiffers, so that the flow run is a failed one, when anything differs."""
    if report.differences:
        raise ReplayDiffers(report.differences[0].line())
