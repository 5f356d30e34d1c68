"""What a build would do and what it would take; asks no model and writes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.asked import BuildOptions
from flows.engine import Engine
from flows.estimate import QUANTITIES, Bounds, Estimate, Range, estimate
from flows.opening import build_request, open_cast, open_lake
from flows.plan import Plan, plan_build
from flows.recipe import write_recipe
from flows.settings import ChecksAlone, GenerationSettings
from flows.studio import Studio
from flows.tape import SPOOL_FOLDER
from flows.topics.proposing import Wish
from flows.topics.spreading import Shortage
from storage.lake import Lake
from storage.slots import is_alive
from storage.spent import read_spent
from storage.spool import read_calls_of

EMBEDDINGS_PER_TURN = 2
MOST_NAMED = 10
"""Categories that are named one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan, the bounds of its model calls (all drafts accepted at once, and all rewrites spent), and its estimate.

    `recorded_calls` are in the spools of interrupted builds: the estimate counts them, and they are not asked again.
    `proposing_calls` are the fewest and the most by which topics are proposed first: in no other figure, and how many
    tokens and seconds they and the samples of those topics take is not known.
    """

    plan: Plan
    fewest_calls: int
    most_calls: int
    recorded_calls: int
    estimate: Estimate
    proposing_calls: tuple[int, int] = (0, 0)

    def json(self) -> dict[str, object]:
        return {
            **asdict(self.plan),
            "fewest_calls": self.fewest_calls,
            "most_calls": self.most_calls,
            "recorded_calls": self.recorded_calls,
            "estimate": self.estimate.json(),
            "proposing_calls": {"low": self.proposing_calls[0], "high": self.proposing_calls[1]},
        }

    def lines(self) -> Iterator[str]:
        """What a person is told before the slots."""
        yield self.plan.note()
        if self.plan.shortages:
            yield f"a build first has topics proposed: {_listed(self.plan.shortages)}"
            low, high = self.proposing_calls
            yield (
                f"proposing takes {low} to {high} calls more; their tokens and seconds are unknown, and so is what the "
                "samples of those topics take: neither is in the figures below"
            )
        yield f"model calls: {self.fewest_calls} at least, {self.most_calls} when every rewrite is spent"
        if self.recorded_calls:
            yield f"{self.recorded_calls} of them are recorded by interrupted builds, and are not asked again"
        yield self.estimate.line()

    def ranges(self) -> Sequence[tuple[str, str | None, str | None, str | None, str]]:
        """The estimate as a table."""
        told: list[tuple[str, Range]] = [(name, getattr(self.estimate, name)) for name in QUANTITIES]
        return [
            (
                "disk" if name == "bytes" else name.replace("_", " "),
                _shown(name, found.low),
                _shown(name, found.expected),
                _shown(name, found.high),
                found.basis,
            )
            for name, found in told
        ]

    def picks(self) -> Sequence[tuple[str, str, int, str]]:
        """The topics that are new or deepened, with their branches, their samples, and why it is their turn."""
        return [
            (pick.topic, "/".join(part for part in (pick.domain, pick.category) if part), pick.samples, pick.reason)
            for pick in self.plan.picks
        ]

    def rows(self) -> Sequence[tuple[str, int, str, str]]:
        return [(slot.topic, slot.slot_number, slot.sample_id, ", ".join(slot.templates)) for slot in self.plan.slots]


def preview_build(path: Path, options: BuildOptions) -> Preview:
    """Plan a build on the newest version. Errors as for a build."""
    lake, settings = open_lake(path, turns=options.turns)
    with Engine() as engine, open_cast(engine, Studio(settings)) as cast:
        recipe = write_recipe(settings, cast.roles())
    head, generation = lake.version(), settings.generation
    plan = plan_build(lake, head, recipe, build_request(settings, options))
    turns = sum(len(slot.templates) for slot in plan.slots)
    calls = (fewest_calls(generation), most_calls(generation))
    bounds = Bounds(
        calls=(generation.turns * calls[0], generation.turns * calls[1]),
        pictures=(generation.turns, generation.turns * (1 + generation.rounds.image)),
    )
    return Preview(
        plan=plan,
        fewest_calls=turns * calls[0],
        most_calls=turns * calls[1],
        recorded_calls=_recorded(lake, plan),
        proposing_calls=_proposing_calls(plan.shortages, generation),
        estimate=estimate(read_spent(lake, head, recipe.generation_id), len(plan.slots), bounds),
    )


def _proposing_calls(shortages: Sequence[Shortage], settings: GenerationSettings) -> tuple[int, int]:
    """Calls by which topics are proposed: at least, and when every name is old and every reply is asked for again."""
    wishes = [Wish(domain=each.domain, category=each.category, wanted=each.topics, alike=1) for each in shortages]
    return sum(wish.fewest_rounds() for wish in wishes), sum(wish.rounds() * settings.attempts for wish in wishes)


def _listed(shortages: Sequence[Shortage]) -> str:
    """The first categories with how many topics each is short of, and what the others come to."""
    named = ", ".join(f"{each.topics} for {each.branch}" for each in shortages[:MOST_NAMED])
    others = shortages[MOST_NAMED:]
    more = f", and {sum(each.topics for each in others)} for {len(others)} categories more" if others else ""
    return named + more


def _recorded(lake: Lake, plan: Plan) -> int:
    """How many calls of the plan's samples dead runs left in their spools."""
    wanted = {slot.sample_id for slot in plan.slots if plan.resumed}
    folders = [folder for folder in lake.runs.iterdir() if wanted and not is_alive(lake, folder.name)]
    paths = [path for folder in folders for path in folder.glob(f"{SPOOL_FOLDER}/*.log")]
    rows = (call.row for path in paths for call in read_calls_of(path))
    return len({row.call_id for row in rows if row.sample_id in wanted})


def _shown(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    if name == "bytes":
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,.1f}" if name == "seconds" else f"{value:,.0f}"


def fewest_calls(settings: GenerationSettings) -> int:
    """Calls of a turn whose drafts are all accepted: a draft a stage, and a critique where there may be rewrites.

    Where texts are left to the deterministic checks, nobody is asked for a critique of them.
    """
    rounds, asks = settings.rounds, not isinstance(settings.critic, ChecksAlone)
    critiques = sum(1 for rewrites in (rounds.question, rounds.answer) if rewrites and asks) + bool(rounds.image)
    return 3 + critiques + EMBEDDINGS_PER_TURN


def most_calls(settings: GenerationSettings) -> int:
    """Calls of a turn that spends every rewrite at the first attempt: a rewritten caption is drawn anew."""
    rounds, asks = settings.rounds, not isinstance(settings.critic, ChecksAlone)
    text = sum(1 + (1 + asks) * rewrites for rewrites in (rounds.question, rounds.answer))
    return text + 1 + 3 * rounds.image + EMBEDDINGS_PER_TURN
