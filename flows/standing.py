"""How a lake stands, or stood at a version: topics, slots by outcome, runs at work. Reads packages alone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

import polars as pl

from flows.progress import OUTCOMES, read_progress
from flows.review.questions import count_questions
from flows.topics.catalogue import read_templates
from flows.topics.coverage import cover
from flows.topics.lake_templates import read_lake_templates
from storage.lake import Lake
from storage.records import ModelRow, TurnRow
from storage.slots import is_alive, slot_states, topic_states
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a lake stands at a version. `outcomes` counts slots, `questions` those that are open for a person."""

    path: Path
    version: int
    created_at: datetime
    topics: int
    topics_covered: int
    planned: int
    outcomes: Mapping[str, int]
    models: tuple[str, ...]
    questions: int

    def json(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"path": str(self.path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentStatus(Status):
    """How it stands now: `running` has a line for each living run, `interrupted` counts open slots of dead ones."""

    running: tuple[str, ...]
    interrupted: int


def read_status(path: Path) -> PresentStatus:
    """The state of the newest version and of the runs that are at work; NotALake."""
    lake = Lake.open(path)
    head = lake.version()
    slots = slot_states(lake, head)
    still_open = slots.filter(pl.col("outcome") == "open")["run_id"].to_list()
    alive = [run_id for run_id in dict.fromkeys(still_open) if is_alive(lake, run_id)]
    progress = [read_progress(lake.runs / run_id) for run_id in alive]
    stood = _status(lake, path, head, slots)
    return PresentStatus(
        **{field.name: getattr(stood, field.name) for field in fields(stood)},
        running=tuple(f"run {now.run_id[:8]}: {now.line()}" for now in progress if now),
        interrupted=sum(run_id not in alive for run_id in still_open),
    )


def read_status_at(path: Path, number: int) -> Status:
    """The state of a version; NotALake, NoSuchThing for one that is not there."""
    lake = Lake.open(path)
    version = lake.version(number)
    return _status(lake, path, version, slot_states(lake, version))


def _status(lake: Lake, path: Path, version: Version, slots: pl.DataFrame) -> Status:
    topics = topic_states(lake, version, slots)
    counted = dict(slots.group_by("outcome").len().iter_rows())
    return Status(
        path=path,
        version=version.number,
        created_at=version.created_at,
        topics=topics.height,
        topics_covered=topics.filter(pl.col("slots") > 0).height,
        planned=slots.height,
        outcomes={name: counted.get(name, 0) for name in OUTCOMES},
        models=tuple(lake.scan(ModelRow, version).select("name").unique().sort("name").collect()["name"]),
        questions=count_questions(lake, version),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """A topic of a lake. `slots` counts the samples made or planned for it; it is covered when there is one.

    `placed` and `placed_similarity` are those of its row.
    """

    topic_id: str
    name: str
    category: str
    domain: str
    slots: int
    placed: str | None
    placed_similarity: float | None


def read_topics(path: Path) -> list[TopicState]:
    """All topics of a lake with the number of their slots."""
    lake = Lake.open(path)
    head = lake.version()
    columns = TopicState.__slots__
    states = topic_states(lake, head, slot_states(lake, head))
    return [TopicState(**row) for row in states.select(columns).iter_rows(named=True)]


def read_coverage(path: Path, *, depth: int, under: str = "") -> pl.DataFrame:
    """How far the topics of a lake are covered, as `cover` tells it. NotALake, UserError for an unknown branch."""
    lake = Lake.open(path)
    head = lake.version()
    slots = slot_states(lake, head)
    kept = slots.filter(pl.col("outcome") == "kept").select("sample_id", "topic_id").lazy()
    turns = lake.scan(TurnRow, head, ["sample_id", "template_id"]).join(kept, on="sample_id")
    return cover(
        topic_states(lake, head, slots),
        turns.select("topic_id", "template_id").collect(),
        templates=len(read_templates()) + len(read_lake_templates(lake, head)),
        depth=depth,
        under=under,
    )
