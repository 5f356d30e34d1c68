"""What the slow server replies: JSON in the shape that is asked for, with which the checks of the loop are content.

Half of all critics, by the dice, are content; the others make each stage go on, so that 3/3/3 rounds are partly used.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from models.fakes import minimal_json

TOPIC = re.compile(r"^Topic: (.+)$", re.MULTILINE)
CAPTION_THINGS = ("red apples", "white horses", "blue boats", "green lamps", "yellow kites", "grey stones")
ADVICE = (
    "Use plainer words and mention the season.",
    "Say who is there and how they feel.",
    "Mention the weather, the hour and some sound.",
    "Be more precise about sizes and colours.",
)
OTHERWISE = "Number {0}: some plain words, {1} of them in all, that say nothing new."


def reply_to(body: Mapping[str, Any], dice: bytes, *, content: float) -> dict[str, Any]:
    """The message of the assistant; `content` is the share of critics that have nothing to add."""
    number = int.from_bytes(dice[:4], "big")
    form = body.get("response_format")
    schema = form["json_schema"]["schema"] if form and form.get("type") == "json_schema" else None
    tools = body.get("tools")
    if tools:
        function = tools[0]["function"]
        arguments = minimal_json(function.get("parameters") or {"type": "object"}, dice.hex())
        call = {"name": function["name"], "arguments": orjson.dumps(arguments).decode()}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        }
    if schema is None:
        text = OTHERWISE.format(number, 3 + number % 40)
        return {"role": "assistant", "content": orjson.dumps({"text": text}).decode() if form else text}
    return {
        "role": "assistant",
        "content": orjson.dumps(_fill(schema, body["messages"], dice, number, content)).decode(),
    }


def _fill(
    schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], dice: bytes, number: int, content: float
) -> Any:
    fields = set(schema.get("properties", ()))
    if fields == {"suggestion"}:
        is_content = dice[4] < 256 * content
        return {"suggestion": None if is_content else ADVICE[number % len(ADVICE)]}
    things = CAPTION_THINGS[number % len(CAPTION_THINGS)]
    caption = f"{2 + number % 7} {things} beside a wooden sign with the number {number}."
    if fields == {"caption"}:
        return {"caption": caption}
    if fields == {"question"}:
        topic = _topic_of(messages)
        return {
            "question": f"What is case {number} of {topic} like? Tell me in a few words and draw a picture of {topic}."
        }
    if fields == {"answer", "caption"}:
        topic = _topic_of(messages)
        return {
            "answer": f"This is case {number} of {topic}. Much of it can be seen at once.",
            "caption": f"{2 + number % 7} {things} before a wooden sign for {topic}, with the number {number} on it.",
        }
    return minimal_json(dict(schema), dice.hex())


def _topic_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The topic that the last message names."""
    said = messages[-1]["content"]
    found = TOPIC.search(said) if isinstance(said, str) else None
    return found[1] if found else "things"
