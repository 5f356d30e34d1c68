"""A recorded call as a person reads it: request and response as lines of text. Pure; reads no lake."""

import json
from collections.abc import Iterator, Mapping, Sequence

from storage.canonical import Json, canonical_text

FIRST = ("kind", "model", "revision", "seed", "caption", "text", "image_sha256")
LAST = ("messages", "schema")
INDENT = "  "


def request_lines(request: Json) -> list[str]:
    """A canonical request, one fact a line, always in the same order, so that two of them can be compared line by line.

    Texts of a message stand indented below their role, pictures as their hash, a schema folded into one line.
    """
    facts = _members(request)
    rest = sorted(name for name in facts if name not in (*FIRST, *LAST))
    lines = [line for name in (*FIRST, *rest) if name in facts for line in _fact(name, facts[name])]
    for number, message in enumerate(_items(facts.get("messages")), start=1):
        lines += _message(number, message)
    if "schema" in facts:
        lines.append(f"schema: {canonical_text(facts['schema']) if facts['schema'] is not None else 'none'}")
    return lines


def response_lines(response: Json) -> list[str]:
    """A recorded response, one fact a line; a reply that is JSON stands indented, as JSON is read best."""
    facts = _members(response)
    lines = [line for name in sorted(facts) if name != "text" for line in _fact(name.replace("_", " "), facts[name])]
    if "text" in facts:
        lines += ["reply:", *_block(_laid_out(str(facts["text"])))]
    return lines


def _fact(name: str, value: Json) -> Iterator[str]:
    """A line for a plain value, one for each value inside a nested one; a text of several lines stands below."""
    if isinstance(value, Mapping) and value:
        for inner in sorted(value):
            yield from _fact(f"{name}.{inner}", value[inner])
    elif isinstance(value, str) and "\n" in value:
        yield f"{name}:"
        yield from _block(value)
    else:
        yield f"{name}: {value if isinstance(value, str) else canonical_text(value)}"


def _message(number: int, message: Json) -> Iterator[str]:
    members = _members(message)
    yield f"message {number} {members.get('role', 'of nobody')}:"
    for part in _items(members.get("parts")):
        yield from _part(_members(part))


def _part(part: Mapping[str, Json]) -> list[str]:
    match part:
        case {"text": str(text)}:
            return _block(text)
        case {"image_sha256": str(sha256)}:
            return [f"{INDENT}[picture {sha256}]"]
    return [f"{INDENT}{canonical_text(part)}"]


def _laid_out(text: str) -> str:
    """A reply over several lines if it is a JSON object or array, else as it is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(found, indent=2, ensure_ascii=False) if isinstance(found, dict | list) else text


def _block(text: str) -> list[str]:
    return [f"{INDENT}{line}" for line in text.split("\n")]


def _members(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Json) -> Sequence[Json]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
