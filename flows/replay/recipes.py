"""Whether this interlake, with the settings and models of a run, has the recipe that was recorded for it."""

import json
from collections.abc import Iterator

from flows.deriving import DERIVE, deriving_recipe
from flows.judge.asked import JUDGE
from flows.proposing import proposing_recipe
from flows.recipe import Recipe, judges_named_in, write_judging, write_recipe, write_selection
from flows.recipe_changes import compare, leaves
from flows.redeciding import MOVE, RETHRESHOLD
from flows.replay.differences import Difference
from flows.replay.past import PastRun
from flows.replay.recorded import recorded_bench
from flows.topics.proposing import PROPOSE
from storage.reviews import REVIEW


def recipe_differences(run: PastRun) -> Iterator[Difference]:
    """One difference if prompts, checks or settings are others now, with a line for each that is."""
    made = _made_again(run)
    detail = [
        f"{part}.{change.key} was {json.dumps(change.before)}, is {json.dumps(change.after)}"
        for part in ("generation", "selection")
        for change in compare(
            dict(leaves("", json.loads(getattr(run.recipe, part)))), dict(leaves("", json.loads(getattr(made, part))))
        )
    ]
    if detail or made.recipe_id != run.recipe.recipe_id:
        yield Difference(
            version=run.version,
            sample_id=None,
            where=f"recipe {run.recipe.recipe_id} of run {run.start.run_id}",
            what="this interlake makes samples by another recipe",
            detail=tuple(detail),
        )


def _made_again(run: PastRun) -> Recipe:
    if run.start.kind == JUDGE:
        return write_judging(recorded_bench(run).recipe())
    if run.start.kind == PROPOSE:
        return proposing_recipe(run.settings)
    if run.start.kind == DERIVE:
        return deriving_recipe(run.settings)
    if run.start.kind in (MOVE, RETHRESHOLD, REVIEW):
        return write_selection(run.settings, run.roles["encoder"])
    return write_recipe(run.settings, run.roles, judges_named_in(run.recipe))
