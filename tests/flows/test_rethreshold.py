"""Other thresholds: the lake that was decided anew is the lake that was built with them, and nothing else changes."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.ancestry import read_ancestry
from flows.asked import BuildOptions
from flows.errors import UserError
from flows.lakes import choose_encoder
from flows.opening import open_build
from flows.reembedding import LOCK
from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.rerunning.choosing import Choice
from flows.rethresholding import SHOWN, AskedThresholds, Rethresholded, preview_rethreshold, rethreshold
from flows.settings import FILE, read_settings
from storage.errors import LakeBusy
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.lock import hold
from storage.query import query
from tests.flows.casts import GradedEncoder, Troupe, assert_fsck_finds_nothing, fake_lake, grow, maintain
from tests.flows.conftest import Interlake
from tests.flows.eventful_lake import change_settings, make_again

GROWN = (
    BuildOptions(new_topics=5, samples_per_topic=2, turns=2),
    BuildOptions(new_topics=3, samples_per_topic=2, turns=2),
)
BASE = AskedThresholds(image=0.75, text=0.6)
"""At these some samples are dropped, and single turns of others are flagged."""
OTHERS = (
    AskedThresholds(image=0.7, text=0.45),
    AskedThresholds(image=0.9, text=0.9),
    AskedThresholds(image=0.75, policy="image"),
    AskedThresholds(image=0.99, text=0.7, policy="either"),
)
NONE_SAME = AskedThresholds(image=1.0, text=1.0)


def make(path: Path, asked: AskedThresholds) -> Lake:
    """A lake of two builds with these thresholds."""
    lake = fake_lake(path, settings=lines(asked))
    for options in GROWN:
        grow_on(lake, options)
    return lake


def grow_on(lake: Lake, options: BuildOptions) -> None:
    grow(lake.path, options, Troupe(encoder=GradedEncoder()))


def lines(asked: AskedThresholds) -> dict[str, str]:
    """Lines of the settings of the profile fake, and what stands there for these thresholds."""
    return {
        'policy = "both"': f'policy = "{asked.policy or "both"}"',
        "image = 0.95": f"image = {asked.image or BASE.image}",
        "text = 0.85": f"text = {asked.text or BASE.text}",
    }


def standing(lake: Lake) -> dict[str, list[tuple[object, ...]]]:
    """What is decided: outcomes, flags and the evidence that holds; and the turns that are shown."""
    holding = """
        SELECT duplicates.* EXCLUDE (version, decision_id) FROM duplicates JOIN (
            SELECT arg_max(decision_id, (version, line)) AS decision_id FROM decisions WHERE turn IS NOT NULL
            GROUP BY sample_id, turn
        ) USING (decision_id) ORDER BY ALL"""
    shown = sorted((turn.sample_id, turn.turn, turn.image.tobytes()) for turn in kept_vectors(lake, lake.version()))
    return {
        "samples": query(lake, "SELECT sample_id, outcome, stage, reason FROM samples ORDER BY ALL").rows(),
        "evidence": query(lake, holding).rows(),
        "shown": [*shown],
    }


def files(lake: Lake, *, without_locks: bool = False) -> dict[str, bytes]:
    paths = [path for path in sorted(lake.path.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if not (without_locks and path.name.endswith("lock"))}


def applied(lake: Lake, asked: AskedThresholds) -> Rethresholded:
    done = rethreshold(lake.path, asked)
    assert done.version == lake.version().number
    return done


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make(tmp_path_factory.mktemp("base") / "lake", BASE)


@pytest.fixture
def lake(grown: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(grown.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


@pytest.mark.parametrize("asked", OTHERS, ids=str)
def test_a_lake_decided_anew_is_the_lake_that_was_built_so_and_can_be_put_back(
    lake: Lake, tmp_path: Path, asked: AskedThresholds
) -> None:
    before = standing(lake)
    applied(lake, asked)
    after = standing(lake)
    assert after != before
    assert after == standing(make(tmp_path / "fresh", asked))
    assert_fsck_finds_nothing(lake)
    applied(lake, replace(BASE, policy="both"))
    assert standing(lake) == before
    assert replay_lake_at(lake.path, ReplayOptions()).is_identical
    assert_fsck_finds_nothing(lake)


def test_the_lake_has_what_these_tests_are_about(lake: Lake) -> None:
    counts = dict(query(lake, "SELECT outcome, count(*) FROM samples GROUP BY ALL").iter_rows())
    assert counts["kept"] >= 5 and counts["duplicate"] >= 2
    flagged = "SELECT count(*) FROM duplicates JOIN samples USING (sample_id) WHERE outcome = 'kept'"
    assert query(lake, flagged).item() >= 2


def test_a_preview_changes_no_byte_and_foresees_what_is_done(lake: Lake) -> None:
    before = files(lake)
    outlook = preview_rethreshold(lake.path, NONE_SAME)
    assert files(lake) == before
    assert (outlook.version, outlook.is_due, outlook.settings_are_written) == (None, True, False)
    assert outlook.shifts.back.count == outlook.duplicate_before == outlook.kept - outlook.kept_before
    assert outlook.shifts.freed.count == outlook.flagged_before
    shown = outlook.shifts.back.examples[0]
    recorded = query(lake, f"SELECT * FROM duplicates WHERE sample_id = '{shown.sample_id}' AND turn = {shown.turn}")
    assert asdict(shown).items() <= recorded.row(0, named=True).items()
    done = applied(lake, NONE_SAME)
    assert done == replace(outlook, version=done.version, settings_are_written=True)


def test_it_is_one_version_with_its_run_and_asks_no_model(lake: Lake) -> None:
    head = lake.version().number
    applied(lake, NONE_SAME)
    assert lake.version().number == head + 1
    (run,) = query(lake, "SELECT * FROM runs WHERE kind = 'rethreshold'").iter_rows(named=True)
    assert (run["state"], run["planned"], run["version"]) == ("finished", 0, head + 1)
    selection = query(lake, f"SELECT selection FROM recipes WHERE recipe_id = '{run['recipe_id']}'").item()
    assert json.loads(selection)["settings"]["duplicates"] == {"image": 1.0, "policy": "both", "text": 1.0}
    for table in ("calls", "embeddings", "turns"):
        assert query(lake, f"SELECT count(*) FROM {table} WHERE version > {head}").item() == 0


def test_the_settings_keep_their_comments_and_the_next_build_decides_by_them(lake: Lake) -> None:
    file = lake.path / FILE
    before = file.read_text()
    applied(lake, NONE_SAME)
    assert file.read_text() == before.replace("image = 0.75  ", "image = 1.0  ").replace("text = 0.6\n", "text = 1.0\n")
    grow_on(lake, GROWN[1])
    assert query(lake, "SELECT DISTINCT outcome FROM samples").rows() == [("kept",)]
    assert_fsck_finds_nothing(lake)


def test_a_process_killed_before_it_wrote_the_settings_is_told_of_and_finished_by_the_same_command(
    lake: Lake, interlake: Interlake
) -> None:
    file = lake.path / FILE
    before = file.read_text()
    head = applied(lake, NONE_SAME).version
    after = file.read_text()
    file.write_text(before)
    assert_fsck_finds_nothing(lake)
    asked = ("dedup", "rethreshold", "--lake", lake.path, "--image", 1, "--text", 1)
    code, out, _ = interlake(*asked)
    assert code == 0
    assert "interlake.toml names others than the lake was last decided by: pictures 0.75, captions 0.6" in out
    assert "no sample changes" in out
    done = rethreshold(lake.path, NONE_SAME)
    assert (done.version, done.settings_are_written, done.is_due) == (None, True, False)
    assert (lake.version().number, file.read_text()) == (head, after)


def test_a_lake_decided_by_several_thresholds_is_decided_by_those_of_its_settings(
    lake: Lake, interlake: Interlake, tmp_path: Path
) -> None:
    change_settings(lake.path, "image = 0.75", "image = 0.9")
    grow_on(lake, GROWN[1])
    outlook = preview_rethreshold(lake.path, AskedThresholds())
    assert [each.image for each in outlook.decided_by] == [0.9, 0.75]
    code, out, _ = interlake("dedup", "rethreshold", "--lake", lake.path)
    assert code == 0
    assert "were decided by several thresholds" in out
    applied(lake, AskedThresholds())
    other = make(tmp_path / "other", AskedThresholds(image=0.9))
    grow_on(other, GROWN[1])
    assert standing(lake) == standing(other)
    assert not preview_rethreshold(lake.path, AskedThresholds()).is_due


def test_a_build_at_work_goes_on_by_its_thresholds_and_the_same_command_brings_its_samples_in_line(
    tmp_path: Path,
) -> None:
    lake = fake_lake(tmp_path / "lake", settings=lines(BASE))
    with open_build(lake.path, GROWN[0], studio=Troupe(encoder=GradedEncoder())) as run:
        for number in range(len(run.batches)):
            run.make(number)
            run.commit(number)
            if number == 0:
                applied(lake, OTHERS[0])
    assert [each.image for each in preview_rethreshold(lake.path, OTHERS[0]).decided_by] == [0.75, 0.7]
    assert_fsck_finds_nothing(lake)
    applied(lake, OTHERS[0])
    other = fake_lake(tmp_path / "other", settings=lines(OTHERS[0]))
    grow_on(other, GROWN[0])
    assert standing(lake) == standing(other)
    assert_fsck_finds_nothing(lake)
    assert replay_lake_at(lake.path, ReplayOptions()).is_identical


def test_what_a_rerun_retired_stays_retired_and_samples_of_one_slot_repeat_nobody_of_it(lake: Lake) -> None:
    change_settings(lake.path, "image = 3\n", "image = 2\n")
    make_again(lake.path, Choice(outcomes=("kept",)), Troupe(encoder=GradedEncoder()))
    retired = "SELECT sample_id FROM samples WHERE outcome = 'rejected' ORDER BY ALL"
    before = query(lake, retired).rows()
    assert before
    for asked in (NONE_SAME, OTHERS[0]):
        applied(lake, asked)
        assert query(lake, retired).rows() == before
        within_slot = """
            SELECT count(*) FROM duplicates JOIN stored.samples a USING (sample_id)
            JOIN stored.samples b ON b.sample_id = kept_sample_id WHERE a.slot_id = b.slot_id"""
        assert query(lake, within_slot).item() == 0
        assert_fsck_finds_nothing(lake)
    assert replay_lake_at(lake.path, ReplayOptions()).is_identical


def test_packages_that_were_put_together_are_read_as_well(lake: Lake, grown: Lake) -> None:
    maintain(lake, days=0)
    expected = replace(preview_rethreshold(grown.path, OTHERS[0]), version=lake.version().number + 1)
    assert applied(lake, OTHERS[0]) == replace(expected, settings_are_written=True)


def test_a_lake_of_another_encoder_than_the_settings_name_is_refused(lake: Lake, interlake: Interlake) -> None:
    choose_encoder(lake.path, "descriptor")
    before = files(lake, without_locks=True)
    code, out, err = interlake("dedup", "rethreshold", "--lake", lake.path, "--image", 0.5)
    assert (code, out) == (2, "")
    assert "thresholds belong to an encoder" in err and err.count("\n") == 1
    with pytest.raises(UserError, match="'interlake reembed' first"):
        rethreshold(lake.path, NONE_SAME)
    assert files(lake, without_locks=True) == before


@pytest.mark.parametrize("words", [("--image", "1.5"), ("--text", "nan"), ("--image", "-0.1"), ("--text", "inf")])
def test_what_is_no_threshold_is_refused_in_a_sentence_and_nothing_changes(
    lake: Lake, interlake: Interlake, words: tuple[str, str]
) -> None:
    before = files(lake)
    for more in ((), ("--apply",)):
        code, out, err = interlake("dedup", "rethreshold", "--lake", lake.path, *words, *more)
        assert (code, out) == (2, "")
        assert err.endswith("cannot be used: it lies in [0, 1]\n") and err.count("\n") == 1
    assert files(lake) == before


def test_a_busy_lake_is_left_alone(lake: Lake) -> None:
    before = files(lake, without_locks=True)
    with hold(lake.path / LOCK, purpose="a move", timeout=0), pytest.raises(LakeBusy):
        rethreshold(lake.path, NONE_SAME)
    with lake.lock(purpose="a build", timeout=0), pytest.raises(LakeBusy):
        rethreshold(lake.path, NONE_SAME, lock_timeout=0)
    assert files(lake, without_locks=True) == before


def test_an_empty_lake_gets_its_settings_and_no_version(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    done = rethreshold(lake.path, AskedThresholds(image=0.5))
    assert (done.version, done.decided_by, done.settings_are_written) == (None, (), True)
    assert lake.version().number == 1
    assert read_settings(lake.path / FILE).selection.duplicates.image == 0.5


def test_status_diff_and_why_understand_it(lake: Lake, interlake: Interlake) -> None:
    back = preview_rethreshold(lake.path, NONE_SAME).shifts.back
    head = applied(lake, NONE_SAME).version
    assert head is not None
    sample = back.examples[0].sample_id
    assert "16 planned = 16 kept" in interlake("status", "--lake", lake.path)[1]
    code, out, _ = interlake("diff", "--lake", lake.path, head - 1, head)
    assert code == 0
    assert f"version {head}, rethreshold" in out
    assert f"duplicate -> kept: {back.count}" in out
    assert "selection.settings.duplicates.image: 0.75 -> 1" in out
    code, out, _ = interlake("why", "--lake", lake.path, sample)
    assert code == 0
    assert f"version {head}, rethreshold" in out
    comparisons = read_ancestry(lake, sample).comparisons
    assert [(each.kind, each.outcome) for each in comparisons] == [("build", "duplicate"), ("rethreshold", "kept")]
    assert all(turn.is_reached for turn in comparisons[0].turns)
    assert not any(turn.is_reached for turn in comparisons[1].turns)


def test_the_command_says_what_would_change_and_how_to_have_it(lake: Lake, interlake: Interlake) -> None:
    asked = ("dedup", "rethreshold", "--lake", lake.path, "--image", 1, "--text", 1)
    code, out, err = interlake(*asked)
    assert (code, err) == (0, "")
    assert (
        "decided by: pictures 0.75, captions 0.6, policy both\nasked for:  pictures 1, captions 1, policy both\n" in out
    )
    assert "samples would come back\n" in out and ": turn 1 repeated turn " in out
    assert "0 samples would go\n0 turns would be flagged\n" in out
    assert "nothing was written; with --apply" in out
    code, out, _ = interlake(*asked, "--json")
    found = json.loads(out)
    assert (code, found["version"], found["is_due"], found["thresholds"]["image"]) == (0, None, True, 1.0)
    back = found["shifts"]["back"]
    assert (back["count"], len(back["examples"])) == (found["duplicate_before"], min(back["count"], SHOWN))
