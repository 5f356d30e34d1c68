"""Makes a small lake of the present format, to be kept as data: `python -m tests.flows.old_lake FILE.zip`.

A topic with a kept and a duplicate sample, one with two failed ones, all of them in a compact folder, and one whose
run stopped with open slots. The lake of format 2 was made by the interlake of its day, which had no compact folders.
"""

import json
import shutil
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np

from flows.asked import BuildOptions
from flows.topics.catalogue import TopicEntry
from models.chat import ChatRequest
from models.drawing import DrawRequest
from models.embedding import Embedding, EmbedRequest
from models.errors import ContentError, TerminalError
from models.fakes import FakeEncoder
from storage.compacting import compact, maintaining, retire
from storage.history import publish
from storage.lake import Lake
from storage.records import CallRow, DecisionRow, IterationRow, TurnRow
from tests.flows.casts import Troupe, fake_lake, grow

NAMES = ("barn owls", "oak trees", "'; DROP TABLE samples; -- \u202etide")
ONE_TOPIC = BuildOptions(new_topics=1, samples_per_topic=2, turns=2)


class SameEncoder(FakeEncoder):
    """Sees the same in everything."""

    async def embed(self, request: EmbedRequest) -> Embedding:
        await super().embed(request)
        return Embedding(vector=np.eye(1, self.dims, dtype=np.float32)[0])


def contents(lake: Lake) -> dict[str, object]:
    """What a reader of the lake must find in it, whoever reads it."""
    head = lake.version()
    return {
        "seed": lake.seed,
        "versions": [lake.version(number).sha256 for number in range(1, head.number + 1)],
        "topics": len(NAMES),
        "turns": sorted([row.sample_id, row.turn, row.question, row.caption] for row in lake.rows(TurnRow, head)),
        "pictures": sorted({row.image_sha256 for row in lake.rows(TurnRow, head)}),
        "rounds": sum(1 for _ in lake.rows(IterationRow, head)),
        "calls": sorted(row.call_id for row in lake.rows(CallRow, head)),
        "decisions": sorted(f"{row.decision_id} {row.outcome}" for row in lake.rows(DecisionRow, head)),
    }


def make(path: Path, *, compacted: bool) -> Lake:
    """Grow the lake; its first two builds end up in a compact folder alone, or stay packages."""
    topics = [TopicEntry(name=name, category="nature", domain="science") for name in NAMES]
    lake = fake_lake(path, topics=topics)
    grow(path, ONE_TOPIC, Troupe(encoder=SameEncoder()))
    drawn: list[str] = []

    def fail_from_second(request: DrawRequest) -> Exception | None:
        drawn.append(request.key())
        return ContentError("blank_picture", "all one colour") if len(drawn) > 4 else None

    grow(path, ONE_TOPIC, Troupe(painter_fails=fail_from_second))
    if compacted:
        with maintaining(lake):
            compact(lake, lake.version().packages)
            retire(lake, after=timedelta(0))
    asked: list[str] = []

    def stop_soon(request: ChatRequest) -> Exception | None:
        asked.append(request.key())
        return TerminalError("the server went away") if len(asked) > 12 else None

    try:
        grow(path, ONE_TOPIC, Troupe(writer_fails=stop_soon))
    except TerminalError:
        publish(lake, lake.version())
        return lake
    raise AssertionError("the third run was to stop")


def main() -> None:
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        lake = make(Path(folder) / "lake", compacted=True)
        (Path(folder) / "contents.json").write_text(json.dumps(contents(lake), indent=1))
        shutil.make_archive(str(out.with_suffix("")), "zip", folder)


if __name__ == "__main__":
    main()
