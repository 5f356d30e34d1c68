"""The deterministic text critic: rules that find what is plainly wrong with a question or an answer, and ask no model.

Words are compared by the crude stems of `storage.wording`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flows.seir.prompts import PastTurn
from flows.seir.replies import CAPTION_WORDS, QUESTION_WORDS, ends_like_a_sentence
from storage.wording import PICTURE_WORDS, WORD, content_stems, shared_words, words_only

CHECKS_VERSION = "1"
"""Part of the recipe: raise it with every change to these rules, to `storage.wording`, or to what `replies` takes for a
usable reply."""

MIN_QUESTION_WORDS = 5
MIN_ANSWER_WORDS = 6
MIN_CAPTION_WORDS = 5
REPEATED_RUN = 3  # the same three words this often in a short text are a loop
ECHO = 0.6  # share of a critique's words that are the draft's: it repeats, and suggests nothing
SAME_TEXT = 0.8  # shared share of the words of two texts that say the same

_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_ADDRESS = re.compile(r"\b(?:i|i'm|i'll|me|my|you|your|you're|we|our|let's)\b", re.IGNORECASE)
_ORDER = re.compile(r"^(?:please|draw|describe|show|write|create|imagine|add|use|explain|tell)\b", re.IGNORECASE)
_EMPTY_CAPTION = re.compile(
    r"^(?:an?|the)\s+(?:picture|image|drawing|photo|caption)\s*(?:about|of|for)?\s*\w*[.!]?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, as a stable word, and what the writer is told about it."""

    name: str
    suggestion: str


def check_question(
    topic: str, question: str, history: Sequence[PastTurn], repeated: float | None = None
) -> Finding | None:
    """The first fault of a question: `cut`, `length`, `repetition`, `off_topic` or `no_picture_asked`; else None.

    With `repeated`, a question that shares so much with an earlier one of the dialogue (`shared_words`) has the fault
    `repeats-turn-N`; without, only one that is word for word the same is a `repetition`.
    """
    return (
        _cut("question", question)
        or _length("question", question, MIN_QUESTION_WORDS, QUESTION_WORDS)
        or _loop("question", question)
        or _asked_already(topic, question, history, repeated)
        or _off_topic("question", topic, question)
        or _no_picture_asked(question)
    )


def check_answer(topic: str, question: str, answer: str, caption: str, history: Sequence[PastTurn]) -> Finding | None:
    """The first fault of an answer or its caption: `cut`, `length`, `repetition`, `off_topic`, `caption_not_visual` or
    `caption_repeats_answer`; else None. The answer must share a word with topic or question, the caption with either or
    with the answer."""
    return (
        _cut("answer", answer)
        or _cut("caption", caption)
        or _length("answer", answer, MIN_ANSWER_WORDS, None)
        or _length("caption", caption, MIN_CAPTION_WORDS, CAPTION_WORDS)
        or _loop("answer", answer)
        or _loop("caption", caption)
        or _said_already(answer, caption, history)
        or _off_topic("answer", topic, answer, question)
        or _not_visual(caption)
        or _off_topic("caption", topic, caption, f"{question} {answer}")
        or _repeats_answer(answer, caption)
    )


def only_repeats(suggestion: str, draft: str) -> bool:
    """Whether a critique says no more than the draft it is about, as a very small critic often does."""
    said = set(content_stems(suggestion))
    return bool(said) and len(said & set(content_stems(draft))) >= ECHO * len(said)


def _cut(what: str, text: str) -> Finding | None:
    if ends_like_a_sentence(text.strip()):
        return None
    return Finding(name="cut", suggestion=f"End the {what} with a whole sentence.")


def _length(what: str, text: str, least: int, most: int | None) -> Finding | None:
    words = len(text.split())
    if words < least:
        return Finding(name="length", suggestion=f"Make the {what} longer: it has only {words} words.")
    if most is not None and words > most:
        return Finding(name="length", suggestion=f"Make the {what} shorter: at most {most} words.")
    return None


def _loop(what: str, text: str) -> Finding | None:
    words = [word.casefold() for word in WORD.findall(text)]
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    twice_in_a_row = any(one == two == three for (one, two), (_, three) in pairwise(pairwise(words)))
    sentences = Counter(words_only(sentence) for sentence in _sentences(text))
    if twice_in_a_row or max(runs.values(), default=0) >= REPEATED_RUN or max(sentences.values(), default=0) > 1:
        return Finding(name="repetition", suggestion=f"Say each thing in the {what} only once.")
    return None


def _asked_already(topic: str, question: str, history: Sequence[PastTurn], repeated: float | None) -> Finding | None:
    if repeated is not None:
        alike = [shared_words(question, turn.question) for turn in history]
        if max(alike, default=0.0) < repeated:
            return None
        turn = alike.index(max(alike)) + 1
        suggestion = f"Ask about another aspect of {topic}: turn {turn} asked this already."
        return Finding(name=f"repeats-turn-{turn}", suggestion=suggestion)
    if any(words_only(turn.question) == words_only(question) for turn in history):
        return Finding(name="repetition", suggestion="Ask something else than in the earlier turns.")
    return None


def _said_already(answer: str, caption: str, history: Sequence[PastTurn]) -> Finding | None:
    if any(words_only(turn.answer) == words_only(answer) for turn in history):
        return Finding(name="repetition", suggestion="Answer with something that the earlier answers do not say.")
    if any(words_only(turn.caption) == words_only(caption) for turn in history):
        return Finding(name="repetition", suggestion="Let the caption show something else than the earlier pictures.")
    return None


def _off_topic(what: str, topic: str, text: str, context: str = "") -> Finding | None:
    wanted = content_stems(topic) | content_stems(context)
    if not wanted or wanted & content_stems(text):
        return None
    return Finding(name="off_topic", suggestion=f"Let the {what} be about {topic}, and name it.")


def _no_picture_asked(question: str) -> Finding | None:
    if PICTURE_WORDS & {word.casefold() for word in WORD.findall(question)}:
        return None
    return Finding(name="no_picture_asked", suggestion="Ask for a picture as well.")


def _not_visual(caption: str) -> Finding | None:
    text = caption.strip()
    asks = text.endswith("?") or _ADDRESS.search(text) or _ORDER.match(text)
    if asks or _EMPTY_CAPTION.match(text) or len(content_stems(text)) < 2:
        return Finding(
            name="caption_not_visual",
            suggestion="Let the caption only describe what is seen: the things, their number, colour and place.",
        )
    return None


def _repeats_answer(answer: str, caption: str) -> Finding | None:
    told = content_stems(caption)
    for text in (answer, *_sentences(answer)):
        said = content_stems(text)
        if said and len(told & said) / len(told | said) >= SAME_TEXT:
            return Finding(
                name="caption_repeats_answer",
                suggestion="Let the caption describe the picture instead of repeating the answer.",
            )
    return None


def _sentences(text: str) -> Iterator[str]:
    return (sentence.strip() for sentence in _SENTENCE.findall(text) if WORD.search(sentence))
