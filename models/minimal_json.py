"""Small values that satisfy a JSON schema, and short sentences, each chosen by a key: what stand-ins say."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from models.identity import Json


def minimal_json(schema: Json, key: str) -> Json:
    """A small value that satisfies a simple JSON schema, chosen by `key` (hex); ValueError for what is not understood.

    Knows `const`, `enum`, `anyOf`/`oneOf`, lists of types, objects, arrays, strings, numbers, booleans and null.
    Where null is allowed it is chosen for half of all keys.
    """
    if not isinstance(schema, Mapping):
        raise ValueError(f"not a schema that this stand-in understands: {schema!r}")  # noqa: TRY004
    turn = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
    if "const" in schema:
        return schema["const"]
    options = _options(schema)
    if options:
        return options[turn % len(options)]
    for word in ("anyOf", "oneOf"):
        choices = schema.get(word)
        if _is_list(choices):
            return minimal_json(choices[turn % len(choices)], key + word)
    kind = schema.get("type")
    if _is_list(kind):
        return _minimal_of(str(kind[turn % len(kind)]), schema, key)
    return _minimal_of(str(kind), schema, key)


def _options(schema: Mapping[str, Json]) -> Sequence[Json]:
    options = schema.get("enum", [])
    return options if _is_list(options) else []


def _is_list(value: Json) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _minimal_of(kind: str, schema: Mapping[str, Json], key: str) -> Json:
    if kind == "object":
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            raise ValueError(f"not a schema that this stand-in understands: {schema!r}")
        return {name: _of_field(name, each, f"{key}/{name}") for name, each in properties.items()}
    if kind == "array":
        return [
            minimal_json(schema.get("items", {"type": "null"}), f"{key}/{place}")
            for place in range(_whole(schema, "minItems", 0))
        ]
    if kind == "string":
        text = short_sentence(key)[: _whole(schema, "maxLength", 200)]
        return text.ljust(_whole(schema, "minLength", 0), ".")
    if kind in ("integer", "number"):
        least = _whole(schema, "minimum", 0)
        choices = 1 + max(0, _whole(schema, "maximum", least) - least)
        return least + int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % choices
    if kind in ("boolean", "null"):
        return None if kind == "null" else int(hashlib.sha256(key.encode()).hexdigest()[:2], 16) % 2 == 0
    raise ValueError(f"not a schema that this stand-in understands: {schema!r}")


def _of_field(name: str, schema: Json, key: str) -> Json:
    """A field of an object: `names` are as many short names as there may be, a `template` has a place for a topic."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if name == "names" and kind == "array" and isinstance(schema, Mapping):
        return [short_name(f"{key}/{place}") for place in range(_whole(schema, "maxItems", 1))]
    if name == "template" and kind == "string":
        return f"{short_request(key)} Tell me in words, and draw {{topic}} for me."
    return minimal_json(schema, key)


def _whole(schema: Mapping[str, Json], name: str, default: int) -> int:
    value = schema.get(name, default)
    return value if isinstance(value, int) else default


_SUBJECTS = (
    "red apple",
    "black cat",
    "green tree",
    "yellow boat",
    "white horse",
    "blue car",
    "brown dog",
    "pink flower",
)
_PLACES = (
    "on a table",
    "in a field",
    "by the sea",
    "in the snow",
    "in a forest",
    "on the beach",
    "in a city",
    "at night",
)


def short_sentence(key: str) -> str:
    """A short sentence that differs from key to key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    subject, place = _SUBJECTS[int(digest[0], 16) % len(_SUBJECTS)], _PLACES[int(digest[1], 16) % len(_PLACES)]
    return f"A {subject} {place}, number {int(digest[2:8], 16)}."


_THINGS = (
    *("anvils", "baskets", "candles", "drums", "engines", "feathers", "gloves", "harbours", "islands", "jars"),
    *("kettles", "ladders", "mirrors", "needles", "orchards", "pianos", "quilts", "rivers", "saddles", "towers"),
    *("umbrellas", "violins", "wagons", "yachts"),
)
_WAYS = ("in a dream", "at dawn", "from above", "in a letter", "on a stage", "after a storm", "in a riddle", "by ear")


def short_name(key: str) -> str:
    """Two things, named; they differ from most keys to most."""
    digest = hashlib.sha256(key.encode()).digest()
    first = digest[0] % len(_THINGS)
    second = (first + 1 + digest[1] % (len(_THINGS) - 1)) % len(_THINGS)
    return f"{_THINGS[first]} and {_THINGS[second]}"


def short_request(key: str) -> str:
    """A question with a place for a topic, that differs from most keys to most."""
    digest = hashlib.sha256(key.encode()).digest()
    return f"How would {_THINGS[digest[0] % len(_THINGS)]} and {{topic}} meet {_WAYS[digest[1] % len(_WAYS)]}?"
