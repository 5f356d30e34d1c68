"""What a build is going to do: which slots, of which topics, from which templates. Reads the lake, writes nothing."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import polars as pl

from flows.plan_settings import PlanSettings
from flows.recipe import Recipe
from flows.topics.catalogue import Template, read_templates
from flows.topics.deck import Deck, in_order
from flows.topics.lake_templates import read_lake_templates
from flows.topics.policy import choose_topics
from flows.topics.spreading import Shortage, spread_shortage
from flows.topics.wanted import Wanted
from storage.canonical import canonical_text, derive_id, derive_seed
from storage.lake import Lake
from storage.records import ClaimRow, RunStartRow
from storage.slots import SlotPast, claimed_templates, is_alive, past_of_slots, slot_states, topic_states
from storage.versions import Version

_PICKED = ("topic_id", "name", "domain", "category", "samples", "reason")

MOST_TOLD = 10
"""Sentences on what was proposed."""
NOTHING_ASKED = "no new topics were asked for, no slot is open, none is to be tried again"
EXHAUSTED = "{}; add topics, or let the build deepen those that there are or propose others (when_exhausted)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the user asks a build for; `turns` in a dialogue, the rest in topics and samples.

    `only_topics` are ids: no other topic is taken on or deepened. None is all of them.
    """

    new_topics: int
    samples_per_topic: int
    turns: int
    retry_failed: bool
    when_exhausted: Literal["stop", "deepen", "propose"]
    only_topics: frozenset[str] | None = None
    plan: PlanSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A topic that a build takes: how many samples are planned for it, and why it was its turn."""

    topic_id: str
    topic: str
    domain: str
    category: str
    samples: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSlot:
    """One sample to be made. `retry` counts how often the slot failed before; `templates` are ids, one a turn.

    `siblings` are samples of the same slot by other recipes: never duplicates of each other, and whose answers are
    taken where a request is the same.
    """

    slot_id: str
    sample_id: str
    topic_id: str
    topic: str
    slot_number: int
    retry: int
    templates: tuple[str, ...]
    siblings: tuple[str, ...] = ()

    def claim(self, *, position: int, batch: int, recipe_id: str, run_id: str) -> ClaimRow:
        return ClaimRow(
            slot_id=self.slot_id,
            topic_id=self.topic_id,
            slot_number=self.slot_number,
            position=position,
            batch=batch,
            retry=self.retry,
            templates=canonical_text(list(self.templates)),
            recipe_id=recipe_id,
            sample_id=self.sample_id,
            run_id=run_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All slots in the order in which they are made and committed, and how many of them are there for which reason.

    `topics` counts those the run answers for: `new_topics` picked now, and those of interrupted runs it takes over.
    `resumed`, `retried` and `again` (made again by another recipe) count slots; `uncovered_left` counts topics that
    would still have no slot afterwards. `abandoned` are samples of another recipe that an interrupted run claimed and
    that nobody will make: the slot has one by the present recipe. `picks` are the new and deepened topics in order;
    `exhausted` says in sentences what ran out, `shortages` which categories a build that proposes asks for topics, and
    `proposed` what it has proposed by now. `nothing` is said when there are no slots.
    """

    slots: tuple[PlannedSlot, ...]
    topics: int = 0
    new_topics: int = 0
    deepened: int = 0
    resumed: int = 0
    retried: int = 0
    again: int = 0
    uncovered_left: int = 0
    abandoned: tuple[str, ...] = ()
    picks: tuple[Pick, ...] = ()
    exhausted: tuple[str, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    proposed: tuple[str, ...] = ()
    nothing: str

    def note(self) -> str:
        """One sentence on what will be done, and on the topics when they run out."""
        if not self.slots:
            return f"nothing to do: {self.nothing}{self._told_proposed()}{self._given_back()}"
        parts = [f"{self.again} slots again by another recipe"] if self.again else []
        parts += [f"{self.new_topics} new topics"] if self.new_topics or not self.again else []
        parts += [f"{self.deepened} topics deepened"] if self.deepened else []
        parts += [f"{self.resumed} samples left open by interrupted runs"] if self.resumed else []
        parts += [f"{self.retried} failed samples again"] if self.retried else []
        taken = f"{len(self.slots)} samples: {', '.join(parts)}"
        left = "" if self.again else f"; {self.uncovered_left} topics stay without samples"
        ran_out = "".join(f"; {line}" for line in self.exhausted)
        return f"{taken}{left}{ran_out}{self._told_proposed()}{self._given_back()}"

    def _told_proposed(self) -> str:
        """The first sentences, how many are left out, and the last one, which may tell of a budget."""
        first, rest = self.proposed[:MOST_TOLD], self.proposed[MOST_TOLD:]
        more = [f"{len(rest) - 1} categories more"] if len(rest) > 1 else []
        return "".join(f"; {line}" for line in (*first, *more, *rest[-1:]))

    def _given_back(self) -> str:
        back = "; {} slots that an interrupted rerun had claimed are given back to the samples that they have"
        return back.format(len(self.abandoned)) if self.abandoned else ""

    def batches(self, size: int) -> tuple[tuple[PlannedSlot, ...], ...]:
        return tuple(self.slots[start : start + size] for start in range(0, len(self.slots), size))


Planner = Callable[[Lake, Version, Recipe], Plan]
"""What plans a run, under the lake's lock, on the version that its claim follows."""


def plan_build(lake: Lake, version: Version, recipe: Recipe, request: BuildRequest) -> Plan:
    """Plan a build on a version: first what interrupted runs left open, then failed slots if asked, then new topics.

    A build answers for `new_topics` topics; those that an interrupted run answered for count among them, so that the
    same call again finishes what was begun and adds nothing to it.
    """
    states = slot_states(lake, version)
    left_open = _left_open(lake, states)
    answered_for = _answered_for(lake, version, left_open)
    failed = states.filter(pl.col("outcome") == "failed") if request.retry_failed else states.clear()
    topics = topic_states(lake, version, _tried_again(states) if request.retry_failed else states)
    asked = Wanted(
        topics=max(0, request.new_topics - answered_for),
        samples=request.samples_per_topic,
        deepen=request.when_exhausted == "deepen",
        only_topics=request.only_topics,
    )
    chosen = choose_topics(topics, request.plan, asked)
    planner = slot_planner(
        lake,
        version,
        recipe,
        turns=request.turns,
        templates=(*read_templates(), *read_lake_templates(lake, version).values()),
        topics=topics,
        again=pl.concat([left_open, failed]),
        new=chosen.picks["topic_id"].to_list(),
    )
    resumed = [planner.again(row) for row in left_open.iter_rows(named=True) if not planner.has_made(row)]
    retried = [planner.retried(row) for row in failed.iter_rows(named=True) if planner.may_retry(row)]
    picks = chosen.picks.select(*_PICKED).rename({"name": "topic"})
    new = [
        slot
        for topic_id, count in picks.select("topic_id", "samples").iter_rows()
        for slot in planner.new(topic_id, count)
    ]
    taken, fresh = answered_for + picks.height, int((chosen.picks["slots"] == 0).sum())
    exhausted = _tell_shortage(chosen.exhausted, taken, request.new_topics)
    return Plan(
        slots=(*resumed, *retried, *new),
        topics=taken,
        new_topics=fresh,
        deepened=picks.height - fresh,
        resumed=len(resumed),
        retried=len(retried),
        uncovered_left=int((topics["slots"] == 0).sum()) - fresh,
        abandoned=tuple(row["sample_id"] for row in left_open.iter_rows(named=True) if planner.has_made(row)),
        picks=tuple(Pick(**row) for row in picks.iter_rows(named=True)),
        exhausted=exhausted,
        shortages=_find_shortages(topics, chosen.picks["topic_id"], request, request.new_topics - taken),
        nothing=EXHAUSTED.format("; ".join(exhausted)) if exhausted else NOTHING_ASKED,
    )


def _find_shortages(topics: pl.DataFrame, picked: pl.Series, request: BuildRequest, short: int) -> tuple[Shortage, ...]:
    """The categories that topics are to be proposed for once some are picked; none where a file names the topics."""
    if request.when_exhausted != "propose" or request.only_topics is not None or short <= 0:
        return ()
    slots = pl.when(pl.col("topic_id").is_in(picked.implode())).then(pl.col("slots") + 1).otherwise("slots")
    return spread_shortage(topics.with_columns(slots=slots), request.plan, short)


def _tried_again(states: pl.DataFrame) -> pl.DataFrame:
    """Slots as they stand once failed ones are tried again: those are under way."""
    outcome = pl.col("outcome")
    return states.with_columns(pl.when(outcome == "failed").then(pl.lit("open")).otherwise(outcome).alias("outcome"))


def _tell_shortage(exhausted: tuple[str, ...], taken: int, asked: int) -> tuple[str, ...]:
    """What ran out, and how far that leaves the plan behind what was asked for."""
    if taken >= asked:
        return exhausted
    return (*exhausted, f"{taken} of {asked} topics asked for could be planned")


def _left_open(lake: Lake, states: pl.DataFrame) -> pl.DataFrame:
    """Open slots whose run is no longer alive, in the order in which they were planned."""
    still_open = states.filter(pl.col("outcome") == "open")
    dead = [run_id for run_id in still_open["run_id"].unique().to_list() if not is_alive(lake, run_id)]
    return still_open.filter(pl.col("run_id").is_in(dead)).sort("claimed_at", "position")


def _answered_for(lake: Lake, version: Version, left_open: pl.DataFrame) -> int:
    runs = set(left_open["run_id"].to_list())
    return sum(row.topics for row in lake.rows(RunStartRow, version) if row.run_id in runs)


def slot_planner(
    lake: Lake,
    version: Version,
    recipe: Recipe,
    *,
    turns: int,
    templates: Sequence[Template],
    topics: pl.DataFrame,
    again: pl.DataFrame,
    new: Collection[str],
) -> "SlotPlanner":
    """What plans slots that were claimed before (`again`: their claims) and the next slots of the topics `new`.

    `topics` as `topic_states` has them.
    """
    concerned = {*again["topic_id"], *new}
    ordered = in_order(templates)
    decks = {topic_id: Deck(templates=ordered) for topic_id in concerned}
    recorded: dict[str, tuple[str, ...]] = {}
    for topic_id, slot_id, _, used in claimed_templates(lake, version, concerned).iter_rows():
        decks[topic_id].take(used)
        recorded[slot_id] = tuple(used)
    return SlotPlanner(
        recipe=recipe,
        seed=lake.seed,
        turns=turns,
        topics={row["topic_id"]: row for row in topics.iter_rows(named=True) if row["topic_id"] in concerned},
        past=past_of_slots(lake, version, again["slot_id"].to_list()),
        known=frozenset(template.template_id for template in ordered),
        decks=decks,
        recorded=recorded,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlanner:
    """Plans slots by a recipe, each once.

    `topics` are rows by topic id, `past` is what was claimed and `recorded` the templates that were, by slot id;
    `known` are the ids of all templates, `decks` what each topic may still draw: planning draws from them.
    """

    recipe: Recipe
    seed: int
    turns: int
    topics: Mapping[str, dict[str, Any]]
    past: Mapping[str, SlotPast]
    known: Collection[str]
    decks: Mapping[str, Deck]
    recorded: Mapping[str, tuple[str, ...]]

    def new(self, topic_id: str, count: int) -> list[PlannedSlot]:
        """The topic's next slots."""
        topic = self.topics[topic_id]
        first = topic["next_number"]
        return [self._slot(topic_id, topic["name"], number, 0, ()) for number in range(first, first + count)]

    def has_made(self, claim: dict[str, Any]) -> bool:
        """Whether the latest claim of a slot is for another recipe, and the present one's sample was decided before."""
        sample_id = self.recipe.sample_id(claim["slot_id"])
        return sample_id != claim["sample_id"] and sample_id in self.past[claim["slot_id"]].outcomes

    def may_retry(self, claim: dict[str, Any]) -> bool:
        """Whether the present recipe's sample of a slot failed, or was never made."""
        outcomes = self.past[claim["slot_id"]].outcomes
        return outcomes.get(self.recipe.sample_id(claim["slot_id"]), "failed") == "failed"

    def again(self, claim: dict[str, Any]) -> PlannedSlot:
        """A slot that was claimed before, as often retried as the present recipe's sample of it was."""
        return self._claimed_again(claim, self._retries(claim, 0))

    def retried(self, claim: dict[str, Any]) -> PlannedSlot:
        """A slot that failed, once more; for the first time where it was another recipe that failed."""
        return self._claimed_again(claim, self._retries(claim, -1) + 1)

    def _retries(self, claim: dict[str, Any], default: int) -> int:
        return self.past[claim["slot_id"]].retries.get(self.recipe.sample_id(claim["slot_id"]), default)

    def _claimed_again(self, claim: dict[str, Any], retry: int) -> PlannedSlot:
        """With the templates it had, as far as they are still there."""
        topic = self.topics[claim["topic_id"]]
        templates = tuple(takewhile(self.known.__contains__, self._templates_of(claim)))
        return self._slot(topic["topic_id"], topic["name"], claim["slot_number"], retry, templates)

    def _templates_of(self, claim: dict[str, Any]) -> tuple[str, ...]:
        """Those of the claim, and what the slot had for further turns before that."""
        claimed = tuple(json.loads(claim["templates"]))
        longest = self.recorded[claim["slot_id"]]
        return longest if longest[: len(claimed)] == claimed else claimed

    def _slot(self, topic_id: str, topic: str, number: int, retry: int, templates: tuple[str, ...]) -> PlannedSlot:
        slot_id = derive_id("slot", self.seed, topic_id, number)
        drawn = list(templates[: self.turns])
        for turn in range(len(drawn) + 1, self.turns + 1):
            drawn.append(self.decks[topic_id].draw(derive_seed(slot_id, turn, "template"), drawn))
        sample_id = self.recipe.sample_id(slot_id)
        return PlannedSlot(
            slot_id=slot_id,
            sample_id=sample_id,
            topic_id=topic_id,
            topic=topic,
            slot_number=number,
            retry=retry,
            templates=tuple(drawn),
            siblings=tuple(other for other in self._samples(slot_id) if other != sample_id),
        )

    def _samples(self, slot_id: str) -> tuple[str, ...]:
        return self.past[slot_id].samples if slot_id in self.past else ()
