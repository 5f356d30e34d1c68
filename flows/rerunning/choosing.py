"""Which slots are made again, and what is planned for them. Reads the lake, writes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from flows.errors import UserError
from flows.plan import Plan, slot_planner
from flows.recipe import Recipe
from flows.replay.prefixes import find_by_prefix
from flows.topics.catalogue import normalise_name, read_templates
from flows.topics.lake_templates import read_lake_templates
from storage.lake import Lake
from storage.records import ClaimRow, DecisionRow
from storage.slots import ABANDONED, is_alive, slot_states, topic_states
from storage.versions import Version

MADE_ALREADY = (
    "what was chosen is made by the present recipe already; change [generation] in interlake.toml, or give failed "
    "slots another try with 'interlake build --retry-failed'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which slots: those that fit every condition given. Samples and runs by the first digits of an id, topics by name.

    `everything` is for all slots of the lake; without it, some condition must be given.
    """

    samples: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    everything: bool = False

    def refuse_empty(self) -> None:
        """UserError when nothing says which slots."""
        if not (self.samples or self.topics or self.runs or self.outcomes or self.everything):
            raise UserError("say which slots to make again: --sample, --topic, --run, --outcome, or --all")


def choose_slots(lake: Lake, version: Version, recipe: Recipe, choice: Choice) -> pl.DataFrame:
    """The latest claim of each chosen slot, with its outcome, in the order of the claims.

    Slots that a run left open by this very recipe fit any outcome: when they were chosen, they had another one.
    UserError when nothing is chosen, NoSuchThing for a sample or run that is not there.
    """
    choice.refuse_empty()
    states = slot_states(lake, version)
    claims = lake.scan(ClaimRow, version, ["slot_id", "sample_id", "run_id"]).collect()
    wanted = pl.lit(value=True)
    for column, what, prefixes in (("sample_id", "sample", choice.samples), ("run_id", "run", choice.runs)):
        if prefixes:
            ids = [find_by_prefix(claims[column], prefix, what=what) for prefix in prefixes]
            slots = claims.filter(pl.col(column).is_in(ids))["slot_id"]
            wanted &= pl.col("slot_id").is_in(slots.implode())
    if choice.topics:
        wanted &= pl.col("topic_id").is_in(_topic_ids(lake, version, states, choice.topics))
    if choice.outcomes:
        mine = [row["sample_id"] == recipe.sample_id(row["slot_id"]) for row in states.iter_rows(named=True)]
        left_open = (pl.col("outcome") == "open") & pl.Series(mine, dtype=pl.Boolean)
        wanted &= pl.col("outcome").is_in(list(choice.outcomes)) | left_open
    found = states.filter(wanted).sort("claimed_at", "position")
    if not found.height:
        raise UserError(
            "no slot of the lake is what was chosen; 'interlake sql \"select * from samples\"' shows what there is"
        )
    return found


def _topic_ids(lake: Lake, version: Version, states: pl.DataFrame, names: Sequence[str]) -> list[str]:
    topics = topic_states(lake, version, states)
    by_name: dict[str, list[str]] = {}
    for topic_id, name in topics.select("topic_id", "name").iter_rows():
        by_name.setdefault(normalise_name(name), []).append(topic_id)
    unknown = [name for name in names if normalise_name(name) not in by_name]
    if unknown:
        raise UserError(f"the lake has no topic {unknown[0]!r}; 'interlake topics list' shows those that it has")
    return [topic_id for name in names for topic_id in by_name[normalise_name(name)]]


def plan_again(lake: Lake, version: Version, recipe: Recipe, *, chosen: pl.DataFrame, turns: int) -> Plan:
    """Plan chosen slots by a recipe: those that it has not made yet and that no living run is making."""
    made, living = _decided(lake, version), _living(lake, chosen)
    free = [row for row in chosen.iter_rows(named=True) if row["outcome"] != "open" or row["run_id"] not in living]
    due = [row for row in free if recipe.sample_id(row["slot_id"]) not in made]
    planner = slot_planner(
        lake,
        version,
        recipe,
        turns=turns,
        templates=(*read_templates(), *read_lake_templates(lake, version).values()),
        topics=topic_states(lake, version, chosen),
        again=chosen,
        new=(),
    )
    slots = tuple(map(planner.again, due))
    abandoned = tuple(row["sample_id"] for row in free if row["outcome"] == "open" and planner.has_made(row))
    return Plan(slots=slots, again=len(slots), abandoned=abandoned, nothing=MADE_ALREADY)


def _decided(lake: Lake, version: Version) -> Collection[str]:
    decisions = lake.scan(DecisionRow, version, ["sample_id", "turn", "reason"]).filter(pl.col("turn").is_null())
    made = decisions.filter(pl.col("reason").ne_missing(ABANDONED))
    return set(made.select("sample_id").unique().collect()["sample_id"])


def _living(lake: Lake, chosen: pl.DataFrame) -> set[str]:
    runs = chosen.filter(pl.col("outcome") == "open")["run_id"].unique().to_list()
    return {run_id for run_id in runs if is_alive(lake, run_id)}
