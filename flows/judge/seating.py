"""From settings to judges: the one place that knows which kind of judge a backend makes. Opens no models itself."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from flows.judge.candidate import Judge
from flows.judge.edition import EDITIONS, Edition
from flows.judge.lenient import Lenient
from flows.judge.model_judge import ModelJudge, Punctual, sampling_with_room
from flows.judge.signals import SignalsJudge
from flows.judge_settings import Floors, JudgeEntry, JudgeSettings
from models.chat import ChatModel, ChatReply, ChatRequest
from models.identity import Json, ModelIdentity

ROLE = "judge:"
"""What the roles of judges' models begin with, in the table of models."""
_FAMILY = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The judges of a run, in the order of the settings, and how often each is asked."""

    judges: tuple[Judge, ...] = ()
    repeats: int = 1
    floors: Floors = field(default_factory=Floors)
    chooses: bool = False
    """Whether it chooses between the drafts of a build."""

    def repeats_of(self, judge: Judge) -> range:
        """The numbers of a judge's repeats; one that takes no seed is asked once."""
        return range(self.repeats if judge.is_seeded else 1)

    def recipe(self) -> Json:
        """Who judges, and how often: what enters the recipe of a run."""
        return {
            "judges": [{"name": judge.name, "sha256": judge.sha256} for judge in self.judges],
            "repeats": self.repeats,
        }

    def roles(self) -> dict[str, ModelIdentity]:
        """Who plays which part, by roles that no other model has."""
        return {
            f"{ROLE}{judge.name}:{part}": identity for judge in self.judges for part, identity in judge.roles.items()
        }


def seat_judge(
    entry: JudgeEntry, settings: JudgeSettings, model: ChatModel, hashes: Collection[str] = frozenset()
) -> Judge:
    """The judge of an entry over its model: of the edition that has one of the `hashes`, else of the newest one."""
    punctual = Punctual(model=Lenient(model), seconds=settings.timeout)
    editions = [_seat(entry, punctual, edition) for edition in EDITIONS]
    return next((judge for judge in editions if judge.sha256 in hashes), editions[0])


def _seat(entry: JudgeEntry, model: ChatModel, edition: Edition) -> Judge:
    if entry.backend == "signals":
        return SignalsJudge(name=entry.name, model=model, edition=edition)
    return ModelJudge(
        name=entry.name,
        model=model,
        sampling=sampling_with_room(entry.sampling.model_dump()),
        expects=entry.expected_value,
        edition=edition,
    )


def seat_bench(
    settings: JudgeSettings, models: Mapping[str, ChatModel], hashes: Collection[str] = frozenset()
) -> Bench:
    """The judges that have models, each by the name of its judge, in the order of the settings.

    `hashes` are those of judges that are over, to be seated as they were.
    """
    entries = [entry for entry in settings.judges if entry.name in models]
    judges = tuple(seat_judge(entry, settings, models[entry.name], hashes) for entry in entries)
    return Bench(judges=judges, repeats=settings.repeats, floors=settings.floors, chooses=settings.choose == "best")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of which only its name is wanted."""

    identity: ModelIdentity
    at_once: int = 1

    async def chat(self, request: ChatRequest) -> ChatReply:
        raise AssertionError(f"{self.identity.name} was to be named, not asked {request.key()}")


def bench_of(
    settings: JudgeSettings, roles: Mapping[str, ModelIdentity], hashes: Collection[str] = frozenset()
) -> Bench:
    """The judges whose models are among some roles, to be named and not to be asked; `hashes` as for `seat_bench`."""
    known = {name: KnownModel(identity) for role, identity in roles.items() if (name := judge_of(role))}
    return seat_bench(settings, known, hashes)


def family_of(name: str) -> frozenset[str]:
    """What a model's name says of where it comes from: its organisation, and the letters that its own name begins with.

    `Qwen/Qwen2.5-VL-7B-Instruct` is of the families `qwen/` and `qwen`.
    """
    organisation, slash, own = name.casefold().rpartition("/")
    letters = _FAMILY.match(own)
    return frozenset(filter(None, (organisation + slash, letters[0] if letters else "")))


def judge_of(role: str) -> str | None:
    """The name of the judge that a role belongs to, None for roles of others."""
    return role.removeprefix(ROLE).rpartition(":")[0] if role.startswith(ROLE) else None


def kinship(bench: Bench, makers: Collection[tuple[str, str]]) -> Iterator[str]:
    """A warning for each judge that has a model of a maker's family; makers by role and name of the model."""
    for judge in bench.judges:
        for identity in judge.roles.values():
            for role, other in sorted(makers):
                if family_of(identity.name) & family_of(other):
                    yield (
                        f"judge {judge.name} ({identity.name}) and the {role} ({other}) are of one family: it may "
                        "favour its own kind"
                    )
