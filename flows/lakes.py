"""Making a lake and giving it topics: what happens before a build."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.settings import FILE, THRESHOLDS, default_settings
from flows.settings_file import Changes, change_settings
from flows.standing import read_topics
from flows.topics.alike import find_alike
from flows.topics.catalogue import TopicEntry, read_catalogue, topic_id
from flows.topics.incoming import read_topic_file
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import TopicRow
from storage.writing import Writer, writing

LOCK_TIMEOUT = 60.0
SHIPPED = "catalogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedTopics:
    """What became of a file of topics, by name; `alike` are groups that differ by case, article, plural or order."""

    new: tuple[str, ...]
    known: tuple[str, ...]
    repeated: tuple[str, ...]
    alike: tuple[tuple[str, ...], ...]


def choose_encoder(path: Path, encoder: str) -> None:
    """Put an encoder that comes along into a lake's settings, with the thresholds that belong to it."""
    image, text = THRESHOLDS[encoder]
    values: Changes = {
        "selection.encoder": {"backend": encoder},
        "selection.duplicates": {"image": image, "text": text},
    }
    change_settings(path / FILE, values, cleared=("selection.encoder",))


def make_lake(path: Path, *, profile: str, seed: int, topics: Sequence[TopicEntry] | None = None) -> Lake:
    """Make a lake whose first version holds topics, the shipped ones by default. NotALake when the folder is taken."""
    files = {FILE: default_settings(profile).encode()}
    with (
        Lake.making(path, seed=seed, files=files) as lake,
        writing(lake, purpose="init", timeout=LOCK_TIMEOUT) as writer,
    ):
        _commit_topics(writer, topics or read_catalogue(), source=SHIPPED if topics is None else "given")
    return Lake.open(path)


def add_topics(
    path: Path, file: Path, *, category: str = "", domain: str = "", lock_timeout: float = LOCK_TIMEOUT
) -> AddedTopics:
    """Bring a user's topics into a lake as a version of their own; topics that it has already stay as they are."""
    lake = Lake.open(path)
    incoming = read_topic_file(file, category=category, domain=domain)
    with writing(lake, purpose="topics", timeout=lock_timeout) as writer:
        there = read_topics(path)
        known_ids = {topic.topic_id for topic in there}
        new = [entry for entry in incoming.entries if topic_id(entry) not in known_ids]
        if new:
            _commit_topics(writer, new, source=file.name)
    names = {entry.name for entry in new}
    groups = find_alike([*(topic.name for topic in there), *names])
    return AddedTopics(
        new=tuple(entry.name for entry in new),
        known=tuple(entry.name for entry in incoming.entries if topic_id(entry) in known_ids),
        repeated=incoming.repeated,
        alike=tuple(group for group in groups if names & set(group)),
    )


def _commit_topics(writer: Writer, entries: Sequence[TopicEntry], *, source: str) -> None:
    rows = [
        TopicRow(topic_id=topic_id(entry), name=entry.name, category=entry.category, domain=entry.domain, source=source)
        for entry in entries
    ]
    writer.commit([PackageDraft("topics", rows)])
