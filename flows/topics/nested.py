"""Topics from JSON: flat lists, headings with what belongs under them, trees of objects. Knows nothing of files.

    ["fox", {"name": "oak", "category": "Trees", "domain": "Plants"}]      flat
    {"Animals": {"Mammals": ["fox"]}, "Trees": ["oak"]}                    headings: domain and category, or a category
    [{"name": "Animals", "children": [{"name": "Mammals", "children": ["fox"]}]}]                    a tree
    [{"domain": "Animals", "category": "Mammals", "topics": ["fox"]}]                                 a tree by columns

One heading is a category, two are domain and category; what is deeper is joined into the category with " / ". A key of
CHILDREN holds what belongs to what stands above it, and is no heading itself, so {"topics": [...]} is a flat list.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from flows.topics.rows import Column, Columns, RawRow, Refused, UnknownColumn, Unusable, column_of, shown, text_lines
from models.identity import Json

CHILDREN = frozenset({"children", "topics", "items", "names", "categories", "subcategories", "domains", "data"})
MAX_DEPTH = 32
PATH_ORDER: tuple[Column, ...] = ("domain", "category", "subcategory", "name")


def read_json(text: str, columns: Columns) -> Iterator[RawRow | Refused]:
    """The topics of a JSON text; Unusable for what is no JSON, holds neither array nor object, or has unknown keys."""
    if not text.strip():
        return iter(())
    value = _parse(text, "")
    if not isinstance(value, list | dict):
        raise Unusable(f"the file holds {_json_type(value)}", "make it an array of topics")
    return _Tree(columns).walk(value, (), "")


def read_json_lines(text: str, columns: Columns) -> Iterator[RawRow | Refused]:
    """The topics of lines that are each a JSON string or object; a line that is no JSON is refused."""
    tree = _Tree(columns)
    for place, line in text_lines(text):
        try:
            value = _parse(line, place)
        except Unusable as error:
            yield Refused.of(error, place=place, text=line.strip())
            continue
        yield from tree.item(value, (), place)


class _Tree:
    """Walks through what JSON holds; `path` are the headings above, `place` says where that is."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def walk(self, value: Json, path: tuple[str, ...], place: str, depth: int = 0) -> Iterator[RawRow | Refused]:
        """What belongs under headings: an array of topics, or an object of further headings."""
        if depth > MAX_DEPTH:
            yield _refuse(value, place, "nested too deeply", f"nest at most {MAX_DEPTH} levels")
        elif isinstance(value, list):
            for number, item in enumerate(value, 1):
                yield from self.item(item, path, f"{place}{place and ', '}item {number}", depth)
        elif isinstance(value, dict):
            yield from self._headings(value, path, place, depth)
        else:
            yield _refuse(value, place, f"{_json_type(value)} where topics should be", "write an array of topics there")

    def item(self, value: Json, path: tuple[str, ...], place: str, depth: int = 0) -> Iterator[RawRow | Refused]:
        """One member of an array: a topic, or an object that holds more of them."""
        if isinstance(value, str):
            yield RawRow.under(place, value, path)
        elif not isinstance(value, dict):
            problem = f"{_json_type(value)} where a topic should be"
            yield _refuse(value, place, problem, "write a string or an object with a name")
        elif _is_topic(value):
            yield self._topic(value, path, place)
        else:
            yield from self.walk(value, path, place, depth)

    def _headings(
        self, value: Mapping[str, Json], path: tuple[str, ...], place: str, depth: int
    ) -> Iterator[RawRow | Refused]:
        """An object with children under its own name or path, or one whose keys are the headings."""
        children = {key for key in value if _is_children(key, value[key])}
        own = _own_path(value, children) if children else ()
        if own:
            for key in value:
                if key not in children and column_of(key) is None:
                    self._columns.leave_out(key, place)
        for key, below in value.items():
            if own and key not in children:
                continue
            under = (*path, *own) if key in children else (*path, key)
            yield from self.walk(below, under, f"{place}{place and ', '}{shown(key)}", depth + 1)

    def _topic(self, value: Mapping[str, Json], path: tuple[str, ...], place: str) -> RawRow | Refused:
        keys = list(value)
        try:
            named = self._columns.name(keys, place=place)
        except UnknownColumn:
            raise
        except Unusable as error:
            return _refuse(value, place, error.problem, error.remedy)
        texts: dict[Column, str] = {}
        for column, position in named.items():
            text = value[keys[position]]
            if not isinstance(text, str) and (text is not None or column == "name"):
                return _refuse(value, place, f"the {column} is {_json_type(text)}", "write it as a string")
            texts[column] = text or ""
        return RawRow.of_columns(place, texts, path)


def _own_path(value: Mapping[str, Json], children: Collection[str]) -> tuple[str, ...]:
    """What an object that has children says of itself, the widest first; nothing when it says no text."""
    said = {column: value[key] for key in value if key not in children and (column := column_of(key))}
    return tuple(text for column in PATH_ORDER if isinstance(text := said.get(column), str) and text.strip())


def _is_topic(value: Mapping[str, Json]) -> bool:
    """Whether an object is a topic: it has a name, or nothing but columns, and none of them holds more of its kind."""
    if any(
        isinstance(inner, list | dict) and (column_of(key) or _is_children(key, inner)) for key, inner in value.items()
    ):
        return False
    known = [column_of(key) for key in value]
    return "name" in known or all(known)


def _is_children(key: str, value: Json) -> bool:
    return key.strip().casefold() in CHILDREN and isinstance(value, list | dict)


def _refuse(value: Json, place: str, problem: str, remedy: str) -> Refused:
    return Refused.of(Unusable(problem, remedy), place=place, text=_begin(value))


def _begin(value: Json) -> str:
    """How a value begins, without writing all of a large one down."""
    if isinstance(value, list | dict):
        return f"{_json_type(value)} of {len(value):,}"
    return json.dumps(value)[:80]


def _parse(text: str, place: str) -> Json:
    try:
        value: Json = json.loads(text, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        where = place or f"line {error.lineno}"
        problem = f"not JSON ({error.msg} at column {error.colno})"
        raise Unusable(problem, "correct the syntax there", place=where) from error
    except RecursionError as error:
        raise Unusable("the JSON is nested too deeply", "make it a flat array of topics", place=place) from error
    except ValueError as error:
        raise Unusable(f"not usable JSON ({error})", "correct it there", place=place) from error
    return value


def _unrepeated(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object whose keys are unique; ValueError for others, which JSON readers take differently."""
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has the key {shown(twice)} more than once")
    return record


def _json_type(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case dict():
            return "an object"
        case _:
            return "an array"
