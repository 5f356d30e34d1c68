"""Pictures and vectors of real pipelines, computed two at a time, asked again in the same company: the same bytes."""

import json

import pytest

from flows.asked import BuildOptions
from flows.regenerate.choosing import RegenerateOptions
from flows.regenerate.regenerating import regenerate_lake_at
from flows.settings import FILE
from flows.studio import Studio
from storage.lake import Lake
from storage.records import CallRow
from tests.flows.casts import fake_lake, grow
from tests.torch_adapters.tiny_open_clip import write_tiny_clip
from tests.torch_adapters.tiny_pipelines import make_tiny_pixart

FOUR = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)
PAINTER = """\
backend = "diffusers"
model = "tiny-pixart"
dtype = "float32"
licence = "CC0-1.0"
steps = 2
guidance = 4.5
"""
ENCODER = """\
backend = "open_clip"
model = "tiny-clip"
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Four samples of stand-ins' texts, pictures by diffusers and vectors by open_clip. Nobody writes into it."""
    root = tmp_path_factory.mktemp("lake")
    lake = fake_lake(root / "lake")
    file = lake.path / FILE
    text = file.read_text()
    for table, choice in (("generation.painter", PAINTER), ("selection.encoder", ENCODER)):
        head, there, tail = text.partition(f"[{table}]")
        text = head + there + tail.replace('backend = "fake"\n', choice, 1)
    for name, folder in (
        ("tiny-pixart", make_tiny_pixart(root / "pixart")),
        ("tiny-clip", write_tiny_clip(root / "clip")),
    ):
        text += f'\n[local.{name}]\nfolder = "{folder}"\nbatch = 2\nwindow = 0.5\n'
    file.write_text(text)
    grow(lake.path, FOUR, Studio)
    return lake


def sizes(lake: Lake, purpose: str) -> set[int]:
    """The sizes of the batches in which calls were answered."""
    rows = [row for row in lake.rows(CallRow, lake.version()) if row.purpose == purpose]
    assert rows
    return {json.loads(row.backend or "{}").get("batch", 1) for row in rows}


def test_what_was_computed_in_company_is_computed_in_it_again(lake: Lake) -> None:
    assert 2 in sizes(lake, "draw")
    assert 2 in sizes(lake, "embed_text") | sizes(lake, "embed_image")
    found = regenerate_lake_at(lake.path, RegenerateOptions())
    assert [list(outcome.lines()) for outcome in found.outcomes()] == []
    assert found.is_identical and found.environments == ()
    assert sum(model.total() for model in found.models) == len(list(lake.rows(CallRow, lake.version())))


def test_one_picture_is_drawn_in_the_company_that_it_had_by_a_lake_that_draws_alone_now(lake: Lake) -> None:
    rows = [row for row in lake.rows(CallRow, lake.version()) if row.purpose == "draw"]
    row = next(row for row in rows if json.loads(row.backend or "{}")["batch"] == 2)
    file = lake.path / FILE
    before = file.read_text()
    file.write_text(before.replace("batch = 2\nwindow", "batch = 1\nwindow"))
    try:
        found = regenerate_lake_at(lake.path, RegenerateOptions(call=row.call_id))
    finally:
        file.write_text(before)
    assert found.is_identical and not found.outcomes()
    assert sum(model.total() for model in found.models) == 1
