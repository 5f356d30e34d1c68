"""Which topics come next, and which template a question starts from. Pure: the same input, the same choice."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from flows.topics.catalogue import Template, normalise_name

Group: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """A topic of the lake. `slots` counts the samples made or planned for it; it is covered when there is one."""

    topic_id: str
    name: str
    category: str
    domain: str
    slots: int


def domain_of(topic: TopicState) -> Group:
    """The domain that a topic counts for, without regard to case and spacing."""
    return (normalise_name(topic.domain),)


def category_of(topic: TopicState) -> Group:
    """The domain and category that a topic counts for, without regard to case and spacing."""
    return (normalise_name(topic.domain), normalise_name(topic.category))


def pick_topics(topics: Sequence[TopicState], count: int) -> tuple[TopicState, ...]:
    """The next `count` topics without slots, in the order of picking; all of them if there are fewer.

    Each is taken from the domain with the fewest covered topics, those picked before it included (ties: by name of
    the domain); there from the category with the fewest (ties: by name); there by topic id. So picking five, making
    them, and picking five more is the same as picking ten. ValueError when `count` is negative.
    """
    _check_count(count)
    return tuple(_spread_level(topics, 0)[:count])


def least_covered(topics: Sequence[TopicState], count: int) -> tuple[TopicState, ...]:
    """The next `count` topics to deepen, each at most once, in the order of picking; all if there are fewer.

    Topics with the fewest slots come first. Those with equally many are spread as in `pick_topics`, where the topics
    with more slots count as covered. ValueError when `count` is negative.
    """
    _check_count(count)
    picked: list[TopicState] = []
    for slots in sorted({topic.slots for topic in topics}):
        if len(picked) >= count:
            break
        picked += _spread_level(topics, slots)
    return tuple(picked[:count])


def draw_template(templates: Sequence[Template], seed: int) -> Template:
    """The template that `seed`, any integer, falls upon.

    The templates, in the order of their ids, share the numbers from 0 up to the sum of all weights, as many in a row
    to each as its weight says; the one that holds `seed` modulo that sum is drawn. With seeds of 64 random bits and a
    sum of some hundreds the modulo favours no template by more than one part in 10^16. ValueError without templates.
    """
    if not templates:
        raise ValueError("there is no template to draw from: give at least one")
    left = seed % sum(template.weight for template in templates)
    for template in sorted(templates, key=lambda template: template.template_id):
        left -= template.weight
        if left < 0:
            return template
    raise AssertionError("a number below the sum of the weights falls upon a template")


def _spread_level(topics: Sequence[TopicState], slots: int) -> list[TopicState]:
    """The topics with just so many slots, in the order of picking; those with more count as covered."""
    covered = [topic for topic in topics if topic.slots > slots]
    level = sorted((topic for topic in topics if topic.slots == slots), key=lambda topic: topic.topic_id)
    return _deal(_deal(level, covered, category_of), covered, domain_of)


def _deal(
    topics: Iterable[TopicState], covered: Iterable[TopicState], group_of: Callable[[TopicState], Group]
) -> list[TopicState]:
    """The order in which the topics come when each is taken from the group that then has the fewest covered.

    Every topic taken adds one to its group, so the k-th topic of a group has its turn when the group holds its
    covered topics and k - 1 more; sorting by that number, then by group, is the order. Inside a group it is kept.
    """
    held = Counter(map(group_of, covered))
    turns: list[tuple[int, Group, TopicState]] = []
    for topic in topics:
        group = group_of(topic)
        turns.append((held[group], group, topic))
        held[group] += 1
    return [topic for _, _, topic in sorted(turns, key=lambda turn: turn[:2])]


def _check_count(count: int) -> None:
    if count < 0:
        raise ValueError(f"cannot pick {count} topics: give 0 or more")
