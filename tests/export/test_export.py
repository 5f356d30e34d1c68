"""Exports: what is in them, that it is the same each time and after each kill, and what is refused."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import lancedb
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.export.asked import LAYOUTS, ExportOptions
from flows.export.choosing import OTHER_LICENCES, choose, group_topics
from flows.export.exporting import export_lake_at
from storage.errors import LakeBusy, NoSuchThing
from storage.lake import Lake
from storage.lock import hold
from storage.packages import unseal
from storage.query import open_history, query
from tests.export.conftest import Export
from tests.flows.casts import fake_lake, grow

SMALL = 3_000
"""Bytes of a shard, so that there are several."""
SHAPES = [(form, layout) for form, layouts in LAYOUTS.items() for layout in layouts]
KEPT = "SELECT sample_id FROM samples WHERE outcome = 'kept' ORDER BY sample_id"
TEXTS = "SELECT sample_id, turn, question, answer, caption, image_sha256 FROM turns SEMI JOIN ({}) USING (sample_id)"


def files_of(folder: Path) -> dict[str, str]:
    """The hash of each file, by name."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def told(folder: Path) -> dict[str, Any]:
    return dict(unseal(folder / "manifest.json"))


def turns_of(lake: Lake) -> set[tuple[object, ...]]:
    """What the lake says of the turns of kept samples."""
    return set(query(lake, TEXTS.format(KEPT)).iter_rows())


def read_parquet(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("data/*.parquet")):
        yield from pq.read_table(path).to_pylist()


def sha256_of(image: dict[str, Any]) -> str:
    return hashlib.sha256(image["bytes"]).hexdigest()


def of_messages(folder: Path) -> Iterator[tuple[object, ...]]:
    for row in read_parquet(folder):
        said = row["messages"]
        for place, image in enumerate(row["images"]):
            asked, answer = said[2 * place], said[2 * place + 1]
            assert (asked["role"], answer["role"]) == ("user", "assistant")
            assert [part["type"] for part in answer["content"]] == ["text", "image"]
            texts = asked["content"][0]["text"], answer["content"][0]["text"], row["captions"][place]
            yield row["id"], place + 1, *texts, sha256_of(image)


def of_published(folder: Path) -> Iterator[tuple[object, ...]]:
    for row in read_parquet(folder):
        for end in (1, 2):
            texts = (row[f"{name}{end}"] for name in ("human", "gpt", "caption"))
            yield row["id"], end, *texts, sha256_of(row[f"image{end}"])


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def of_llava(folder: Path) -> Iterator[tuple[object, ...]]:
    for row in lines_of(folder):
        values = [said["value"] for said in row["conversations"]]
        assert sum(value.count("<image>") for value in values) == len(row["image"])
        for place, name in enumerate(row["image"]):
            answer = values[2 * place + 1].removesuffix("\n<image>")
            sha256 = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            yield row["id"], place + 1, values[2 * place], answer, row["captions"][place], sha256


def of_openai(folder: Path) -> Iterator[tuple[object, ...]]:
    for row in lines_of(folder):
        said = row["messages"]
        for place in range(len(said) // 2):
            text, shown = said[2 * place + 1]["content"]
            sha256 = hashlib.sha256((folder / shown["image_url"]["url"]).read_bytes()).hexdigest()
            yield row["id"], place + 1, said[2 * place]["content"], text["text"], row["captions"][place], sha256


def of_pairs(folder: Path) -> Iterator[tuple[object, ...]]:
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            data = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in (name for name in data if name.endswith(".json")):
            row = json.loads(data[name])
            for place, turn in enumerate(row["turns"]):
                sha256 = hashlib.sha256(data[f"{row['id']}.{turn['image']}"]).hexdigest()
                yield row["id"], place + 1, turn["question"], turn["answer"], turn["caption"], sha256


def of_turns(folder: Path) -> Iterator[tuple[object, ...]]:
    rows = lancedb.connect(str(folder)).open_table("train").to_arrow().to_pylist()
    for row in rows:
        sha256 = hashlib.sha256(row["image"]).hexdigest()
        yield row["id"], row["turn"], row["question"], row["answer"], row["caption"], sha256


READERS = {
    "messages": of_messages,
    "published": of_published,
    "llava": of_llava,
    "openai": of_openai,
    "pairs": of_pairs,
    "turns": of_turns,
}


@pytest.mark.parametrize(("form", "layout"), SHAPES)
def test_every_form_has_every_kept_turn_and_no_other(lake: Lake, export: Export, form: str, layout: str) -> None:
    folder = export(format=form, layout=layout, shard_bytes=SMALL)
    assert set(READERS[layout](folder)) == turns_of(lake)
    manifest = told(folder)
    assert manifest["samples"] == query(lake, KEPT).height and manifest["turns"] == len(turns_of(lake))
    listed = {name: known["sha256"] for name, known in manifest["files"].items()}
    assert listed == {name: sha for name, sha in files_of(folder).items() if name not in ("README.md", "manifest.json")}


def test_all_forms_say_the_same_of_their_samples(export: Export) -> None:
    sums = {told(export(layout, format=form, layout=layout))["sum_sha256"] for form, layout in SHAPES}
    assert len(sums) == 1


@pytest.mark.parametrize(("form", "layout"), [shape for shape in SHAPES if shape[0] != "lance"])
def test_the_same_choices_give_the_same_bytes(export: Export, form: str, layout: str) -> None:
    first, second = (export(name, format=form, layout=layout, validation=0.3) for name in ("one", "two"))
    assert files_of(first) == files_of(second)


def test_smaller_exports_are_the_beginning_of_larger_ones_and_even_over_domains(lake: Lake, export: Export) -> None:
    count = query(lake, KEPT).height
    ids = [[row["id"] for row in read_parquet(export(str(size), size=size))] for size in range(1, count + 1)]
    for smaller, larger in pairwise(ids):
        assert larger[: len(smaller)] == smaller
    domains = dict(query(lake, "SELECT sample_id, domain FROM samples JOIN topics USING (topic_id)").iter_rows())
    have = Counter(domains[sample_id] for sample_id in ids[-1])
    for chosen in ids:
        counts = Counter(domains[sample_id] for sample_id in chosen)
        most = max(counts.values())
        assert all(counts[domain] >= min(most - 1, have[domain]) for domain in have)


def test_the_best_come_first_where_that_is_asked_for(export: Export) -> None:
    rows = list(read_parquet(export(order="best")))
    sums = [sum(row[name] or 0 for name in ("tcc", "icc", "iq", "its")) for row in rows]
    assert sums == sorted(sums, reverse=True) and sums[0] > sums[-1]
    least = export("least", least_score=2.0)
    assert all(row[name] >= 2.0 for row in read_parquet(least) for name in ("tcc", "icc", "iq", "its"))


def test_what_is_held_out_shares_no_topic_and_no_near_turn_and_is_the_same_for_all_sizes(lake: Lake) -> None:
    def split(size: int | None) -> pl.DataFrame:
        with open_history(lake, at=lake.version().number) as connection:
            choose(connection, ExportOptions(validation=0.4, size=size))
            chosen: pl.DataFrame = connection.sql("SELECT sample_id, topic_id, split FROM memory.chosen").pl()
        return chosen

    whole = split(None)
    assert whole.group_by("topic_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert split(6).join(whole, on=["sample_id", "topic_id", "split"], how="anti").is_empty()
    pairs = query(lake, "SELECT sample_id, kept_sample_id FROM near_misses")
    known = dict(whole.select("sample_id", "split").iter_rows())
    assert all(known[one] == known[other] for one, other in pairs.iter_rows() if {one, other} <= known.keys())


def test_about_the_share_that_is_asked_for_is_held_out_and_more_of_it_holds_the_same(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=10, samples_per_topic=2, turns=1))
    held: set[str] = set()
    for share in (0.1, 0.3, 0.5):
        export_lake_at(lake.path, tmp_path / f"{share}", ExportOptions(validation=share))
        now = {row["id"] for row in read_parquet(tmp_path / f"{share}") if row["id"]} - {
            row["id"]
            for path in (tmp_path / f"{share}").glob("data/train-*")
            for row in pq.read_table(path).to_pylist()
        }
        assert abs(len(now) - 20 * share) <= 1 and held <= now
        held = now


def test_topics_are_grouped_over_many_steps() -> None:
    pairs = [("b", "c"), ("d", "c"), ("f", "e")]
    assert group_topics("abcdef", pairs) == {"a": ["a"], "b": ["b", "c", "d"], "e": ["e", "f"]}


def test_a_branch_and_licences_confine_what_is_exported(export: Export, tmp_path: Path) -> None:
    rows = list(read_parquet(export(under="animals", licences=("Apache-2.0", "CC0-1.0"))))
    assert {row["domain"] for row in rows} == {"Animals"}
    with pytest.raises(UserError, match="no kept sample of this version"):
        export("none", licences=("Apache-2.0",))
    with pytest.raises(UserError, match="under 'Nowhere'"):
        export("nowhere", under="Nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "what was refused leaves nothing behind"


@pytest.mark.parametrize("licences", ["{}", None])
def test_a_sample_whose_licences_are_not_known_is_not_taken_where_some_are_asked_for(licences: str | None) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """CREATE TABLE memory.candidates AS SELECT * FROM
            (VALUES ('known', '{"writer": "MIT", "painter": "CC0-1.0"}', ['CC0-1.0']), ('other', '{"critic": "X"}', []))
            AS given(sample_id, licences, pictured)"""
        )
        connection.execute("INSERT INTO memory.candidates VALUES ('unknown', ?, ['MIT'])", [licences])
        connection.execute(OTHER_LICENCES, {"known": ["MIT", "CC0-1.0"]})
        assert connection.execute("SELECT sample_id FROM memory.candidates").fetchall() == [("known",)]


def test_an_earlier_version_is_exported_as_it_was(lake: Lake, export: Export) -> None:
    number = next(
        number
        for number in range(1, lake.version().number)
        if query(lake, "SELECT count(*) FROM samples WHERE outcome = 'kept'", at=number).item() > 0
    )
    folder = export(version=number)
    ids = {row["id"] for row in read_parquet(folder)}
    assert ids == set(query(lake, KEPT, at=number)["sample_id"]) and told(folder)["plan"]["version"] == number


def test_pictures_are_those_that_were_drawn_and_datasets_know_them(export: Export) -> None:
    folder = export()
    (path,) = folder.glob("data/*.parquet")
    schema = pq.read_schema(path)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert set(features) == set(schema.names) and features["images"]["feature"] == {"_type": "Image"}
    row = next(read_parquet(folder))
    assert Image.open(io.BytesIO(row["images"][0]["bytes"])).size > (0, 0) and row["ai_generated"] is True


def test_an_export_that_is_there_is_left_alone_and_another_one_refused(lake: Lake, export: Export) -> None:
    folder = export(size=3)
    before = files_of(folder)
    assert not export_lake_at(lake.path, folder, ExportOptions(size=3)).is_new
    with pytest.raises(UserError, match="an export already"):
        export_lake_at(lake.path, folder, ExportOptions(size=4))
    assert files_of(folder) == before and not folder.with_name("out.part").exists()


def test_bad_input_is_refused_and_nothing_is_written(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies in the lake"):
        export_lake_at(lake.path, lake.path / "out", ExportOptions())
    with pytest.raises(UserError, match="choose among llava, openai"):
        ExportOptions(format="jsonl", layout="messages")
    with pytest.raises(NoSuchThing):
        export_lake_at(lake.path, tmp_path / "out", ExportOptions(version=99))
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="no export of ours"):
        export_lake_at(lake.path, tmp_path / "mine", ExportOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_only_one_process_is_at_a_folder(lake: Lake, tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    part.mkdir()
    with hold(part / "lock", purpose="a test", timeout=0), pytest.raises(LakeBusy, match="a test"):
        export_lake_at(lake.path, tmp_path / "out", ExportOptions())


def test_what_another_export_left_is_not_gone_on_with(lake: Lake, tmp_path: Path) -> None:
    kill_after(6, lake, tmp_path / "out", ExportOptions(shard_bytes=SMALL))
    with pytest.raises(UserError, match="left by another export"):
        export_lake_at(lake.path, tmp_path / "out", ExportOptions(size=2))


KILLED = """
import os, signal, sys
from pathlib import Path
from flows.export.asked import ExportOptions
from flows.export.exporting import export_lake_at
left = int(sys.argv[3])
def count(event, arguments):
    global left
    if event in ("open", "os.rename") and str(sys.argv[2]) in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
export_lake_at(Path(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[4]))
"""


def kill_after(steps: int, lake: Lake, out: Path, options: ExportOptions) -> bool:
    """Export in a process that is killed once it has opened or renamed so many files there; whether it came to that."""
    words = [sys.executable, "-c", KILLED, str(lake.path), str(out), str(steps), repr(options)]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode != 0


@pytest.mark.parametrize(("form", "moments"), [("parquet", (9, 40, 75, 113)), ("jsonl", (20, 150, 265))])
def test_killed_anywhere_it_ends_with_the_bytes_of_one_never_killed(
    lake: Lake, export: Export, tmp_path: Path, form: str, moments: tuple[int, ...]
) -> None:
    options = ExportOptions(format=form, validation=0.3, shard_bytes=SMALL)  # type: ignore[arg-type]
    whole = files_of(export("whole", format=form, validation=0.3, shard_bytes=SMALL))
    for steps in moments:
        out = tmp_path / f"killed-{steps}"
        assert kill_after(steps, lake, out, options), "it was over before"
        assert not out.exists() or files_of(out) == whole, "half an export looks whole"
        export_lake_at(lake.path, out, options)
        assert files_of(out) == whole
        shutil.rmtree(out)
        assert not out.with_name(f"{out.name}.part").exists()
