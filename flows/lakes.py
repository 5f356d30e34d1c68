"""Making a lake and giving it topics: what happens before a build."""

from collections.abc import Sequence
from pathlib import Path

from flows.newcomers import AS_IT_COMES, Choices, read_newcomers, receive, row_of, unique_topics
from flows.settings import FILE, THRESHOLDS, default_settings
from flows.settings_file import Changes, change_settings
from flows.topics.catalogue import TopicEntry, read_catalogue
from flows.topics.report import TopicReport
from storage.lake import MARK, Lake
from storage.packages import PackageDraft
from storage.records import TopicRow
from storage.writing import writing

LOCK_TIMEOUT = 60.0
SHIPPED = "catalogue"


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
    source = SHIPPED if topics is None else "given"
    return _make(path, [row_of(entry, source) for entry in _shipped(topics)], profile=profile, seed=seed)


def make_lake_of(
    path: Path, file: Path, *, profile: str, seed: int, choices: Choices = AS_IT_COMES
) -> tuple[Lake, TopicReport]:
    """Make a lake that holds the topics of a file and no others. NotALake, TopicFileError: then nothing is made."""
    newcomers = receive(read_newcomers(file, choices), (), choices, source=file.name)
    return _make(path, newcomers.rows, profile=profile, seed=seed), newcomers.report


def add_topics(
    path: Path, file: Path, choices: Choices = AS_IT_COMES, *, lock_timeout: float = LOCK_TIMEOUT
) -> TopicReport:
    """Bring a user's topics into a lake as a version of their own; topics that it has already stay as they are."""
    lake = Lake.open(path)
    incoming = read_newcomers(file, choices)
    with writing(lake, purpose="topics", timeout=lock_timeout) as writer:
        there = list(unique_topics(lake.rows(TopicRow, writer.head)))
        newcomers = receive(incoming, there, choices, source=file.name)
        if newcomers.rows:
            writer.commit([PackageDraft("topics", newcomers.rows)])
    return newcomers.report


def is_lake(path: Path) -> bool:
    """Whether there is a lake in a folder, sound or not."""
    return (path / MARK).exists()


def _shipped(topics: Sequence[TopicEntry] | None) -> Sequence[TopicEntry]:
    return read_catalogue() if topics is None else topics


def _make(path: Path, rows: Sequence[TopicRow], *, profile: str, seed: int) -> Lake:
    files = {FILE: default_settings(profile).encode()}
    with (
        Lake.making(path, seed=seed, files=files) as lake,
        writing(lake, purpose="init", timeout=LOCK_TIMEOUT) as writer,
    ):
        writer.commit([PackageDraft("topics", rows)])
    return Lake.open(path)
