"""What the models of the loop are told, in words of our own: an instruction, worked examples, then the case at hand.

The examples come as earlier turns of the chat, because a very small model follows them and little else; what is fixed
comes first and what changes last, so that backends that keep prompts compute the beginning once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from flows.seir.replies import MAX_TOKENS, AnswerReply, CaptionReply, Critique, QuestionReply, schema_of
from models.chat import ImagePart, Message, Part, TextPart
from models.identity import Json, canonical_sha256
from models.picture import Picture

__all__ = [
    "MAX_TOKENS",
    "PROMPTS_VERSION",
    "PastTurn",
    "critique_answer",
    "critique_image",
    "critique_question",
    "draft_answer",
    "draft_question",
    "prompts_sha256",
    "rewrite_answer",
    "rewrite_caption",
    "rewrite_question",
]

PROMPTS_VERSION = "1"

Messages = tuple[Message, ...]
Example = tuple[str, dict[str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTurn:
    """An earlier turn of the same dialogue, as it was finished."""

    question: str
    answer: str
    caption: str
    picture: Picture


DRAFT_QUESTION = (
    "You play a curious person who asks an assistant that can write and draw. Turn the task into one natural request "
    "about the topic, in at most 50 words. Name the topic, ask for words and for a picture, and ask nothing that was "
    'asked before. Reply as JSON: {"question": "..."}'
)
DRAFT_QUESTION_EXAMPLES: tuple[Example, ...] = (
    (
        "Topic: boats on a lake\nTask: Tell me the most important thing about boats on a lake and illustrate it.",
        {"question": "What should I know about boats on a lake? Tell me in a few sentences and draw a picture."},
    ),
    (
        "Topic: apple trees\nTask: Put apple trees into an invented town and draw that corner.",
        {"question": "Where in an invented town would apple trees grow? Describe that corner and draw a picture."},
    ),
    (
        "Topic: old lamps\nAsked before: How do old lamps work? Explain and draw one.\n"
        "Task: What would old lamps be like in summer and in winter? Show both.",
        {"question": "What would old lamps be like in summer and in winter? Describe both and draw a picture of them."},
    ),
    (
        "Topic: a red kite\nTask: Write a riddle about a red kite and draw a hint.",
        {"question": "Can you make up a riddle about a red kite? Write it down and draw a picture that gives a hint."},
    ),
)

CRITIQUE_QUESTION = (
    "You check a request to an assistant that can write and draw. It should be clear and natural, be about the topic, "
    "ask for words and for a picture, and be new. If all is well, the suggestion is null; otherwise say in one "
    'sentence what to change. Reply as JSON: {"suggestion": ...}'
)
CRITIQUE_QUESTION_EXAMPLES: tuple[Example, ...] = (
    (
        "Topic: apple trees\nRequest: What is the price of a car?",
        {"suggestion": "Ask about apple trees, and ask for a picture of them."},
    ),
    (
        "Topic: boats on a lake\nRequest: Why do boats on a lake float? Explain it simply and draw a picture.",
        {"suggestion": None},
    ),
    (
        "Topic: old lamps\nRequest: What do old lamps look like? Please describe them and show me a picture.",
        {"suggestion": None},
    ),
)

REWRITE_QUESTION = (
    "You improve a request to an assistant that can write and draw. Follow the suggestion. The new request has at most "
    '50 words, names the topic, and asks for words and for a picture. Reply as JSON: {"question": "..."}'
)
REWRITE_QUESTION_EXAMPLES: tuple[Example, ...] = (
    (
        "Topic: apple trees\nRequest: What is in the garden?\nSuggestion: Name apple trees and ask for a picture.",
        {"question": "What do apple trees look like in a garden? Describe them and draw me a picture."},
    ),
    (
        "Topic: boats on a lake\nRequest: Why do boats on a lake float?\nSuggestion: Ask for a picture as well.",
        {"question": "Why do boats on a lake float? Explain it and draw me a picture."},
    ),
)

DRAFT_ANSWER = (
    "You answer a request with words and a picture. The answer is two or three short, true sentences about the topic. "
    "The caption lists what is seen in the picture: the things with their number, colour and place, in one or two "
    'sentences of at most 65 words. Reply as JSON: {"answer": "...", "caption": "..."}'
)
DRAFT_ANSWER_EXAMPLES: tuple[Example, ...] = (
    (
        "Topic: boats on a lake\nRequest: Why do boats on a lake float? Explain it simply and draw a picture.",
        {
            "answer": "A boat pushes water aside, and the water pushes back. That is why it stays on top.",
            "caption": "Two red boats on a blue lake, with a yellow sun above them.",
        },
    ),
    (
        "Topic: old lamps\nRequest: I have never seen old lamps. Please describe them and show me a picture.",
        {
            "answer": "Old lamps are made of brass and glass. A small flame inside gives a warm light.",
            "caption": "A golden lamp with a bright flame on a brown table, next to an open book.",
        },
    ),
    (
        "Topic: apple trees\nRequest: Tell me a short story about apple trees and draw the happiest moment.",
        {
            "answer": "A girl planted an apple tree and waited for years. One autumn it was full of red fruit.",
            "caption": "A big green tree with five red apples, and a girl with a basket in front of it.",
        },
    ),
)

CRITIQUE_ANSWER = (
    "You check an answer and the caption of its picture. The answer should reply to the request, be true and clear. "
    "The caption should describe things that can be seen and that belong to the answer. If all is well, the "
    'suggestion is null; otherwise say in one sentence what to change. Reply as JSON: {"suggestion": ...}'
)
CRITIQUE_ANSWER_EXAMPLES: tuple[Example, ...] = (
    (
        "Request: What do apple trees look like in autumn? Draw one.\nAnswer: They carry ripe red apples.\n"
        "Caption: A picture about autumn.",
        {"suggestion": "Let the caption name an apple tree, its red apples and the place where it stands."},
    ),
    (
        "Request: Why do boats float? Explain it and draw a picture.\nAnswer: A boat pushes water aside, and the water "
        "pushes back.\nCaption: Two red boats on a blue lake, with a yellow sun above them.",
        {"suggestion": None},
    ),
    (
        "Request: Describe old lamps and show me a picture.\nAnswer: Old lamps are made of brass and glass.\n"
        "Caption: A golden lamp with a bright flame on a brown table.",
        {"suggestion": None},
    ),
)

REWRITE_ANSWER = (
    "You improve an answer and the caption of its picture. Follow the suggestion and keep what is good. The answer is "
    "two or three short, true sentences. The caption lists what is seen, with number, colour and place, in at most 65 "
    'words. Reply as JSON: {"answer": "...", "caption": "..."}'
)
REWRITE_ANSWER_EXAMPLES: tuple[Example, ...] = (
    (
        "Request: What do apple trees look like in autumn? Draw one.\nAnswer: They carry ripe red apples.\n"
        "Caption: A picture about autumn.\nSuggestion: Let the caption name an apple tree and its apples.",
        {
            "answer": "In autumn apple trees carry ripe red apples.",
            "caption": "A big green tree with five red apples in the grass, and a brown basket beside it.",
        },
    ),
    (
        "Request: Describe old lamps and show me a picture.\nAnswer: They are old. They are old.\n"
        "Caption: A golden lamp on a brown table.\nSuggestion: Say each thing in the answer only once.",
        {
            "answer": "Old lamps are made of brass and glass. A small flame inside gives a warm light.",
            "caption": "A golden lamp on a brown table.",
        },
    ),
)

CRITIQUE_IMAGE = (
    "You look at a picture that belongs to an answer, and at the caption it was drawn from, which comes last. The "
    "picture should show what the caption names, fit the request and the answer, and go with the earlier pictures. If "
    "all is well, the suggestion is null; otherwise say in one sentence how the caption should change so that a better "
    'picture can be drawn. Reply as JSON: {"suggestion": ...}'
)

REWRITE_CAPTION = (
    "You improve the caption that a picture is drawn from. Follow the suggestion. The answer stays as it is. The new "
    "caption lists what is seen, with number, colour and place, in one or two sentences of at most 65 words. Reply as "
    'JSON: {"caption": "..."}'
)
REWRITE_CAPTION_EXAMPLES: tuple[Example, ...] = (
    (
        "Request: Why do boats float?\nAnswer: A boat pushes water aside, and the water pushes back.\n"
        "Caption: Buoyancy keeps the fleet aloft.\nSuggestion: Name simple things that can be drawn.",
        {"caption": "Two red boats on a blue lake, with a yellow sun above them."},
    ),
    (
        "Request: Describe old lamps.\nAnswer: Old lamps are made of brass and glass.\n"
        "Caption: A golden lamp on a brown table.\nSuggestion: Leave out the table.",
        {"caption": "A golden lamp with a bright flame."},
    ),
)


def draft_question(topic: str, instruction: str, history: Sequence[PastTurn]) -> Messages:
    """Have a question written from a template's instruction, which already names the topic."""
    case = f"Topic: {topic}\n{_asked_before(history)}Task: {instruction}"
    return _told(DRAFT_QUESTION, DRAFT_QUESTION_EXAMPLES, case)


def critique_question(topic: str, question: str, history: Sequence[PastTurn]) -> Messages:
    """Have a question judged."""
    case = f"Topic: {topic}\n{_asked_before(history)}Request: {question}"
    return _told(CRITIQUE_QUESTION, CRITIQUE_QUESTION_EXAMPLES, case)


def rewrite_question(topic: str, question: str, suggestion: str, history: Sequence[PastTurn]) -> Messages:
    """Have a question improved as the critic suggests."""
    case = f"Topic: {topic}\n{_asked_before(history)}Request: {question}\nSuggestion: {suggestion}"
    return _told(REWRITE_QUESTION, REWRITE_QUESTION_EXAMPLES, case)


def draft_answer(topic: str, question: str, history: Sequence[PastTurn]) -> Messages:
    """Have an answer and the caption of its picture written."""
    case = f"Topic: {topic}\n{_said_before(history)}Request: {question}"
    return _told(DRAFT_ANSWER, DRAFT_ANSWER_EXAMPLES, case)


def critique_answer(question: str, answer: str, caption: str, history: Sequence[PastTurn]) -> Messages:
    """Have an answer and its caption judged together."""
    case = f"{_said_before(history)}Request: {question}\nAnswer: {answer}\nCaption: {caption}"
    return _told(CRITIQUE_ANSWER, CRITIQUE_ANSWER_EXAMPLES, case)


def rewrite_answer(question: str, answer: str, caption: str, suggestion: str, history: Sequence[PastTurn]) -> Messages:
    """Have an answer and its caption improved as the critic suggests."""
    case = f"{_said_before(history)}Request: {question}\nAnswer: {answer}\nCaption: {caption}\nSuggestion: {suggestion}"
    return _told(REWRITE_ANSWER, REWRITE_ANSWER_EXAMPLES, case)


def critique_image(question: str, answer: str, caption: str, picture: Picture, history: Sequence[PastTurn]) -> Messages:
    """Have a picture judged by a model that sees.

    The last message holds exactly one picture, and its last text part is exactly the caption that was drawn; each
    earlier turn's picture and caption come in a message of their own before it.
    """
    messages = [Message.of("system", CRITIQUE_IMAGE)]
    for turn in history:
        seen: tuple[Part, ...] = (TextPart("An earlier picture and its caption:"), ImagePart(turn.picture))
        messages.append(Message("user", (*seen, TextPart(turn.caption))))
        messages.append(Message.of("assistant", "Seen."))
    case = f"Request: {question}\nAnswer: {answer}\nThe picture, then its caption:"
    messages.append(Message("user", (TextPart(case), ImagePart(picture), TextPart(caption))))
    return tuple(messages)


def rewrite_caption(question: str, answer: str, caption: str, suggestion: str, history: Sequence[PastTurn]) -> Messages:
    """Have the caption improved as the image critic suggests; the answer stays."""
    earlier = "".join(f"Earlier caption: {turn.caption}\n" for turn in history)
    case = f"{earlier}Request: {question}\nAnswer: {answer}\nCaption: {caption}\nSuggestion: {suggestion}"
    return _told(REWRITE_CAPTION, REWRITE_CAPTION_EXAMPLES, case)


def prompts_sha256() -> str:
    """A hash over every prompt as it is sent, with letters in the gaps, and over the shapes and room of the replies."""
    picture = Picture(data=b"", sha256="0" * 64, pixel_sha256="0" * 64, width=1, height=1)
    past = (PastTurn(question="P", answer="R", caption="K", picture=picture),)
    prompts = [
        *(draft_question("T", "I", history) for history in ((), past)),
        *(critique_question("T", "Q", history) for history in ((), past)),
        *(rewrite_question("T", "Q", "S", history) for history in ((), past)),
        *(draft_answer("T", "Q", history) for history in ((), past)),
        *(critique_answer("Q", "A", "C", history) for history in ((), past)),
        *(rewrite_answer("Q", "A", "C", "S", history) for history in ((), past)),
        *(critique_image("Q", "A", "C", picture, history) for history in ((), past)),
        *(rewrite_caption("Q", "A", "C", "S", history) for history in ((), past)),
    ]
    sent: list[Json] = [[message.canonical() for message in prompt] for prompt in prompts]
    shapes: list[Json] = [schema_of(shape) for shape in (QuestionReply, AnswerReply, CaptionReply, Critique)]
    return canonical_sha256({"prompts": sent, "shapes": shapes, "max_tokens": MAX_TOKENS})


def _told(instruction: str, examples: Sequence[Example], case: str) -> Messages:
    messages = [Message.of("system", instruction)]
    for asked, replied in examples:
        messages.append(Message.of("user", asked))
        messages.append(Message.of("assistant", json.dumps(replied, ensure_ascii=False)))
    return (*messages, Message.of("user", case))


def _asked_before(history: Sequence[PastTurn]) -> str:
    return "".join(f"Asked before: {turn.question}\n" for turn in history)


def _said_before(history: Sequence[PastTurn]) -> str:
    return "".join(
        f"Earlier request: {turn.question}\nEarlier answer: {turn.answer}\nEarlier caption: {turn.caption}\n"
        for turn in history
    )
