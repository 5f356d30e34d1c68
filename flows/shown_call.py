"""A recorded call as a person reads it: who was asked what, and what came back, as lines of text."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.calls import AlteredCall, examine_calls
from storage.canonical import Json, canonical_text
from storage.errors import LakeDamaged, NoSuchThing
from storage.lake import Lake
from storage.query import query
from storage.spool import RecordedCall

Record = Mapping[str, Any]

FIRST = ("kind", "model", "revision", "seed", "caption", "text", "image_sha256")
LAST = ("messages", "schema")
INDENT = "  "
NUMBERS = 6
"""How many numbers of a vector are shown."""

_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_CALL = """
SELECT calls.*, topics.name AS topic, runs.kind AS run_kind,
    (SELECT string_agg(role, ', ' ORDER BY role) FROM models WHERE models.model_id = calls.model_id) AS roles,
    (SELECT min(licence) FROM models WHERE models.model_id = calls.model_id) AS licence
FROM calls LEFT JOIN samples ON samples.sample_id = calls.sample_id
    LEFT JOIN topics ON topics.topic_id = samples.topic_id LEFT JOIN runs ON runs.run_id = calls.run_id
WHERE starts_with(calls.call_id, '{prefix}') ORDER BY calls.call_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """A call with all that was recorded of it.

    `row` is its row of the history, with `topic`, `run_kind`, and `roles` and `licence` of the model; `backend` is what
    the backend told of this answer. `picture` are the bytes that came back, `vector` the numbers.
    """

    row: Record
    request: Json
    response: Json
    backend: Json
    picture: bytes | None
    vector: tuple[float, ...] | None

    def json(self) -> dict[str, object]:
        """All of it but the picture's bytes, which the hash in it names."""
        bodies = {"request": self.request, "response": self.response, "backend": self.backend, "vector": self.vector}
        return {**self.row, **bodies}


def read_call(lake: Lake, prefix: str) -> ShownCall:
    """The committed call whose id begins like this; NoSuchThing when there is none, or more than one.

    LakeDamaged when it is not what was recorded.
    """
    row = find_call(lake, prefix)
    added = lake.version(row["version"]).since(row["version"] - 1)
    for call in examine_calls(lake, added, {row["sample_id"]}):
        if call.row.call_id != row["call_id"]:
            continue
        if isinstance(call, AlteredCall):
            raise LakeDamaged(f"call {call.row.call_id} is not what was recorded: {call.problem}")
        return _shown(row, call)
    raise LakeDamaged(
        f"version {row['version']} lacks call {row['call_id']}, which the history has; see 'interlake fsck'"
    )


def find_call(lake: Lake, prefix: str) -> Record:
    """The row of the call whose id begins like this; errors as `read_call`."""
    if not _PREFIX.fullmatch(prefix):
        raise NoSuchThing(f"{prefix!r} is not a call id: give at least its first 4 hex digits; see 'interlake why'")
    found = query(lake, _CALL.format(prefix=prefix))
    if not found.height:
        raise NoSuchThing(f"no committed call's id begins with {prefix}; 'interlake why SAMPLE' lists a sample's calls")
    if found.height > 1:
        raise NoSuchThing(f"{found.height} calls' ids begin with {prefix}; give more digits")
    return found.row(0, named=True)


def _shown(row: Record, call: RecordedCall) -> ShownCall:
    vector = call.attachments.get(call.row.vector_sha256 or "")
    return ShownCall(
        row=row,
        request=json.loads(call.row.request),
        response=json.loads(call.row.response),
        backend=json.loads(call.row.backend) if call.row.backend else None,
        picture=call.attachments.get(call.row.image_sha256 or ""),
        vector=tuple(np.frombuffer(vector, dtype="<f4").tolist()) if vector is not None else None,
    )


def about_lines(call: ShownCall) -> list[str]:
    """Where a call stands in its sample's story, whom it went to, in which run, when, and how long it took."""
    row = call.row
    tries = f"{row['tries']} {'try' if row['tries'] == 1 else 'tries'}"
    return [
        f"sample {row['sample_id']}: {row['topic']}",
        f"turn {row['turn']}, {row['stage']}, round {row['round']}, {row['purpose']}, attempt {row['attempt']}",
        f"asked of {_model_name(call)} (as {row['roles']}), licence {row['licence']}",
        f"{row['run_kind']} {row['run_id'][:8]}, version {row['version']}, {row['started_at']:%Y-%m-%d %H:%M:%S} UTC,"
        f" {row['seconds']:.3f} s, {tries}",
        *([f"no usable answer: {row['error']}"] if row["error"] else []),
    ]


def _model_name(call: ShownCall) -> str:
    return str(_members(call.request).get("model", call.row["model_id"]))


def answer_lines(call: ShownCall) -> list[str]:
    """What came back: the response, the tokens that it took, the picture or the vector, what the backend told."""
    row = call.row
    lines = response_lines(call.response)
    if row["prompt_tokens"] is not None:
        lines.insert(0, f"tokens: {row['prompt_tokens']} read, {row['completion_tokens']} written")
    if call.picture is not None:
        lines.append(f"picture: {row['image_sha256']}, {len(call.picture)} bytes")
    if call.vector is not None:
        first = ", ".join(f"{number:.4f}" for number in call.vector[:NUMBERS])
        lines.append(f"vector: {len(call.vector)} numbers: {first}{', …' if len(call.vector) > NUMBERS else ''}")
    if call.backend is not None:
        lines += _fact("backend", call.backend)
    return lines


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
            return [f"{INDENT}[picture {sha256}{', without its marks' if part.get('bare') else ''}]"]
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
