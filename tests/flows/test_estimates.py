"""What a plan says a build will take: from history once there is some, else from the settings; how often it holds."""

import json
import random
import statistics
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.estimate import FEWEST_SAMPLES, QUANTITIES, Bounds, Range, estimate, predict, students_t
from flows.preview import Preview, preview_build
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow
from storage.spent import BatchCost, SampleCost, Spent, read_spent
from tests.flows.casts import fake_lake, grow, maintain
from tests.flows.conftest import Interlake
from tests.flows.test_budget import bounded
from tests.flows.test_cli import picture_of

ONE_TURN = BuildOptions(new_topics=6, samples_per_topic=2, turns=1)
BOUNDS = Bounds(calls=(8, 30), pictures=(1, 4))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twelve samples in six batches."""
    lake = fake_lake(tmp_path_factory.mktemp("grown") / "lake", settings={"batch_size = 8": "batch_size = 2"})
    grow(lake.path, ONE_TURN)
    return lake


def preview(lake: Lake, *, new_topics: int = 2, samples_per_topic: int = 3, turns: int = 1) -> Preview:
    options = BuildOptions(new_topics=new_topics, samples_per_topic=samples_per_topic, turns=turns)
    return preview_build(lake.path, options)


def test_without_history_calls_and_pictures_have_the_bounds_of_the_settings(tmp_path: Path) -> None:
    found = preview(fake_lake(tmp_path / "lake"))
    told = found.estimate
    assert (told.slots, told.samples, told.batches) == (6, 0, 0)
    assert told.calls == Range(low=found.fewest_calls, high=found.most_calls, basis="settings")
    assert told.pictures == Range(low=6, high=24, basis="settings")
    assert told.prompt_tokens == told.seconds == told.bytes == Range()
    assert "bounds from the settings" in told.line()


def test_past_samples_of_the_recipe_tell_every_quantity_with_a_range(grown: Lake) -> None:
    told = preview(grown).estimate
    assert (told.slots, told.samples, told.batches) == (6, 12, 6)
    for name in QUANTITIES:
        found: Range = getattr(told, name)
        assert found.basis == "history"
        assert found.low is not None and found.expected is not None and found.high is not None
        assert 0 <= found.low <= found.expected <= found.high, name
        assert found.expected > 0, name
    calls = list(grown.rows(CallRow, grown.version()))
    assert told.calls.expected == pytest.approx(6 / 12 * len({(row.sample_id, row.request_key) for row in calls}))
    assert told.prompt_tokens.expected == pytest.approx(6 / 12 * sum(row.prompt_tokens or 0 for row in calls))
    pictures = {(row.sample_id, row.image_sha256) for row in calls if row.image_sha256}
    assert told.pictures.expected == pytest.approx(6 / 12 * len(pictures))


def test_what_was_estimated_is_what_the_next_build_takes(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    grow(lake.path, ONE_TURN)
    told = preview(lake, new_topics=3, samples_per_topic=4).estimate
    before = len(list(lake.rows(CallRow, lake.version())))
    grow(lake.path, BuildOptions(new_topics=3, samples_per_topic=4, turns=1))
    came = len(list(lake.rows(CallRow, lake.version()))) - before
    assert told.calls.low is not None and told.calls.high is not None
    assert told.calls.low <= came <= told.calls.high


def test_another_recipe_has_no_history_here(grown: Lake) -> None:
    assert preview(grown, turns=2).estimate.calls.basis == "settings"


def test_too_few_samples_are_said_to_be_too_few(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=FEWEST_SAMPLES - 1, turns=1))
    told = preview(lake).estimate
    assert told.calls.basis == "settings"
    assert f"{FEWEST_SAMPLES - 1} samples of this recipe so far" in told.line()
    assert (told.seconds.low, told.seconds.basis) == (None, "history"), "one batch tells a mean and no spread"


def test_seconds_are_those_between_the_commits_of_a_run(grown: Lake) -> None:
    generation_id = query(grown, "SELECT generation_id FROM recipes")["generation_id"][0]
    spent = read_spent(grown, grown.version(), generation_id)
    run = query(
        grown,
        "SELECT min(created_at) FILTER (version = 2) AS a, max(created_at) AS b FROM versions \
WHERE version < (SELECT max(version) FROM versions)",
    ).row(0)
    assert sum(each.seconds or 0 for each in spent.batches) == pytest.approx((run[1] - run[0]).total_seconds())
    assert [each.samples for each in spent.batches] == [2] * 6
    assert all(each.bytes for each in spent.batches)


def test_batches_with_answers_from_the_record_tell_no_seconds(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, bounded(20))
    resumed = preview(lake, new_topics=3, samples_per_topic=2)
    assert (resumed.plan.resumed, resumed.recorded_calls) == (6, 20)
    assert "20 of them are recorded" in " ".join(resumed.lines())
    grow(lake.path, bounded())
    told = preview(lake).estimate
    assert (told.samples, told.batches, told.seconds) == (6, 1, Range())


def test_retired_packages_tell_a_mean_of_bytes_alone(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    grow(lake.path, ONE_TURN)
    maintain(lake, days=0)
    told = preview(lake).estimate
    assert told.bytes.low is None and (told.bytes.expected or 0) > 0
    assert told.calls.basis == "history"


def test_nothing_to_make_takes_nothing(grown: Lake) -> None:
    told = preview(grown, new_topics=0).estimate
    assert {(getattr(told, name).low, getattr(told, name).high) for name in QUANTITIES} == {(0.0, 0.0)}


def test_the_command_prints_a_table_or_json_and_writes_nothing(interlake: Interlake, grown: Lake) -> None:
    before = picture_of(grown.path)
    words = ("plan", "--lake", grown.path, "--new-topics", 2, "--turns", 1)
    code, out, _ = interlake(*words)
    assert code == 0
    assert "estimate from 12 samples in 6 batches of this recipe" in out
    assert all(name in out for name in ("calls", "completion tokens", "pictures", "seconds", "disk", "history"))
    code, out, _ = interlake(*words, "--json")
    said = json.loads(out)["estimate"]
    assert (said["confidence"], said["slots"], said["calls"]["basis"]) == (0.95, 4, "history")
    assert set(said["bytes"]) == {"low", "expected", "high", "basis"}
    assert picture_of(grown.path) == before


# The statistics


@pytest.mark.parametrize(
    ("freedom", "exact"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (7, 2.3646), (30, 2.0423), (999, 1.9623)],
)
def test_students_t_is_that_of_the_tables(freedom: int, exact: float) -> None:
    assert students_t(freedom) == pytest.approx(exact, rel=0.003)


def test_a_range_is_the_textbook_prediction_interval() -> None:
    values = [10.0, 12.0, 14.0, 16.0, 18.0, 10.0, 12.0, 14.0, 16.0, 18.0]
    found = predict([(1, value) for value in values], 1)
    error = 2.2622 * statistics.stdev(values) * (1 + 1 / 10) ** 0.5
    assert found.expected == 14.0
    assert found.low == pytest.approx(14 - error, rel=1e-3)
    assert found.high == pytest.approx(14 + error, rel=1e-3)


@pytest.mark.parametrize("sizes", [[1] * 10, [1] * 40, [8] * 5, [2, 8, 8, 8, 3]])
def test_the_interval_holds_in_95_of_100_builds(sizes: list[int]) -> None:
    """Skewed costs, like those of samples with and without rewrites; batches of unequal sizes among them."""
    dice = random.Random(5)

    def cost(samples: int) -> float:
        return sum(10 + dice.choice((0, 0, 1, 4)) + dice.random() for _ in range(samples))

    held = 0
    for _ in range(2000):
        found = predict([(size, cost(size)) for size in sizes], 24)
        assert found.low is not None and found.high is not None
        held += found.low <= cost(24) <= found.high
    assert 0.92 <= held / 2000 <= 0.98


def test_equal_samples_leave_no_error() -> None:
    sample = SampleCost(calls=9, prompt_tokens=100, completion_tokens=10, pictures=1)
    batches = tuple(BatchCost(samples=2, seconds=4.0, bytes=1000) for _ in range(5))
    told = estimate(Spent(samples=(sample,) * 10, batches=batches, bytes_per_sample=700.0), 10, BOUNDS)
    assert told.calls == Range(low=90, expected=90, high=90, basis="history")
    assert (told.seconds.low, told.seconds.high) == (20.0, 20.0)
    assert (told.bytes.low, told.bytes.expected) == (7000.0, 7000.0)
