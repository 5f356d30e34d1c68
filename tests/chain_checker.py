"""Checks the hash chain of a lake by README.md, "The hash chain", alone: its words, and its table of the columns."""

import hashlib
import json
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet
from rfc8785 import dumps

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
TABLES = {name: [part.split() for part in row] for name, *row in re.findall(r"\| `(\w+)` \| (.+) \| (.+) \|", README)}


def hash_of(value: Any) -> str:
    return hashlib.sha256(value if isinstance(value, bytes | pyarrow.Buffer) else dumps(value)).hexdigest()


def unseal(path: Path, name: str | None = None) -> Any:
    sealed = json.loads(path.read_bytes())
    assert hash_of(sealed["body"]) == sealed["sha256"] == (name or sealed["sha256"]), f"{path} is not as it was sealed"
    return sealed["body"]


def hash_tables_by_package(home: Path) -> dict[str, dict[str, str]]:
    hashes = {x["name"]: dict[str, str]() for x in unseal(home / "manifest.json").get("covers", [{"name": home.name}])}
    for path in sorted(home.glob("*.parquet")):
        key, columns = TABLES[path.stem]
        all_rows = (row for batch in pyarrow.parquet.ParquetFile(path).iter_batches() for row in batch.to_pylist())
        for package, group in groupby(all_rows, lambda row: row.get("package", home.name)):
            rows = sorted(group, key=lambda row: [(row[name] is not None, row[name]) for name in key])
            hashes[package][path.stem] = hash_of(b"".join(dumps([row[x] for x in columns]) + b"\n" for row in rows))
            pack = str(home / ("images.pack" if package == home.name else f"{package}.pack"))
            for row in rows if path.stem in {"images", "vectors"} else []:
                data = row.get("vector") or pyarrow.memory_map(pack).read_buffer().slice(row["start"], row["length"])
                assert hash_of(data) == row[key[0]], f"{path} names {row[key[0]]}, and the bytes are others"
    return hashes


if __name__ == "__main__":
    sys.tracebacklimit, lake = 0, Path(sys.argv[1])
    before = unseal(lake / "lake.json") | {"sha256": None, "packages": []}
    places = [hash_tables_by_package(path) for path in [*lake.glob("packages/*"), *lake.glob("compact/[0-9]*")]]
    for number, body in enumerate(map(unseal, sorted(lake.glob("versions/*.json"))), start=1):
        chunks = [unseal(lake / f"versions/chunks/{name}.json", name) for name in body["chunks"]]
        listed = [entry for chunk in [*chunks, {"packages": body["tail"]}] for entry in chunk["packages"]]
        added = [entry for entry in listed if entry["version"] == number]
        link = [number, before["sha256"], [[entry["kind"], entry["content_sha256"]] for entry in added]]
        assert [body["number"], body["parent"]] == link[:2], f"version {number} is gone, or no child of the one before"
        assert listed == before["packages"] + added, f"version {number} lists others than all before and its own"
        assert body["sha256"] == hash_of(link), f"version {number} has packages that do not add up to its sha256"
        for name, sha256 in [(entry["name"], entry["content_sha256"]) for entry in added]:
            found = {hash_of(place[name]) for place in places if name in place}
            assert found == {sha256}, f"package {name} has rows that hash to {found or 'nothing'}, not to {sha256}"
        before = body | {"packages": listed}
        print(f"version {number} {body['sha256']}, {len(added)} packages")  # noqa: T201
    print("ok")  # noqa: T201
