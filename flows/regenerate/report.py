"""What asking again came to, model by model. Reads no lake."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from flows.regenerate.comparing import Drift
from flows.regenerate.environments import OtherEnvironment, short_name

Verdict = Literal["identical", "drifted", "impossible"]
VERDICTS: Sequence[Verdict] = ("identical", "drifted", "impossible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One call asked again. `reason` says why that was impossible, `drifts` what differs, and `company` how those who
    were asked together with it are not those of then."""

    call_id: str
    version: int
    sample_id: str
    purpose: str
    where: str
    verdict: Verdict
    reason: str | None = None
    drifts: tuple[Drift, ...] = ()
    company: str | None = None

    def lines(self) -> Iterator[str]:
        """A line that says which call, and lines below it."""
        yield f"{self.verdict.upper()} call {self.call_id}, sample {self.sample_id}, {self.where}"
        yield from [f"  {self.reason}"] if self.reason else []
        for drift in self.drifts:
            yield from (f"  {line}" for line in drift.lines())
        yield from [f"  composition not restored: {self.company}"] if self.company else []

    def json(self) -> dict[str, object]:
        told = {name: getattr(self, name) for name in self.__slots__ if name != "drifts"}
        return told | {"drifts": [{"kind": type(drift).__name__, **asdict(drift)} for drift in self.drifts]}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegeneratedModel:
    """What one model came to. `counts` are by purpose and verdict; `problem` says why nothing could be asked of it.

    `outcomes` are the calls that are worth a line: all but those that are identical in the company of then.
    """

    name: str
    revision: str
    problem: str | None
    counts: Mapping[str, Mapping[Verdict, int]]
    outcomes: tuple[Outcome, ...] = ()

    def total(self, verdict: Verdict | None = None) -> int:
        wanted = VERDICTS if verdict is None else (verdict,)
        return sum(counts.get(each, 0) for counts in self.counts.values() for each in wanted)

    def lines(self) -> Iterator[str]:
        """A line for each purpose."""
        for purpose, counts in self.counts.items():
            told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts.get(verdict))
            count = sum(counts.values())
            yield f"{short_name(self.name, self.revision)}, {purpose}: {count} call{'s' * (count != 1)}: {told}"
        if self.problem:
            yield f"  not asked: {self.problem}"

    def json(self) -> dict[str, object]:
        told = {name: getattr(self, name) for name in self.__slots__ if name != "outcomes"}
        return told | {"outcomes": [outcome.json() for outcome in self.outcomes]}


class Tally:
    """Gathers the outcomes of one model, and forgets those of which there is nothing to say."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[Verdict]] = {}
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        self.counts.setdefault(outcome.purpose, Counter())[outcome.verdict] += 1
        if outcome.verdict != "identical" or outcome.company:
            self.outcomes.append(outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regeneration:
    """All that was asked again. `environments` are runs that were made with something else than there is now."""

    path: str
    version: int
    sha256: str
    models: tuple[RegeneratedModel, ...]
    environments: tuple[OtherEnvironment, ...]
    seconds: float

    @property
    def is_identical(self) -> bool:
        return all(model.total() == model.total("identical") for model in self.models)

    def outcomes(self) -> list[Outcome]:
        """The calls that are worth a line; those that are identical in another company last."""
        worth = [outcome for model in self.models for outcome in model.outcomes]
        return sorted(worth, key=lambda outcome: outcome.verdict == "identical")

    def line(self) -> str:
        """The verdict in one line."""
        totals = {verdict: sum(model.total(verdict) for model in self.models) for verdict in VERDICTS}
        told = ", ".join(f"{count} {verdict}" for verdict, count in totals.items() if count)
        others = sum(outcome.company is not None for model in self.models for outcome in model.outcomes)
        note = f"; composition not restored for {others}" if others else ""
        verdict = "all identical" if self.is_identical else told
        return f"{sum(totals.values())} calls asked again in {self.seconds:.1f} s: {verdict}{note}"

    def json(self) -> dict[str, object]:
        told = {name: getattr(self, name) for name in self.__slots__ if name not in ("models", "environments")}
        return told | {
            "identical": self.is_identical,
            "models": [model.json() for model in self.models],
            "environments": [asdict(environment) for environment in self.environments],
        }
