"""What the chat model is told when it is to propose topics: an instruction, two worked examples, the branch at hand."""

import json
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from flows.seir.replies import Reply, schema_of
from models.chat import Message
from models.identity import canonical_sha256

PROPOSE_VERSION = "1"
AT_ONCE = 10
"""Names that are asked for at a time."""
SHOWN = 40
"""Names of the branch that a request shows."""
NAME_ROOM = 60
MAX_TOKENS = 400
"""Room for so many names of such a length at three characters a token, and the JSON around them."""

INSTRUCTION = (
    "You extend a collection of topics that can be drawn. Given a domain, a category and the topics that are there, "
    "propose new topics of that category: things, living beings, places or scenes that one can see, named in one to "
    "five words each, in small letters but for proper names, all different from each other and from those there are. "
    'Reply as JSON: {"names": ["...", "..."]}'
)
EXAMPLES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "Weather",
        "Storms",
        ("sandstorms", "hailstones on a roof"),
        ("waterspouts", "lightning over a harbour", "blizzards"),
    ),
    (
        "Crafts",
        "Paper",
        ("paper cranes", "bookbinding", "paper lanterns"),
        ("marbled paper", "kites with long tails", "papier-mache masks"),
    ),
)


class NamesReply(Reply):
    names: Annotated[list[Annotated[str, Field(max_length=NAME_ROOM)]], Field(min_length=1, max_length=AT_ONCE)]


def propose_names(domain: str, category: str, there: Sequence[str], wanted: int) -> tuple[Message, ...]:
    """The messages that ask for `wanted` names; `there` are those to be shown, in order."""
    messages = [Message.of("system", INSTRUCTION)]
    for example_domain, example_category, known, names in EXAMPLES:
        messages.append(Message.of("user", _case(example_domain, example_category, known, len(names))))
        messages.append(Message.of("assistant", json.dumps({"names": list(names)})))
    messages.append(Message.of("user", _case(domain, category, there, wanted)))
    return tuple(messages)


def _case(domain: str, category: str, there: Sequence[str], wanted: int) -> str:
    listed = "; ".join(there) or "none yet"
    return f"Domain: {domain or 'any'}\nCategory: {category or 'any'}\nThere are: {listed}\nPropose {wanted} new ones."


def propose_sha256() -> str:
    """A hash over all that a request to propose consists of besides the branch and its names."""
    fixed = [[message.canonical() for message in propose_names("", "", (), 1)], schema_of(NamesReply)]
    return canonical_sha256([*fixed, AT_ONCE, SHOWN, MAX_TOKENS])
