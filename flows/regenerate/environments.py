"""What a run computed with, and what there is now: the facts that differ, since they may explain a drift."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flows.recipe_changes import compare, leaves
from flows.replay.past import PastRun
from models.identity import ModelIdentity
from storage.canonical import Json, canonical_text
from storage.lake import Lake
from storage.records import ModelRow
from storage.versions import Version

OURS = frozenset({"batch", "window"})
"""Facts of a model that regenerating sets itself."""

RUNS_NAMED = 3
REVISION_SHOWN = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFact:
    """Something that differs, by its dotted name; None where there is no such thing."""

    name: str
    was: Json
    now: Json

    def line(self) -> str:
        return f"{self.name} was {_told(self.was)}, is {_told(self.now)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEnvironment:
    """What is not as it was for some runs."""

    run_ids: tuple[str, ...]
    facts: tuple[OtherFact, ...]

    def lines(self, most: int | None) -> list[str]:
        """A line that names the runs, and one for each fact, `most` at most."""
        runs = ", ".join(run_id[:8] for run_id in self.run_ids[:RUNS_NAMED])
        more = f" and {len(self.run_ids) - RUNS_NAMED} more" if len(self.run_ids) > RUNS_NAMED else ""
        shown = [f"  {fact.line()}" for fact in self.facts[:most]]
        rest = len(self.facts) - len(shown)
        return [f"then (run {runs}{more}) and now:", *shown, *([f"  … and {rest} more, with --all"] if rest else [])]


def differing_facts(then: Mapping[str, Json], now: Mapping[str, Json]) -> tuple[OtherFact, ...]:
    """The facts that differ, of those kinds that both sides tell: torch, say, only where both had loaded it."""
    kinds = then.keys() & now.keys()
    before, after = (dict(leaves("", {kind: side[kind] for kind in kinds})) for side in (then, now))
    return tuple(OtherFact(name=each.key, was=each.before, now=each.after) for each in compare(before, after))


def grouped(found: Iterable[tuple[str, tuple[OtherFact, ...]]]) -> tuple[OtherEnvironment, ...]:
    """Runs with the same differences together; those without are left out."""
    runs: dict[str, tuple[list[str], tuple[OtherFact, ...]]] = {}
    for run_id, facts in found:
        if facts:
            key = "\n".join(fact.line() for fact in facts)
            runs.setdefault(key, ([], facts))[0].append(run_id)
    return tuple(OtherEnvironment(run_ids=tuple(run_ids), facts=facts) for run_ids, facts in runs.values())


def environment_then(lake: Lake, head: Version, run: PastRun, models: Mapping[str, ModelIdentity]) -> dict[str, Json]:
    """What a run recorded of its environment, and of those of its models that are named, by their ids."""
    began = head.until(run.version).since(run.version - 1)
    rows = {row.model_id: row for row in lake.rows(ModelRow, began) if row.model_id in models}
    facts = {
        short_name(row.name, row.revision): _facts(row.weights_sha256, json.loads(row.fingerprint))
        for row in rows.values()
    }
    return {**json.loads(run.start.environment), "models": facts}


def environment_now(environment: Mapping[str, Json], models: Iterable[ModelIdentity]) -> dict[str, Json]:
    """The same of here and now."""
    facts = {short_name(each.name, each.revision): _facts(each.weights_sha256, each.fingerprint) for each in models}
    return {**environment, "models": facts}


def short_name(name: str, revision: str) -> str:
    """A model as it is called in a line."""
    return f"{name} {revision if len(revision) <= REVISION_SHOWN else f'{revision[: REVISION_SHOWN - 1]}…'}"


def _facts(weights_sha256: str | None, fingerprint: Mapping[str, Json]) -> Json:
    told = {name: fact for name, fact in fingerprint.items() if name not in OURS}
    return {"weights_sha256": weights_sha256, **told}


def _told(value: Json) -> str:
    return "not there" if value is None else value if isinstance(value, str) else canonical_text(value)
