"""Making a lake and giving it topics: what happens before a build."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from flows.progress import OUTCOMES, read_progress
from flows.settings import FILE, default_settings
from flows.topics.alike import find_alike
from flows.topics.catalogue import TopicEntry, read_catalogue, topic_id
from flows.topics.incoming import read_topic_file
from flows.topics.pick import TopicState
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import ModelRow, TopicRow
from storage.slots import is_alive, slot_states, topic_states
from storage.turns_table import bring_up

LOCK_TIMEOUT = 60.0
SHIPPED = "catalogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedTopics:
    """What became of a file of topics, by name; `alike` are groups that differ by case, article, plural or order."""

    new: tuple[str, ...]
    known: tuple[str, ...]
    repeated: tuple[str, ...]
    alike: tuple[tuple[str, ...], ...]


def make_lake(path: Path, *, profile: str, seed: int, topics: Sequence[TopicEntry] | None = None) -> Lake:
    """Make a lake whose first version holds topics, the shipped ones by default. NotALake when the folder is taken."""
    lake = Lake.create(path, seed=seed, files={FILE: default_settings(profile).encode()})
    with lake.lock(purpose="init", timeout=LOCK_TIMEOUT):
        _commit_topics(lake, topics or read_catalogue(), source=SHIPPED if topics is None else "given")
    return lake


def add_topics(
    path: Path, file: Path, *, category: str = "", domain: str = "", lock_timeout: float = LOCK_TIMEOUT
) -> AddedTopics:
    """Bring a user's topics into a lake as a version of their own; topics that it has already stay as they are."""
    lake = Lake.open(path)
    incoming = read_topic_file(file, category=category, domain=domain)
    with lake.lock(purpose="topics", timeout=lock_timeout):
        there = read_topics(path)
        known_ids = {topic.topic_id for topic in there}
        new = [entry for entry in incoming.entries if topic_id(entry) not in known_ids]
        if new:
            _commit_topics(lake, new, source=file.name)
    names = {entry.name for entry in new}
    groups = find_alike([*(topic.name for topic in there), *names])
    return AddedTopics(
        new=tuple(entry.name for entry in new),
        known=tuple(entry.name for entry in incoming.entries if topic_id(entry) in known_ids),
        repeated=incoming.repeated,
        alike=tuple(group for group in groups if names & set(group)),
    )


def read_topics(path: Path) -> list[TopicState]:
    """All topics of a lake with the number of their slots."""
    lake = Lake.open(path)
    head = lake.version()
    columns = ("topic_id", "name", "category", "domain", "slots")
    states = topic_states(lake, head, slot_states(lake, head))
    return [TopicState(**row) for row in states.select(columns).iter_rows(named=True)]


def _commit_topics(lake: Lake, entries: Sequence[TopicEntry], *, source: str) -> None:
    rows = [
        TopicRow(topic_id=topic_id(entry), name=entry.name, category=entry.category, domain=entry.domain, source=source)
        for entry in entries
    ]
    bring_up(lake, lake.commit([PackageDraft("topics", rows)]))


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
