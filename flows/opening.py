"""Opening a build: the lake and its settings, the models, the claim; and its end, whatever happens in between."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from flows.asked import BuildOptions
from flows.budget import UNBOUND, Budget, Meter
from flows.claim import claim_slots, ended, living_run, tidy_runs
from flows.commit import Committer
from flows.engine import Engine
from flows.errors import UserError
from flows.lakes import add_topics
from flows.plan import BuildRequest, Plan, Planner, plan_build
from flows.plan_settings import PlanSettings
from flows.recipe import Recipe, write_recipe
from flows.run import Run
from flows.settings import FILE, Settings, read_settings
from flows.studio import Cast, Studio
from flows.topping_up import top_up
from flows.workshop import Workshop
from storage.lake import Lake
from storage.versions import Version


def open_build(
    path: Path,
    options: BuildOptions,
    *,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], AbstractAsyncContextManager[Cast]] = Studio,
) -> AbstractContextManager[Run]:
    """Open a lake for a build, which claims its slots. NotALake, SettingsError, LakeBusy, TerminalError.

    `studio` opens the models that the settings name; another one may bring its own. TopicFileError where the options
    name a file of topics that cannot be used.
    """
    lake, settings = open_lake(path, turns=options.turns, lock_timeout=options.lock_timeout)
    settings = asking(settings, options)
    only = None
    if options.topics:
        only = add_topics(path, Path(options.topics), lock_timeout=settings.run.lock_timeout).topic_ids
    request = build_request(settings, options, only_topics=only)
    proposed: list[str] = []

    def prepare(cast: Cast, engine: Engine, recipe: Recipe, meter: Meter) -> None:
        told = top_up(
            lake, settings, request, cast=cast, engine=engine, recipe=recipe, flow_run_id=flow_run_id, meter=meter
        )
        proposed.extend(told)

    def planner(lake: Lake, version: Version, recipe: Recipe) -> Plan:
        return replace(plan_build(lake, version, recipe, request), proposed=tuple(proposed))

    budget = Budget(calls=options.budget_calls, tokens=options.budget_tokens, seconds=options.budget_seconds)
    return open_run(
        lake,
        planner,
        studio(settings),
        settings,
        kind="build",
        flow_run_id=flow_run_id,
        budget=budget,
        prepare=prepare if request.when_exhausted == "propose" else None,
    )


def open_lake(path: Path, *, turns: int | None = None, lock_timeout: float | None = None) -> tuple[Lake, Settings]:
    """A lake and its settings, with what is given in place of a setting. NotALake, SettingsError."""
    lake = Lake.open(path)
    settings = read_settings(path / FILE)
    generation, run = settings.generation, settings.run
    if turns is not None:
        generation = generation.model_copy(update={"turns": turns})
    if lock_timeout is not None:
        run = run.model_copy(update={"lock_timeout": lock_timeout})
    return lake, settings.model_copy(update={"generation": generation, "run": run})


def asking(settings: Settings, options: BuildOptions) -> Settings:
    """The settings with what is asked for of a review; how near is of use only to those who ask."""
    if options.review is False and options.review_near is not None:
        raise UserError("how near turns are left to a person is given, and that none are: leave one of the two out")
    ask = options.review if options.review is not None else options.review_near is not None or None
    given = {"ask": ask, "near": options.review_near}
    values = {name: value for name, value in given.items() if value is not None}
    review = settings.selection.review.model_copy(update=values)
    selection = settings.selection.model_copy(update={"review": review})
    return settings.model_copy(update={"selection": selection})


def build_request(
    settings: Settings, options: BuildOptions, *, only_topics: frozenset[str] | None = None
) -> BuildRequest:
    """The options with nothing left open; `only_topics` are ids, None is all topics."""
    return BuildRequest(
        new_topics=options.new_topics,
        samples_per_topic=options.samples_per_topic,
        turns=settings.generation.turns,
        retry_failed=options.retry_failed,
        when_exhausted=options.when_exhausted or settings.run.when_exhausted,
        only_topics=only_topics,
        plan=plan_settings(settings, options),
    )


def plan_settings(settings: Settings, options: BuildOptions) -> PlanSettings:
    """By which rule topics are taken, with what is asked for in place of a setting."""
    if options.weights and options.policy not in (None, "weighted"):
        raise UserError(f"weights are given, and the policy {options.policy!r} has no use for them: leave one out")
    given = {
        "policy": options.policy or ("weighted" if options.weights else None),
        "only": tuple(options.only) if options.only else None,
        "quotas": options.quotas or None,
        "weights": options.weights or None,
    }
    return settings.plan.model_copy(update={name: value for name, value in given.items() if value is not None})


@contextmanager
def open_run(
    lake: Lake,
    planner: Planner,
    studio: AbstractAsyncContextManager[Cast],
    settings: Settings,
    *,
    kind: str,
    flow_run_id: str | None,
    budget: Budget = UNBOUND,
    prepare: Callable[[Cast, Engine, Recipe, Meter], None] | None = None,
) -> Iterator[Run]:
    """Open the models, claim slots, and end the run whatever happens; a plan without slots leaves the lake as it is.

    `prepare` may change the lake before the claim, and asks within the same budget.
    """
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        cast = stack.enter_context(open_cast(engine, studio))
        recipe = write_recipe(settings, cast.roles())
        shop = Workshop(lake=lake, settings=settings, roles=cast.roles(), recipe=recipe, run_id=uuid.uuid4().hex)
        committer = Committer(shop)
        committer.catch_up()
        stack.callback(tidy_runs, shop)
        meter = Meter(budget)
        if prepare:
            prepare(cast, engine, recipe, meter)
        meter.pause()
        stack.enter_context(living_run(shop))
        plan = claim_slots(shop, planner, kind=kind, flow_run_id=flow_run_id)
        meter.go_on()
        run = Run(shop, cast=cast, engine=engine, committer=committer, plan=plan, meter=meter)
        stack.callback(run.close)
        if not plan.slots:
            yield run
            return
        with ended(shop, run.close, lambda: run.used_up):
            run.prepare()
            yield run


@contextmanager
def open_cast(engine: Engine, studio: AbstractAsyncContextManager[Cast]) -> Iterator[Cast]:
    """The models of a studio, opened on the engine's loop and closed there."""
    cast = engine.submit(_enter(studio)).result()
    try:
        yield cast
    finally:
        engine.submit(_leave(studio)).result()


async def _enter(studio: AbstractAsyncContextManager[Cast]) -> Cast:
    return await studio.__aenter__()


async def _leave(studio: AbstractAsyncContextManager[Cast]) -> None:
    await studio.__aexit__(None, None, None)
