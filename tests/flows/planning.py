"""Tables of topics for tests of planning, as a lake has them, and the rule of picking taken literally."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace

import polars as pl

from flows.plan_settings import PlanSettings
from flows.topics.catalogue import read_catalogue, topic_id
from flows.topics.policy import Chosen, choose_topics
from flows.topics.wanted import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic and its slots by outcome."""

    topic_id: str
    name: str
    category: str
    domain: str
    kept: int = 0
    rejected: int = 0
    duplicate: int = 0
    failed: int = 0
    open: int = 0

    @property
    def slots(self) -> int:
        return self.kept + self.rejected + self.duplicate + self.failed + self.open


EVEN = PlanSettings()


def a_topic(identity: str, domain: str, category: str, kept: int = 0, **outcomes: int) -> Topic:
    name = f"topic {identity}"
    return Topic(topic_id=identity, name=name, category=category, domain=domain, kept=kept, **outcomes)


def shipped() -> list[Topic]:
    return [
        Topic(topic_id=topic_id(entry), name=entry.name, category=entry.category, domain=entry.domain)
        for entry in read_catalogue()
    ]


def table(topics: Sequence[Topic]) -> pl.DataFrame:
    """The topics as `topic_states` has them."""
    schema = {field.name: pl.Int64 if field.type in (int, "int") else pl.String for field in fields(Topic)}
    frame = pl.DataFrame([list(map(topic.__getattribute__, schema)) for topic in topics], schema=schema, orient="row")
    return frame.with_columns(slots=pl.sum_horizontal("kept", "rejected", "duplicate", "failed", "open"))


def choose(
    topics: Sequence[Topic],
    count: int,
    plan: PlanSettings = EVEN,
    *,
    samples: int = 1,
    deepen: bool = False,
    only_topics: Collection[str] | None = None,
) -> Chosen:
    return choose_topics(
        table(topics), plan, Wanted(topics=count, samples=samples, deepen=deepen, only_topics=only_topics)
    )


def ids(chosen: Chosen) -> list[str]:
    return chosen.picks["topic_id"].to_list()


def fill(topics: Sequence[Topic], picked: Collection[str]) -> list[Topic]:
    """The topics after one more sample of each picked one was kept."""
    return [replace(topic, kept=topic.kept + (topic.topic_id in picked)) for topic in topics]


def pick_one_by_one(topics: Sequence[Topic], count: int, quotas: dict[str, int] | None = None) -> list[str]:
    """The rule of picking evenly, literally: after each topic count again."""
    slots = {topic.topic_id: topic.slots for topic in topics}
    picked: list[str] = []
    while len(picked) < count:
        domains = Counter(topic.domain for topic in topics if slots[topic.topic_id])
        categories = Counter(f"{topic.domain}/{topic.category}" for topic in topics if slots[topic.topic_id])
        full = {name for name, most in (quotas or {}).items() if (domains | categories)[name] >= most}
        free = [
            topic
            for topic in topics
            if not slots[topic.topic_id] and not {topic.domain, f"{topic.domain}/{topic.category}"} & full
        ]
        if not free:
            break
        chosen = min(
            free,
            key=lambda topic: (
                domains[topic.domain],
                topic.domain,
                categories[f"{topic.domain}/{topic.category}"],
                topic.category,
                topic.topic_id,
            ),
        )
        slots[chosen.topic_id] = 1
        picked.append(chosen.topic_id)
    return picked
