"""What planning slots over some 3,500 topics takes; one of the parts of `make bench-topics`."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from flows.lakes import make_lake
from flows.plan import BuildRequest, Plan, plan_build
from flows.plan_settings import PlanSettings
from flows.recipe import Recipe
from flows.standing import read_coverage
from flows.topics.catalogue import TopicEntry
from storage.lake import Lake
from storage.packages import PackageDraft

TOPICS, TURNS = 3_500, 2
RECIPE = Recipe(recipe_id="recipe", generation_id="generation", generation="{}", selection="{}")


def plan_slots(count: int) -> Mapping[str, float]:
    """Seconds by step: plan so many slots of two turns on an empty lake, claim them, plan a tenth more on top, tell
    the coverage."""
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-planning-") as folder:
        lake = make_lake(Path(folder) / "lake", profile="fake", seed=1, topics=_topics())
        since = time.perf_counter()
        slots = _plan(lake, count).slots
        took["plan"] = time.perf_counter() - since
        assert len({slot.slot_id for slot in slots}) == len(slots) >= count
        since = time.perf_counter()
        claims = [
            slot.claim(position=at, batch=at // 64, recipe_id="recipe", run_id="run") for at, slot in enumerate(slots)
        ]
        with lake.lock(purpose="bench", timeout=1):
            lake.commit([PackageDraft("run", claims)], run_id="run")
        took["claim"] = time.perf_counter() - since
        since = time.perf_counter()
        again = _plan(lake, count // 10)
        took["plan what is open and a tenth more"] = time.perf_counter() - since
        assert again.resumed == len(slots)
        assert again.deepened == TOPICS
        since = time.perf_counter()
        assert read_coverage(lake.path, depth=2)["slots"][0] == len(slots)
        took["tell the coverage"] = time.perf_counter() - since
    return took


def _plan(lake: Lake, count: int) -> Plan:
    request = BuildRequest(
        new_topics=TOPICS,
        samples_per_topic=-(-count // TOPICS),
        turns=TURNS,
        retry_failed=False,
        when_exhausted="deepen",
        plan=PlanSettings(),
    )
    return plan_build(lake, lake.version(), RECIPE, request)


def _topics() -> list[TopicEntry]:
    """In 8 domains of 10 categories."""
    return [
        TopicEntry(name=f"thing {at}", category=f"category {at % 80}", domain=f"domain {at % 8}")
        for at in range(TOPICS)
    ]
