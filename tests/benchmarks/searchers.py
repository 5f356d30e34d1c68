"""Tools that find near-duplicates, each as `make bench-dedup` runs it: in a process of its own, what it takes measured.

A tool that can be tuned is searched with more and more effort until it finds ENOUGH of the true pairs, and that counts.
"""

import gc
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from dedup import kernel
from dedup.kept import KeptTurns
from dedup.kernel import KernelPath
from dedup.screen import Rows
from dedup.turns import TurnKey, TurnRows
from tests.benchmarks.planted import DIMS, Matrix, Pairs, Planted

ENOUGH = 0.99
BLOCK = 1 << 14
QUICK = 5.0
"""CPU-seconds: what takes more is searched once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked of a tool. `effort` of a tool that can be tuned is raised until recall is ENOUGH."""

    tool: str
    planted: Planted
    rows: int
    threshold: float
    truth: Pairs
    threads: int
    repeats: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """CPU-seconds of all threads: of building, and of a search for all queries (median). Memory in bytes."""

    tool: str
    how: str
    build: float
    search: float
    wall: float
    index: int
    resident: int
    recall: float


class Searcher(Protocol):
    """A tool that holds vectors and finds those near to queries."""

    efforts: Sequence[int]

    def index_bytes(self) -> int:
        """What the index takes, in memory or, where it need not be there, on the disk."""
        ...

    def search(self, queries: Matrix, effort: int) -> Pairs:
        """Pairs (query, row) at the threshold."""
        ...

    def name(self, effort: int) -> str:
        """How it was searched."""
        ...


def measure(task: Task) -> Measured:
    """Build, search with as much effort as is needed, and say what it took; in a fresh process."""
    queries, make = task.planted.queries(), TOOLS[task.tool]
    gc.collect()
    before, since = resident(), cpu_seconds()
    tool = make(task)
    build = cpu_seconds() - since
    for effort in tool.efforts:
        found, first = _timed(tool, queries, effort)
        recall = recall_of(found, task.truth, task.rows)
        if recall >= ENOUGH:
            break
    more = task.repeats - 1 if first[0] < QUICK else 0
    times = [first, *(_timed(tool, queries, effort)[1] for _ in range(more))]
    gc.collect()
    return Measured(
        tool=task.tool,
        how=tool.name(effort),
        build=build,
        search=statistics.median(cpu for cpu, _ in times),
        wall=statistics.median(wall for _, wall in times),
        index=tool.index_bytes(),
        resident=resident() - before,
        recall=recall,
    )


def _timed(tool: Searcher, queries: Matrix, effort: int) -> tuple[Pairs, tuple[float, float]]:
    cpu, wall = cpu_seconds(), time.perf_counter()
    found = tool.search(queries, effort)
    return found, (cpu_seconds() - cpu, time.perf_counter() - wall)


def recall_of(found: Pairs, truth: Pairs, rows: int) -> float:
    """The share of the true pairs that were found; 1 where there are none."""
    mine, theirs = (pairs[:, 0] * rows + pairs[:, 1] for pairs in (found, truth))
    return float(np.isin(theirs, mine).mean()) if len(theirs) else 1.0


def cpu_seconds() -> float:
    """Of all threads of this process and of its children, those that spin included."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def resident() -> int:
    """Bytes of this process in memory, less those of mapped files, which the system takes back when it wants them."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"RssAnon:\s+(\d+) kB", lines)
    assert found, "Linux says how much of a process is in memory"
    return int(found[1]) * 1024


def array_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of all arrays that something holds, each counted once however many views there are of it."""
    seen = seen if seen is not None else set()
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes if thing.base is None else array_bytes(thing.base, seen)
    slots = [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    items = list(thing) if isinstance(thing, list | tuple) else []
    return sum(array_bytes(each, seen) for each in [*slots, *items, *getattr(thing, "__dict__", {}).values()])


class MappedVectors:
    """A store of vectors in a mapped file, image and text being the same."""

    def __init__(self, vectors: Matrix) -> None:
        self._vectors = vectors
        self.dims: int | None = vectors.shape[1]

    def __len__(self) -> int:
        return len(self._vectors)

    def append(self, rows: TurnRows) -> None:
        raise NotImplementedError("vectors are there from the beginning")

    def fetch(self, places: Pairs) -> tuple[Matrix, Matrix]:
        found: Matrix = np.array(self._vectors[places])
        return found, found


class This:
    """KeptTurns; its search is `near`: sketches of the queries, the screen, then whole vectors."""

    efforts: Sequence[int] = (0,)

    def __init__(self, task: Task, path: KernelPath) -> None:
        self._threshold = task.threshold
        kernel.paths = lambda: [path]
        before, store = resident(), MappedVectors(task.planted.rows(task.rows))
        self._kept = KeptTurns(encoder="made up", vectors=store, threads=task.threads)
        self._kept.add_stored([TurnKey(sample_id=f"{row:016x}", turn=0) for row in range(task.rows)])
        gc.collect()
        self._names = max(0, resident() - before) / task.rows
        self._kept.sketch("image", task.threshold)

    def search(self, queries: Matrix, effort: int) -> Pairs:
        del effort
        rows = Rows.of(queries)
        new, parts = TurnRows(images=rows, texts=rows), []
        for span in self._kept.spans(len(queries), BLOCK):
            found = self._kept.near("image", new, self._threshold, span, BLOCK * len(queries))
            assert found is not None, "there is room for every pair"
            parts.append(found)
        return np.concatenate(parts)

    def index_bytes(self) -> int:
        sketches = self._kept.sketches("image")
        return array_bytes(sketches) if sketches else len(self._kept) * DIMS * 4

    def name(self, effort: int) -> str:
        del effort
        sketches = self._kept.sketches("image")
        how = f"{sketches.basis.head} + {sketches.basis.tail} dims" if sketches else "whole vectors"
        return f"{how}; {self._names:.0f} B of names"


class Gemm:
    """numpy: products with blocks of vectors in memory."""

    efforts: Sequence[int] = (0,)

    def __init__(self, task: Task) -> None:
        self._threshold = task.threshold
        self._vectors = np.array(task.planted.rows(task.rows))

    def search(self, queries: Matrix, effort: int) -> Pairs:
        del effort
        parts: list[Pairs] = []
        for first in range(0, len(self._vectors), BLOCK):
            close = queries @ self._vectors[first : first + BLOCK].T >= self._threshold
            parts.append(np.argwhere(close) + np.array([0, first]))
        return np.concatenate(parts)

    def index_bytes(self) -> int:
        return self._vectors.nbytes

    def name(self, effort: int) -> str:
        del effort
        return f"float32, blocks of {BLOCK:,}"


class Faiss:
    """faiss: Flat and IVF by range search at the threshold, HNSW by the nearest few."""

    efforts: Sequence[int] = (0,)

    def __init__(self, task: Task) -> None:
        import faiss

        faiss.omp_set_num_threads(task.threads)
        self._threshold, self._kind = task.threshold, task.tool.removeprefix("faiss-")
        self._most = most_of_a_query(task)
        rows = task.planted.rows(task.rows)
        if self._kind == "flat":
            self._index = faiss.IndexFlatIP(DIMS)
        elif self._kind == "ivf":
            lists = 2 ** round(np.log2(4 * np.sqrt(task.rows)))
            self._index = faiss.index_factory(DIMS, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
            self._index.cp.niter = 6
            some = np.linspace(0, task.rows - 1, min(task.rows, 40 * lists)).astype(np.int64)
            self._index.train(np.array(rows[some]))
            self.efforts = [2**power for power in range(int(np.log2(lists)) + 1)]
        else:
            self._index = faiss.IndexHNSWFlat(DIMS, 32, faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction = 100
            self.efforts = [2**power for power in range(4, 12)]
        for first in range(0, task.rows, BLOCK):
            self._index.add(np.array(rows[first : first + BLOCK]))

    def search(self, queries: Matrix, effort: int) -> Pairs:
        if self._kind == "hnsw":
            self._index.hnsw.efSearch = effort
            scores, places = self._index.search(queries, self._most)
            asked = np.repeat(np.arange(len(queries)), self._most)
            near = scores.ravel() >= self._threshold
            return np.stack([asked[near], places.ravel()[near]], axis=1)
        if self._kind == "ivf":
            self._index.nprobe = effort
        ends, _, places = self._index.range_search(queries, self._threshold)
        return np.stack([np.repeat(np.arange(len(queries)), np.diff(ends.astype(np.int64))), places], axis=1)

    def index_bytes(self) -> int:
        """As it would be written down, which is what it holds."""
        import faiss

        return len(faiss.serialize_index(self._index)) if self._index.ntotal <= 200_000 else self._reckoned()

    def _reckoned(self) -> int:
        """Vectors, and the number of each where there are lists."""
        return int(self._index.ntotal) * (DIMS * 4 + (8 if self._kind == "ivf" else 0))

    def name(self, effort: int) -> str:
        if self._kind == "ivf":
            return f"{self._index.nlist:,} lists, nprobe {effort}"
        return f"M 32, efSearch {effort}" if self._kind == "hnsw" else "range_search"


class Lance:
    """LanceDB: without an index, or with IVF_HNSW_SQ and distances of the nearest few reckoned anew."""

    efforts: Sequence[int] = (0,)

    def __init__(self, task: Task) -> None:
        import lancedb
        import lancedb.index
        import pyarrow as pa

        self._threshold, self._folder = task.threshold, task.folder / f"{task.tool}-{task.rows}"
        self._rows, self._indexed, self._most = task.rows, task.tool == "lance-hnsw", most_of_a_query(task)
        rows = task.planted.rows(task.rows)
        schema = pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), DIMS))])

        def batches() -> Iterable[Any]:
            for first in range(0, task.rows, BLOCK):
                block = np.array(rows[first : first + BLOCK])
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), DIMS)
                yield pa.RecordBatch.from_arrays(
                    [pa.array(np.arange(first, first + len(block))), vectors], schema=schema
                )

        self._table: Any = lancedb.connect(self._folder).create_table("turns", batches(), schema=schema)
        if self._indexed:
            config = lancedb.index.HnswSq(distance_type="cosine", num_partitions=1)
            self._table.create_index("vector", config=config)
            self.efforts = [2**power for power in range(4, 12)]

    def search(self, queries: Matrix, effort: int) -> Pairs:
        import pyarrow.compute as pc

        asked = (
            self._table.search(queries, vector_column_name="vector")
            .distance_type("cosine")
            .select(["row", "_distance"])
        )
        farthest = float(np.nextafter(np.float32(1 - self._threshold), np.float32(1)))
        if self._indexed:  # a range would be asked of the coarse distances, before they are reckoned anew
            found = asked.nprobes(1).ef(effort).refine_factor(2).limit(min(self._most, effort // 2)).to_arrow()
            found = found.filter(pc.field("_distance") <= farthest)
        else:
            found = asked.distance_range(upper_bound=farthest).bypass_vector_index().limit(self._most).to_arrow()
        return np.stack([found["query_index"].to_numpy().astype(np.int64), found["row"].to_numpy()], axis=1)

    def index_bytes(self) -> int:
        """On the disk: the index, or the vectors where there is none."""
        part = "*/_indices" if self._indexed else "*/data"
        return sum(file.stat().st_size for top in self._folder.glob(part) for file in top.rglob("*") if file.is_file())

    def name(self, effort: int) -> str:
        return f"IVF_HNSW_SQ, ef {effort}, refined" if self._indexed else "no index"


def most_of_a_query(task: Task) -> int:
    """As many true pairs as one query has, which a tool that wants to be told a number is told."""
    return max(1, int(np.bincount(task.truth[:, 0], minlength=1).max(initial=0)))


Make: TypeAlias = Callable[[Task], Searcher]
TOOLS: dict[str, Make] = {
    "this-vnni": lambda task: This(task, "vnni"),
    "this-avx2": lambda task: This(task, "avx2"),
    "this-numpy": lambda task: This(task, "numpy"),
    "gemm": Gemm,
    "faiss-flat": Faiss,
    "faiss-ivf": Faiss,
    "faiss-hnsw": Faiss,
    "lance-flat": Lance,
    "lance-hnsw": Lance,
}
SMALL_ONLY = ("faiss-hnsw", "lance-hnsw")
"""Whose index takes too long to build for a million."""
ISOTROPIC = ("this-vnni", "this-avx2", "this-numpy", "gemm")


def tools_here(wanted: Iterable[str]) -> list[str]:
    """Those of some tools that can be run here."""
    return [name for name in wanted if not name.startswith("this-") or name.removeprefix("this-") in kernel.paths()]


def processor() -> str:
    """Model and what it can do of what the kernel wants."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    parts = [line.partition(":") for line in text.splitlines()]
    lines = {name.strip(): value.strip() for name, _, value in parts}
    flags = lines.get("flags", "").split()
    names = {"AVX2": "avx2", "VNNI": "avx512_vnni"}
    has = [f"{name}: {'yes' if flag in flags else 'no'}" for name, flag in names.items()]
    return f"{lines.get('model name', 'an unknown processor')} ({', '.join(has)})"
