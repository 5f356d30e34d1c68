"""The embedded models asked again by the real command in another process: the same words, pixels and numbers."""

import json
from pathlib import Path

from flows.asked import BuildOptions
from flows.lakes import make_lake
from flows.settings import FILE
from flows.studio import Studio
from storage.records import CallRow
from tests.flows.casts import grow
from tests.flows.test_models_cli import interlake

ONE = BuildOptions(new_topics=1, samples_per_topic=1, turns=1)


def test_another_process_hears_the_same_from_the_embedded_models_whoever_else_asks(tmp_path: Path) -> None:
    """The calls of one sample are made one after another; they are asked again two at a time."""
    lake = make_lake(tmp_path / "lake", profile="embedded", seed=2)
    file = lake.path / FILE
    text = file.read_text().replace("question = 3", "question = 0").replace("answer = 3", "answer = 0")
    file.write_text(text.replace("image = 3", "image = 1"))
    grow(lake.path, ONE, Studio)
    calls = list(lake.rows(CallRow, lake.version()))
    assert {call.purpose for call in calls} >= {"draft", "draw", "critique", "embed_image", "embed_text"}
    code, out, err = interlake("regenerate", "--lake", lake.path, "--at-once", 2, "--json")
    told = json.loads(out)
    assert (code, err, told["environments"]) == (0, "", [])
    counted = [counts for model in told["models"] for counts in model["counts"].values()]
    assert sum(counts["identical"] for counts in counted) == len(calls)
