"""From a written question to a template: what the chat model is told, and what its reply must be. Knows no lake."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from flows.seir.replies import QUESTION_WORDS, Reply, schema_of
from flows.topics.catalogue import PLACEHOLDER, Template, fold_space
from flows.topics.written_questions import ALIKE, REQUESTS
from models.chat import Message
from models.identity import canonical_sha256
from storage.wording import PICTURE_WORDS, WORD, content_stems, shared_words

DERIVE_VERSION = "1"
MAX_TOKENS = 260
SUBJECT_ROOM, TEMPLATE_ROOM = 100, 400
Type = Literal[
    "child",
    "compare",
    "design",
    "detail",
    "explain",
    "gift",
    "history",
    "imagine",
    "invention",
    "look",
    "map",
    "mistake",
    "moment",
    "mood",
    "parts",
    "senses",
    "size",
    "steps",
    "story",
    "urgent",
    "voice",
    "weather",
    "where",
    "other",
]
"""The types of the shipped templates, and what is none of them."""

INSTRUCTION = (
    "You turn a question that somebody wrote into a template that can be asked about any topic. Find the words that "
    "name what the question is about, and put {topic} in their place; keep nothing that is true of that subject "
    "alone. The template must ask for words and for a picture, in at most 50 words. Name its type. Reply as JSON: "
    '{"subject": "...", "template": "...", "type": "..."}'
)
EXAMPLES = (
    (
        "What makes old lighthouses so romantic? Tell me and draw one.",
        {
            "subject": "old lighthouses",
            "template": "What makes {topic} so romantic? Tell me in a few words and draw a picture.",
            "type": "mood",
        },
    ),
    (
        "How would you explain a steam engine to a child of five?",
        {
            "subject": "a steam engine",
            "template": "How would you explain {topic} to a child of five? Use simple words and draw a picture.",
            "type": "child",
        },
    ),
)
_WORDS_ASKED = (REQUESTS - PICTURE_WORDS - {"make", "let", "put", "choose", "create", "set"}) | {"word", "words"}
_OTHER_PLACE = re.compile(r"[{}]")
_INNER_CAPITAL = re.compile(r"(?<![.!?:\u201c\"(])\s+([A-Z][\w'\u2019]*)")


class TemplateReply(Reply):
    subject: Annotated[str, Field(min_length=1, max_length=SUBJECT_ROOM)]
    template: Annotated[str, Field(min_length=1, max_length=TEMPLATE_ROOM)]
    type: Type


def ask_for_template(question: str) -> tuple[Message, ...]:
    """The messages that ask for a template of one question."""
    messages = [Message.of("system", INSTRUCTION)]
    for example, reply in EXAMPLES:
        messages += [Message.of("user", f"Question: {example}"), Message.of("assistant", json.dumps(reply))]
    return (*messages, Message.of("user", f"Question: {question}"))


def derive_sha256() -> str:
    """A hash over all that a request for a template consists of besides the question."""
    return canonical_sha256(
        [[message.canonical() for message in ask_for_template("")], schema_of(TemplateReply), MAX_TOKENS]
    )


def object_to(reply: TemplateReply, question: str, known: Iterable[Template]) -> tuple[str, str] | None:
    """Why a template cannot be used: a reason word, and what it rests on; None when nothing is wrong with it."""
    return next(_objections(fold_space(reply.template), fold_space(reply.subject), question, known), None)


def _objections(text: str, subject: str, question: str, known: Iterable[Template]) -> Iterator[tuple[str, str]]:
    rest = text.replace(PLACEHOLDER, " ")
    words = {word.casefold() for word in WORD.findall(rest)}
    if PLACEHOLDER not in text:
        yield "no place", f"it has no {PLACEHOLDER}"
    if _OTHER_PLACE.search(rest):
        yield "other place", f"it has braces beside {PLACEHOLDER}"
    if (count := len(text.split())) > QUESTION_WORDS:
        yield "too long", f"{count} words, more than {QUESTION_WORDS}"
    if not words & PICTURE_WORDS:
        yield "no picture", "it asks for no picture"
    if "?" not in text and not words & _WORDS_ASKED:
        yield "no words", "it asks for no words"
    yield from _knows(rest, subject, question)
    for template in known:
        if (share := shared_words(template.text.replace(PLACEHOLDER, " "), rest)) >= ALIKE:
            yield "alike", f"{share:.0%} of its words are those of {template.template_id}"


def _knows(rest: str, subject: str, question: str) -> Iterator[tuple[str, str]]:
    """Words that are true of the question's own subject alone: the subject itself, names, numbers."""
    about = content_stems(subject)
    if not about or not about <= content_stems(question):
        yield "no subject", f"{subject!r} is nothing that the question names"
    if kept := about & content_stems(rest):
        yield "keeps its subject", f"it still says {', '.join(sorted(kept))}"
    if re.search(r"\d", rest):
        yield "knowledge", "it has a number"
    if name := next((found[1] for found in _INNER_CAPITAL.finditer(rest) if not _is_i(found[1])), None):
        yield "knowledge", f"it names {name!r}"


def _is_i(word: str) -> bool:
    return word == "I" or word.startswith(("I'", "I\u2019"))
