"""How a lake stands: its topics, its slots by outcome, the runs that are at work. Reads packages alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from flows.progress import OUTCOMES, read_progress
from flows.topics.pick import TopicState
from storage.lake import Lake
from storage.records import ModelRow
from storage.slots import is_alive, slot_states, topic_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a lake stands. `outcomes` counts slots; `running` has a line for each living run."""

    path: Path
    version: int
    topics: int
    topics_covered: int
    planned: int
    outcomes: Mapping[str, int]
    models: tuple[str, ...]
    running: tuple[str, ...]
    interrupted: int

    def json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__} | {"path": str(self.path)}


def read_status(path: Path) -> Status:
    """The state of the newest version and of the runs that are at work; NotALake."""
    lake = Lake.open(path)
    head = lake.version()
    slots = slot_states(lake, head)
    topics = topic_states(lake, head, slots)
    counted = dict(slots.group_by("outcome").len().iter_rows())
    still_open = slots.filter(pl.col("outcome") == "open")["run_id"].to_list()
    alive = [run_id for run_id in dict.fromkeys(still_open) if is_alive(lake, run_id)]
    progress = [read_progress(lake.runs / run_id) for run_id in alive]
    return Status(
        path=path,
        version=head.number,
        topics=topics.height,
        topics_covered=topics.filter(pl.col("slots") > 0).height,
        planned=slots.height,
        outcomes={name: counted.get(name, 0) for name in OUTCOMES},
        models=tuple(lake.scan(ModelRow, head).select("name").unique().sort("name").collect()["name"]),
        running=tuple(f"run {now.run_id[:8]}: {now.line()}" for now in progress if now),
        interrupted=sum(run_id not in alive for run_id in still_open),
    )


def read_topics(path: Path) -> list[TopicState]:
    """All topics of a lake with the number of their slots."""
    lake = Lake.open(path)
    head = lake.version()
    columns = ("topic_id", "name", "category", "domain", "slots")
    states = topic_states(lake, head, slot_states(lake, head))
    return [TopicState(**row) for row in states.select(columns).iter_rows(named=True)]
