"""The hash chain as the README describes it: columns and vectors hold, and a program that knows no more agrees."""

import ast
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.asked import BuildOptions
from flows.recorder import vector_row
from flows.topics.catalogue import TopicEntry, normalise_name, topic_id
from models.picture import ALGORITHMIC, Picture
from storage import versions
from storage.canonical import canonical_text, content_sha256, derive_id, derive_seed
from storage.lake import Lake
from storage.packages import MANIFEST, PackageDraft, seal, table_sha256
from storage.records import TABLES, CallRow, ClaimRow, DecisionRow, ModelRow, RecipeRow, TopicRow
from tests import chain_checker
from tests.chain_checker import hash_of
from tests.flows import old_lake
from tests.flows.casts import fake_lake, grow, maintain
from tests.flows.test_reembed import OtherEncoder, move

ROOT = Path(__file__).parents[1]
CHECKER = ROOT / "tests" / "chain_checker.py"
OLD_LAKES = sorted((ROOT / "tests" / "flows" / "old_lakes").iterdir())
OURS = {"flows", "storage", "models", "dedup", "tests"}
MOST_LINES = 60
GROWN = BuildOptions(new_topics=1, samples_per_topic=2, turns=2)


def section() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("\n## The hash chain\n")[2].partition("\n## ")[0]


def read_vectors() -> list[dict[str, Any]]:
    """What the section says must come out, one JSON object each."""
    text = section().partition("```json\n")[2].partition("```")[0].strip()
    found: list[dict[str, Any]] = []
    while text:
        vector, end = json.JSONDecoder().raw_decode(text)
        found.append(vector)
        text = text[end:].lstrip()
    return found


def described(kind: str) -> list[tuple[Any, Any]]:
    """Input and outcome of the vectors of one kind."""
    found = [(vector[kind], vector["is"]) for vector in read_vectors() if kind in vector]
    assert found, f"the section has no vector of kind {kind!r}"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the checker said of a lake: its exit code, its lines, and what was wrong."""

    code: int
    lines: list[str]
    wrong: str


def check(lake: Path, *, cwd: Path) -> Said:
    """Run the checker as anybody would, apart from this process, its folder and its variables."""
    command = [sys.executable, "-I", str(CHECKER), str(lake)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    return Said(code=done.returncode, lines=done.stdout.splitlines(), wrong=done.stderr.strip())


def assert_ok(lake: Lake, *, cwd: Path) -> list[str]:
    """The checker finds every version to have the hash by which the lake knows it; returns its lines."""
    said = check(lake.path, cwd=cwd)
    assert (said.code, said.wrong) == (0, "")
    numbers = range(1, lake.version().number + 1)
    assert [line.partition(",")[0] for line in said.lines] == [
        *(f"version {number} {lake.version(number).sha256}" for number in numbers),
        "ok",
    ]
    return said.lines


# The description


def test_the_columns_of_every_table_are_those_of_the_code_and_of_the_checker() -> None:
    rows = [line.strip("| ").split(" | ") for line in section().splitlines() if line.startswith("| `")]
    listed = {name.strip("`"): [key.split(), content.split()] for name, key, content in rows}
    assert listed == {name: [list(kind.key), list(kind.columns(only_content=True))] for name, kind in TABLES.items()}
    assert listed == {name: chain_checker.TABLES[name] for name in TABLES}


@pytest.mark.parametrize("kind", ["H", "package", "version"])
def test_canonical_values_hash_as_described(kind: str) -> None:
    for value, outcome in described(kind):
        assert content_sha256(value) == hash_of(value) == outcome


def test_canonical_json_is_as_described() -> None:
    values = [value for value, _ in described("H")]
    assert [canonical_text(value) for value in values] == [text for text, _ in described("canonical")]


def test_a_table_hashes_as_described_in_whatever_order_its_rows_lie(tmp_path: Path) -> None:
    (vector,) = (vector for vector in read_vectors() if "table" in vector)
    name, rows = vector["table"], vector["rows"]
    assert table_sha256([TABLES[name](**row) for row in rows]) == vector["is"]
    for order in (rows, rows[::-1]):
        pq.write_table(pa.Table.from_pylist(order), tmp_path / f"{name}.parquet")
        (tmp_path / MANIFEST).write_bytes(seal({}))
        assert chain_checker.hash_tables_by_package(tmp_path) == {tmp_path.name: {name: vector["is"]}}


def test_pixels_and_vectors_hash_as_described() -> None:
    for pixels, outcome in described("pixels"):
        picture = Picture.from_pixels(np.array(pixels, dtype=np.uint8), source=ALGORITHMIC, marks={})
        flat = bytes(number for row in pixels for pixel in row for number in pixel)
        assert picture.pixel_sha256 == hash_of(flat) == outcome
    for vector, outcome in described("vector"):
        row = vector_row("any", np.array(vector, dtype=np.float32))
        assert row.vector_sha256 == hash_of(struct.pack(f"<{len(vector)}f", *vector)) == outcome


def test_ids_and_seeds_come_out_as_described() -> None:
    for parts, outcome in described("id"):
        assert derive_id(*parts) == hash_of(parts)[:32] == outcome
    for parts, outcome in described("seed"):
        assert derive_seed(*parts[1:]) == int(hash_of(parts)[:8], 16) % 2**31 == outcome


def test_a_lake_of_the_vectors_has_their_versions(tmp_path: Path) -> None:
    (vector,) = (vector for vector in read_vectors() if "table" in vector)
    rows = [TABLES[vector["table"]](**row) for row in vector["rows"]]
    lake = Lake.create(tmp_path / "lake", seed=7, files={})
    for (number, _, ((kind, package),)), outcome in described("version"):
        version = lake.commit([PackageDraft(kind, rows)])
        assert (version.number, version.added()[0].content_sha256, version.sha256) == (number, package, outcome)
    assert_ok(lake, cwd=tmp_path)


def test_ids_seeds_and_keys_of_a_lake_are_made_as_described(tmp_path: Path) -> None:
    lake = old_lake.make(tmp_path / "lake", compacted=False)
    head = lake.version()

    def identify(*parts: str | int | None) -> str:
        return hash_of(list(parts))[:32]

    for topic in lake.rows(TopicRow, head):
        entry = TopicEntry(name=topic.name, category=topic.category, domain=topic.domain)
        assert topic.topic_id == topic_id(entry)
        assert topic.topic_id == identify("topic", *map(normalise_name, (topic.domain, topic.category, topic.name)))
    recipes = {recipe.recipe_id: recipe for recipe in lake.rows(RecipeRow, head)}
    for recipe in recipes.values():
        assert recipe.recipe_id == identify("recipe", recipe.generation, recipe.selection)
        assert recipe.generation_id == identify("generation", recipe.generation)
    for model in lake.rows(ModelRow, head):
        assert model.model_id == identify("model", model.name, model.revision)
    slots = {}
    for claim in lake.rows(ClaimRow, head):
        assert claim.slot_id == identify("slot", lake.seed, claim.topic_id, claim.slot_number)
        assert claim.sample_id == identify("sample", claim.slot_id, recipes[claim.recipe_id].generation_id)
        slots[claim.sample_id] = claim.slot_id
    seeded = 0
    for call in lake.rows(CallRow, head):
        place: list[str | int] = [call.turn, call.stage, call.round, call.purpose, call.attempt]
        assert call.call_id == identify("call", call.sample_id, *place)
        assert call.request_key == hash_of(call.request.encode()) == hash_of(json.loads(call.request))
        assert call.seed in {None, int(hash_of(["seed", slots[call.sample_id], *place])[:8], 16) % 2**31}
        seeded += call.seed is not None
    assert seeded
    brought = {
        row.decision_id: number
        for number in range(1, head.number + 1)
        for row in lake.rows(DecisionRow, lake.version(number).since(number - 1))
    }
    for decision in lake.rows(DecisionRow, head):
        number = brought[decision.decision_id]
        assert decision.decision_id == identify("decision", decision.sample_id, decision.turn, number)


# The checker


def test_the_checker_is_short_and_knows_nothing_of_the_project(tmp_path: Path) -> None:
    source = CHECKER.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    nodes = list(ast.walk(ast.parse(source)))
    named = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    named |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in named} - sys.stdlib_module_names == {"pyarrow", "rfc8785"}
    lake = fake_lake(tmp_path / "lake")
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['checker', {str(lake.path)!r}]\n"
        f"runpy.run_path({str(CHECKER)!r}, run_name='__main__')\n"
        f"assert not {OURS!r} & {{name.partition('.')[0] for name in sys.modules}}"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1:]) == (0, "", ["ok"])


def grow_twice(path: Path) -> Lake:
    lake = fake_lake(path)
    grow(path, GROWN)
    grow(path, GROWN)
    return lake


def fail_and_stop(path: Path) -> Lake:
    """Kept, duplicate and failed samples, and a run that stopped."""
    return old_lake.make(path, compacted=False)


def compact_and_keep(path: Path) -> Lake:
    maintain(lake := fail_and_stop(path))
    assert list(path.glob("compact/0*")) and list(path.glob("packages/0*"))
    return lake


def compact_and_retire(path: Path) -> Lake:
    maintain(lake := grow_twice(path), days=0)
    assert list(path.glob("compact/0*")) and not list(path.glob("packages/0*"))
    grow(path, GROWN)
    return lake


def move_to_another_encoder(path: Path) -> Lake:
    lake = grow_twice(path)
    assert move(lake, OtherEncoder(alike=True))
    return lake


@pytest.mark.parametrize(
    "make", [grow_twice, fail_and_stop, compact_and_keep, compact_and_retire, move_to_another_encoder]
)
def test_the_checker_agrees_with_every_history(make: Callable[[Path], Lake], tmp_path: Path) -> None:
    assert_ok(make(tmp_path / "lake"), cwd=tmp_path)


@pytest.mark.parametrize("archive", OLD_LAKES, ids=lambda path: path.stem)
def test_the_checker_agrees_with_lakes_of_old_formats(archive: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(archive, tmp_path)
    lines = assert_ok(Lake.open(tmp_path / "lake"), cwd=tmp_path)
    theirs = json.loads((tmp_path / "contents.json").read_text())["versions"]
    assert [line.split()[2].rstrip(",") for line in lines[:-1]] == theirs


def test_two_equal_builds_have_one_chain_also_where_one_is_compacted(tmp_path: Path) -> None:
    one, two = (grow_twice(tmp_path / name) for name in ("one", "two"))
    maintain(two, days=0)
    assert assert_ok(one, cwd=tmp_path) == assert_ok(two, cwd=tmp_path)


def test_the_checker_reads_chunks_and_says_which_one_was_put_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "CHUNK", 3)
    lake = grow_twice(tmp_path / "lake")
    assert_ok(lake, cwd=tmp_path)
    one, two = sorted(lake.path.glob("versions/chunks/*.json"))[:2]
    shutil.copy(one, two)
    said = check(lake.path, cwd=tmp_path)
    assert (said.code, said.wrong) == (1, f"AssertionError: {two} is not as it was sealed")
