"""The flow `build_lake`: grow a lake by new topics. Holds only what Prefect loads."""

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.asked import BuildOptions
from flows.opening import open_build
from flows.review.artifact import show_questions
from flows.tasks import commit_batch, make_in_order, show_summary
from flows.ui.announcing import announced_versions
from flows.ui.live import live_progress
from flows.ui.report import show_report


@flow(name="build_lake", flow_run_name="build {new_topics} topics x {samples_per_topic} in {lake}", retries=0)
def build_lake(
    *,
    lake: str = "./lake",
    new_topics: Annotated[int, Field(ge=0, le=100_000)] = 5,
    samples_per_topic: Annotated[int, Field(ge=1, le=10_000)] = 2,
    turns: Annotated[int | None, Field(ge=1, le=10)] = None,
    topics: str | None = None,
    retry_failed: bool = False,
    when_exhausted: Literal["stop", "deepen", "propose"] | None = None,
    policy: Literal["even", "weighted", "gaps"] | None = None,
    only: list[str] | None = None,
    quotas: dict[str, Annotated[int, Field(ge=0)]] | None = None,
    weights: dict[str, Annotated[float, Field(ge=0, le=1_000_000)]] | None = None,
    review: bool | None = None,
    review_near: Annotated[float | None, Field(ge=0, le=1)] = None,
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
    budget_calls: Annotated[int | None, Field(ge=0, le=2**53 - 1)] = None,
    budget_tokens: Annotated[int | None, Field(ge=0, le=2**53 - 1)] = None,
    budget_seconds: Annotated[float | None, Field(ge=0, le=31_536_000)] = None,
) -> dict[str, int]:
    """Finish what interrupted builds left open, then make samples for the next topics, batch by batch.

    Each batch becomes a version of the lake. Returns the counts: planned, kept, rejected, duplicate, failed, open.
    With a budget it ends well when that is used up, with what is not made open, and returns calls, tokens and seconds
    as well. Only what is asked of models counts, answers from the record are free; what is under way is heard.

    Args:
        lake: Folder of the lake, as the worker sees it.
        new_topics: How many topics without samples to take on; those of interrupted builds count among them.
        samples_per_topic: Samples for each of them.
        turns: Turns in a dialogue; empty: as the lake's settings say.
        topics: File of topics, as the worker sees it: brought in first, and no others are taken on; empty: all topics.
        retry_failed: Give slots that failed as many attempts again.
        when_exhausted: What to do when every topic has samples; empty: as the lake's settings say.
        policy: By which rule topics are taken; empty: as the lake's settings say.
        only: Domains or Domain/Category that topics are taken from; empty: as the lake's settings say.
        quotas: How many topics of a domain or Domain/Category have samples at most; empty: as the lake's settings say.
        weights: Shares for the policy weighted, by domain or Domain/Category; empty: as the lake's settings say.
        review: Leave turns near the thresholds to a person as questions; empty: as the lake's settings say.
        review_near: How near that is, on either side; empty: as the lake's settings say.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
        budget_calls: Requests sent to models at most, repeats included; empty: no bound.
        budget_tokens: Ask nothing more once answers and prompts had so many tokens; empty: no bound.
        budget_seconds: Ask nothing more so many seconds after the claim, less what proposing took; empty: no bound.
    """
    options = BuildOptions(
        new_topics=new_topics,
        samples_per_topic=samples_per_topic,
        turns=turns,
        topics=topics,
        retry_failed=retry_failed,
        when_exhausted=when_exhausted,
        policy=policy,
        only=only,
        quotas=quotas,
        weights=weights,
        review=review,
        review_near=review_near,
        lock_timeout=lock_timeout,
        budget_calls=budget_calls,
        budget_tokens=budget_tokens,
        budget_seconds=budget_seconds,
    )
    with announced_versions(), open_build(Path(lake), options, flow_run_id=flow_run.id) as run:
        get_run_logger().info(run.plan.note())
        with live_progress(run):
            for number in make_in_order(run):
                commit_batch(run, number, run.label(number))
        show_summary(run)
    show_report(run)
    show_questions(run)
    return run.counts() | run.used()
