"""Which categories new topics should be proposed for when a build runs out: the least covered first. Tables in."""

import heapq
from collections import Counter
from dataclasses import dataclass

import polars as pl

from flows.plan_settings import PlanSettings
from flows.topics.branches import branch_key, with_branches


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A category that so many new topics are wanted for."""

    domain: str
    category: str
    topics: int

    @property
    def branch(self) -> str:
        return "/".join(part for part in (self.domain, self.category) if part)


@dataclass(slots=True)
class _Category:
    domain: str
    category: str
    domain_key: str
    category_key: str
    covered: int
    weight: float
    given: int = 0

    def turn(self) -> tuple[float, str]:
        """The next topic's: as in `flows/topics/policy.py`, from the category with the fewest for its weight."""
        return (2 * (self.covered + self.given) + 1) / self.weight, self.category_key


def spread_shortage(topics: pl.DataFrame, plan: PlanSettings, count: int) -> tuple[Shortage, ...]:
    """Where so many topics more would help most, in the order of the branches' names; fewer where quotas leave no room.

    One after another goes to the category in scope with the fewest covered topics for its weight, those that it was
    given included; ties go by name. Topics without a category have no part in it. `topics` as `topic_states` has them.
    """
    placed = with_branches(topics).with_columns(covered=pl.col("slots") > 0)
    covered = Counter(dict(placed.group_by("domain_key").agg(pl.col("covered").sum().cast(pl.Int64)).iter_rows()))
    quotas = {branch_key(name): quota for name, quota in plan.quotas.items()}
    waiting = [(category.turn(), category) for category in _in_scope(placed, plan)]
    categories = [category for _, category in waiting]
    heap = [(turn, number) for number, (turn, _) in enumerate(waiting)]
    heapq.heapify(heap)
    left = count
    while left and heap:
        _, number = heapq.heappop(heap)
        category = categories[number]
        if _is_full(category, covered, quotas):
            continue
        category.given += 1
        covered[category.domain_key] += 1
        left -= 1
        heapq.heappush(heap, (category.turn(), number))
    given = sorted((each for each in categories if each.given), key=lambda each: each.category_key)
    return tuple(Shortage(domain=each.domain, category=each.category, topics=each.given) for each in given)


def _in_scope(placed: pl.DataFrame, plan: PlanSettings) -> list[_Category]:
    only = {branch_key(name) for name in plan.only}
    weights = {branch_key(name): weight for name, weight in plan.weights.items()} if plan.policy == "weighted" else {}
    groups = placed.filter(pl.col("category") != "").group_by("domain_key", "category_key")
    found = []
    for row in groups.agg(
        pl.col("domain").min(), pl.col("category").min(), pl.col("covered").sum().cast(pl.Int64)
    ).iter_rows(named=True):
        weight = weights.get(row["domain_key"], 1.0) * weights.get(row["category_key"], 1.0)
        if weight > 0 and (not only or only & {row["domain_key"], row["category_key"]}):
            found.append(_Category(**row, weight=weight))
    return found


def _is_full(category: _Category, covered: Counter[str], quotas: dict[str, int]) -> bool:
    """Whether a quota of the category or its domain has no room for one topic more."""
    held = {category.category_key: category.covered + category.given, category.domain_key: covered[category.domain_key]}
    return any(key in quotas and count >= quotas[key] for key, count in held.items())
