"""Plans on a lake: stable when topics come later, templates that do not repeat, gaps, quotas, and what ran out."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from flows.asked import BuildOptions
from flows.lakes import make_lake
from flows.opening import plan_settings
from flows.plan import BuildRequest, Plan, plan_build
from flows.plan_settings import PlanSettings
from flows.recipe import Recipe
from flows.settings import SettingsError, default_settings, parse_settings
from flows.topics.catalogue import TopicEntry, read_templates, topic_id
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import TopicRow
from tests.flows.conftest import Interlake
from tests.storage.lakes import commit, decision_row, end_row, package, start_row

RECIPE = Recipe(recipe_id="recipe1", generation_id="g1", generation="{}", selection="{}")
ENTRIES = [TopicEntry(name=f"thing {n}", category=f"c{n % 4}", domain=f"D{n % 2}") for n in range(12)]


def a_lake(path: Path, entries: Sequence[TopicEntry] = ENTRIES) -> Lake:
    return make_lake(path, profile="fake", seed=3, topics=entries)


def plan(
    lake: Lake,
    topics: int,
    samples: int = 1,
    *,
    turns: int = 2,
    settings: PlanSettings | None = None,
    **changes: object,
) -> Plan:
    asked = {"retry_failed": False, "when_exhausted": "stop", **changes}
    request = BuildRequest(
        new_topics=topics,
        samples_per_topic=samples,
        turns=turns,
        plan=settings or PlanSettings(),
        **asked,  # type: ignore[arg-type]
    )
    return plan_build(lake, lake.version(), RECIPE, request)


def carry_out(lake: Lake, made: Plan, run_id: str, outcomes: Sequence[str] = ("kept",)) -> None:
    """Claim a plan's slots and decide them, with the outcomes by turns."""
    claims = [
        slot.claim(position=at, batch=0, recipe_id="recipe1", run_id=run_id) for at, slot in enumerate(made.slots)
    ]
    commit(lake, package(start_row(run_id, len(claims)), *claims, kind="run"), run_id=run_id)
    decided = [decision_row(slot.sample_id, outcomes[at % len(outcomes)]) for at, slot in enumerate(made.slots)]
    commit(lake, package(*decided, kind="decision"), package(end_row(run_id), kind="run"), run_id=run_id)


def add_topics(lake: Lake, entries: Sequence[TopicEntry]) -> None:
    rows = [
        TopicRow(
            topic_id=topic_id(entry),
            name=entry.name,
            category=entry.category,
            domain=entry.domain,
            source="later",
            **{name: None for name in TopicRow.columns() if name.startswith("placed")},
        )
        for entry in entries
    ]
    commit(lake, PackageDraft("topics", rows))


def test_plans_are_the_same_whatever_the_order_of_the_topics_in_their_file(tmp_path: Path) -> None:
    shuffled = list(ENTRIES)
    Random(4).shuffle(shuffled)
    assert plan(a_lake(tmp_path / "a"), 7, 2) == plan(a_lake(tmp_path / "b", shuffled), 7, 2)


def test_slots_keep_their_ids_and_templates_when_topics_come_later(tmp_path: Path) -> None:
    lake = a_lake(tmp_path / "lake")
    before = {slot.slot_id: slot for slot in plan(lake, 12, 3).slots}
    add_topics(lake, [TopicEntry(name=f"newcomer {n}", category="c9", domain="D9") for n in range(5)])
    after = {slot.slot_id: slot for slot in plan(lake, 17, 3).slots}
    assert len(after) == 17 * 3
    assert before == {slot_id: after[slot_id] for slot_id in before}


def test_two_builds_plan_what_one_would_have_planned(tmp_path: Path) -> None:
    lake, other = a_lake(tmp_path / "lake"), a_lake(tmp_path / "other")
    first = plan(lake, 5, 2)
    carry_out(lake, first, "run1")
    assert [*first.slots, *plan(lake, 5, 2).slots] == list(plan(other, 10, 2).slots)


def test_no_template_comes_to_a_topic_again_before_all_were_used(tmp_path: Path) -> None:
    lake = a_lake(tmp_path / "lake", ENTRIES[:2])
    count = len(read_templates())
    seen: dict[str, list[str]] = {}
    for number, (samples, turns) in enumerate([(7, 3), (count // 4, 4), (5, 1), (3, 10)]):
        made = plan(lake, 2, samples, turns=turns, when_exhausted="deepen")
        for slot in made.slots:
            seen.setdefault(slot.topic_id, []).extend(slot.templates)
            assert len(set(slot.templates)) == turns
        carry_out(lake, made, f"run{number}", ["kept", "rejected"])
    assert {len(drawn) > count for drawn in seen.values()} == {True}
    for drawn in seen.values():
        for start in range(0, len(drawn), count):
            cycle = drawn[start : start + count]
            assert max(Counter(cycle).values()) == 1
    one, other = seen.values()
    assert one != other, "each topic has an order of its own"


def test_a_slot_that_is_planned_again_keeps_its_templates_and_further_turns_are_new_to_the_topic(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path / "lake", ENTRIES[:1])
    first = plan(lake, 1, 3)
    carry_out(lake, first, "run1", ["failed"])
    again = plan(lake, 0, retry_failed=True)
    assert [slot.templates for slot in again.slots] == [slot.templates for slot in first.slots]
    longer = plan(lake, 0, turns=3, retry_failed=True).slots
    assert [slot.templates[:2] for slot in longer] == [slot.templates for slot in first.slots]
    assert len({template for slot in longer for template in slot.templates}) == 9


def test_gaps_gives_each_topic_the_samples_that_it_lacks_and_says_when_none_lacks_any(tmp_path: Path) -> None:
    lake = a_lake(tmp_path / "lake", ENTRIES[:3])
    gaps = PlanSettings(policy="gaps")
    carry_out(lake, plan(lake, 3, 2), "run1", ["kept", "rejected", "kept", "kept", "duplicate", "failed"])
    made = plan(lake, 5, 2, settings=gaps)
    assert [(pick.samples, pick.reason) for pick in made.picks] == [
        (2, "0 of 2 samples kept or under way, 2 dropped"),
        (1, "1 of 2 samples kept or under way, 1 dropped"),
    ]
    assert (made.deepened, made.new_topics, len(made.slots)) == (2, 0, 3)
    assert made.exhausted == (
        "every topic has 2 samples, kept or under way",
        "2 of 5 topics asked for could be planned",
    )
    retried = plan(lake, 5, 2, settings=gaps, retry_failed=True)
    assert (retried.retried, [pick.samples for pick in retried.picks]) == (1, [1, 1]), "one is under way again"
    carry_out(lake, made, "run2")
    assert "nothing to do: every topic has 2 samples, kept or under way" in plan(lake, 5, 2, settings=gaps).note()


def test_a_plan_that_falls_short_names_the_branch_and_how_far_it_came(tmp_path: Path) -> None:
    lake = a_lake(tmp_path / "lake")
    made = plan(lake, 5, settings=PlanSettings(only=("d0/C2",)))
    assert made.note().endswith("; every topic of D0/c2 has samples; 3 of 5 topics asked for could be planned")
    carry_out(lake, made, "run1")
    nothing = plan(lake, 5, settings=PlanSettings(only=("D0/c2",))).note()
    assert nothing.startswith("nothing to do: every topic of D0/c2 has samples; 0 of 5 topics asked for")
    quota = plan(lake, 9, settings=PlanSettings(quotas={"D0": 4}))
    assert quota.exhausted == (
        "no topic of D0 is left: 4 with samples, 2 beyond a quota",
        "every topic of D1 has samples",
        "the quota of D0 (4) is reached",
        "7 of 9 topics asked for could be planned",
    )
    assert plan(lake, 9, settings=PlanSettings(quotas={"D0": 4}), only_topics=frozenset()).slots == ()


def test_plan_shows_the_topics_with_reasons_and_takes_options_in_place_of_settings(
    interlake: Interlake, tmp_path: Path
) -> None:
    lake = a_lake(tmp_path / "lake")
    words = ["plan", "--lake", lake.path, "--new-topics", "4", "--weight", "D0=3", "--only", "D0", "--only", "d1/c1"]
    code, out, _ = interlake(*words, "--quota", "D0/c0=1", "--json")
    assert code == 0
    told = json.loads(out)
    assert [pick["category"] for pick in told["picks"]] == ["c0", "c2", "c1", "c2"]
    assert told["picks"][0]["reason"].startswith("domain D0 is furthest below its weight (0 covered, weight 3.0)")
    assert told["exhausted"] == ["the quota of D0/c0 (1) is reached"]
    code, out, _ = interlake(*words)
    assert code == 0
    assert "why" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "D00"], "did you mean 'D0'"),
        (["--quota", "D0"], "not like 'Domain=20'"),
        (["--quota", "D0=-1"], "-1 is not in the range"),
        (["--quota", "D0=1", "--quota", "D0=2"], "given twice"),
        (["--weight", "D0=nan"], "not a number"),
        (["--policy", "even", "--weight", "D0=2"], "leave one out"),
    ],
)
def test_options_that_make_no_policy_are_bad_input(
    interlake: Interlake, tmp_path: Path, words: list[str], said: str
) -> None:
    code, _, err = interlake("plan", "--lake", a_lake(tmp_path / "lake").path, *words)
    assert code == 2
    assert said in err


def test_settings_say_the_policy_and_lakes_without_them_go_on_evenly() -> None:
    plain = default_settings("fake")
    assert parse_settings(plain, Path("interlake.toml")).plan == PlanSettings()
    more = '[plan]\npolicy = "weighted"\nonly = ["A"]\nweights = { "A" = 2, "A/b" = 0.5 }\nquotas = { "A" = 3 }\n'
    settings = parse_settings(f"{plain}\n{more}", Path("interlake.toml"))
    assert (settings.plan.weights, settings.plan.only) == ({"A": 2.0, "A/b": 0.5}, ("A",))
    asked = BuildOptions(new_topics=1, samples_per_topic=1, policy="gaps", quotas={"B": 1})
    assert plan_settings(settings, asked).quotas == {"B": 1}
    assert plan_settings(settings, asked).policy == "gaps"
    with pytest.raises(SettingsError, match='add policy = "weighted"'):
        parse_settings(plain + "\n[plan]\nweights = { A = 1 }\n", Path("interlake.toml"))
    with pytest.raises(SettingsError, match=r"plan\.quotas"):
        parse_settings(plain + "\n[plan]\nquotas = { A = -1 }\n", Path("interlake.toml"))
