"""What bringing a file of made-up names into a lake takes, step by step; one of the parts of `make bench-topics`."""

import json
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.lakes import make_lake
from flows.newcomers import AS_IT_COMES, read_newcomers, receive, unique_topics
from flows.standing import read_topics
from flows.topics.catalogue import read_catalogue
from flows.topics.report import write_report
from storage.history import publish
from storage.packages import PackageDraft
from storage.records import TopicRow
from storage.writing import writing

ALIKE, BAD = 10, 100
"""One name in ALIKE is alike one before it, one in BAD cannot be used."""


def bring_in(count: int) -> Mapping[str, float]:
    """Seconds by step, of a flat JSON list of `count` names without categories into a lake of the shipped topics."""
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-topics-") as folder:
        file = Path(folder) / "names.json"
        file.write_text(json.dumps(list(made_up_names(count))), encoding="utf-8")
        lake = make_lake(Path(folder) / "lake", profile="fake", seed=1)
        with _timed(took, "read the file"):
            incoming = read_newcomers(file, AS_IT_COMES)
        with writing(lake, purpose="bench", timeout=1) as writer:
            with _timed(took, "read the lake"):
                there = list(unique_topics(lake.rows(TopicRow, writer.head)))
            with _timed(took, "merge and place"):
                came = receive(incoming, there, AS_IT_COMES, source=file.name)
            with _timed(took, "commit"):
                version = writer.commit([PackageDraft("topics", came.rows)])
        with _timed(took, "write the report"):
            write_report(came.report, Path(folder) / "report.csv")
        with _timed(took, "list the topics"):
            assert len(read_topics(lake.path)) == len(there) + len(came.rows)
        with _timed(took, "publish the history"):
            publish(lake, version)
        assert came.report.counts()["rows"] == count
    return took


def made_up_names(count: int) -> Iterator[str]:
    """Names of two or three words of the shipped topics; some alike another, some not to be used."""
    words = sorted({word for entry in read_catalogue() for word in entry.name.split()})
    dice = random.Random(7)
    name = "a beginning"
    for number in range(count):
        if number % BAD == BAD - 1:
            yield "bell \a"
        elif number % ALIKE == ALIKE - 1:
            yield f"The {name}"
        else:
            name = " ".join(dice.choices(words, k=2 + number % 2))
            yield name


@contextmanager
def _timed(took: dict[str, float], step: str) -> Iterator[None]:
    since = time.perf_counter()
    yield
    took[step] = time.perf_counter() - since
