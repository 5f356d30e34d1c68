"""A build that ran out of topics: new ones are proposed for the least covered categories, and accepted by a rule."""

from collections.abc import Iterator

from flows.budget import BudgetUsed, Meter
from flows.engine import Engine
from flows.inquiring import inquiring
from flows.plan import BuildRequest, plan_build
from flows.proposing import propose_for, proposing_shop
from flows.recipe import Recipe
from flows.settings import Settings
from flows.studio import Cast
from flows.topics.likeness import ReadNames
from flows.topics.proposing import PROPOSE, Wish
from storage.lake import Lake


def top_up(
    lake: Lake,
    settings: Settings,
    request: BuildRequest,
    *,
    cast: Cast,
    engine: Engine,
    recipe: Recipe,
    flow_run_id: str | None,
    meter: Meter,
) -> Iterator[str]:
    """Have as many topics proposed as the plan is short of, a version for each category; a sentence for each.

    Those less similar to known names than `plan.accept_below` are topics then, the others wait for a person. What is
    asked counts against the build's budget; once that is used up, the categories that are left get none.
    """
    shortages = plan_build(lake, lake.version(), recipe, request).shortages
    if not shortages:
        return
    shop, read = proposing_shop(lake, settings, cast.writer), ReadNames()
    with inquiring(shop, cast.writer, engine, kind=PROPOSE, flow_run_id=flow_run_id, meter=meter) as run:
        for number, shortage in enumerate(shortages):
            wish = Wish(
                domain=shortage.domain,
                category=shortage.category,
                wanted=shortage.topics,
                alike=request.plan.alike,
            )
            try:
                yield propose_for(run, wish, accept_below=request.plan.accept_below, read=read).line()
            except BudgetUsed as used:
                left = len(shortages) - number
                yield f"{used} before topics of {left} {'category' if left == 1 else 'categories'} were proposed"
                return
