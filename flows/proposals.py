"""Proposals of topics before a person: those that are open, and the word that makes topics of them or refuses them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from flows.errors import UserError
from flows.lakes import LOCK_TIMEOUT
from flows.newcomers import row_of
from flows.proposing import PROPOSED
from flows.topics.catalogue import TopicEntry
from storage.canonical import derive_id
from storage.errors import NoSuchThing
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.proposals import ACCEPTED, OPEN, REFUSED, proposal_states
from storage.records import ProposalDecisionRow, Row, TopicRow
from storage.writing import writing

PERSON = "person"
SHORTEST = 4
"""Digits of an id by which a proposal can be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProposal:
    """A proposal as it stands: `state` is open, accepted or refused; `by` and `reason` of who decided."""

    proposal_id: str
    name: str
    domain: str
    category: str
    nearest: str | None
    similarity: float | None
    state: str
    by: str | None
    reason: str | None
    call_id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which proposals are meant: by the first digits of their ids, all open ones, or open ones less similar than a
    bound."""

    ids: Sequence[str] = ()
    all_open: bool = False
    below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided; `topics` are names that became topics, `there` those that the lake had meanwhile."""

    names: tuple[str, ...]
    topics: tuple[str, ...]
    there: tuple[str, ...]
    left_open: int
    version: int | None


def read_proposals(path: Path, *, everything: bool = False) -> list[ShownProposal]:
    """The open proposals of a lake, or all, by branch and then by likeness: the newest thing first."""
    lake = Lake.open(path)
    states = proposal_states(lake, lake.version())
    shown = states if everything else states.filter(pl.col("state") == OPEN)
    order = shown.sort("domain", "category", pl.col("similarity").fill_null(0.0), "name")
    return [ShownProposal(**row) for row in order.select(ShownProposal.__slots__).iter_rows(named=True)]


def decide(path: Path, choice: Choice, *, accept: bool, lock_timeout: float = LOCK_TIMEOUT) -> Decided:
    """Accept proposals, so that they are topics, or refuse them, as one version.

    What was refused can be accepted by its id; what was accepted stays. UserError, NoSuchThing.
    """
    lake = Lake.open(path)
    with writing(lake, purpose="a word on proposals", timeout=lock_timeout) as writer:
        states = proposal_states(lake, writer.head)
        chosen = _choose(states, choice, accept=accept)
        there = {row.topic_id for row in lake.rows(TopicRow, writer.head)}
        rows = [row for each in chosen for row in _rows(each, there, accept=accept, version=writer.next_number)]
        version = writer.commit([PackageDraft("topics", rows)]).number if rows else None
    return Decided(
        names=tuple(each["name"] for each in chosen),
        topics=tuple(row.name for row in rows if isinstance(row, TopicRow)),
        there=tuple(each["name"] for each in chosen if accept and each["topic_id"] in there),
        left_open=states.filter(pl.col("state") == OPEN).height - sum(each["state"] == OPEN for each in chosen),
        version=version,
    )


def _choose(states: pl.DataFrame, choice: Choice, *, accept: bool) -> list[dict[str, Any]]:
    ways = bool(choice.ids) + choice.all_open + (choice.below is not None)
    if ways != 1:
        raise UserError("say which proposals are meant: by their ids, by --all, or by --below SIMILARITY")
    if choice.ids:
        found = [_find(states, prefix) for prefix in choice.ids]
        return [each for each in _once(found) if _may_change(each, accept=accept)]
    is_meant = pl.col("state") == OPEN
    if choice.below is not None:
        is_meant &= pl.col("similarity").fill_null(0.0) < choice.below
    return list(states.filter(is_meant).iter_rows(named=True))


def _find(states: pl.DataFrame, prefix: str) -> dict[str, Any]:
    found = list(states.filter(pl.col("proposal_id").str.starts_with(prefix)).iter_rows(named=True))
    if len(prefix) < SHORTEST or len(found) != 1:
        why = "give more of its digits" if found else "'interlake topics proposals' lists those that there are"
        raise NoSuchThing(f"{prefix!r} names {len(found)} proposals: {why}")
    return found[0]


def _once(found: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return {each["proposal_id"]: each for each in found}.values()


def _may_change(proposal: dict[str, Any], *, accept: bool) -> bool:
    """Whether a word changes anything; UserError for one that comes too late."""
    if proposal["state"] == ACCEPTED and not accept:
        raise UserError(f"{proposal['name']!r} was accepted and is a topic now: topics cannot be taken out again")
    return bool(proposal["state"] != (ACCEPTED if accept else REFUSED))


def _rows(proposal: dict[str, Any], there: set[str], *, accept: bool, version: int) -> list[Row]:
    """The decision, and the topic where the lake has not got it by now."""
    rows: list[Row] = [
        ProposalDecisionRow(
            decision_id=derive_id("proposal decision", proposal["proposal_id"], version),
            proposal_id=proposal["proposal_id"],
            accepted=accept,
            by=PERSON,
            reason=None,
        )
    ]
    if accept and proposal["topic_id"] not in there:
        entry = TopicEntry(name=proposal["name"], category=proposal["category"], domain=proposal["domain"])
        rows.append(row_of(entry, PROPOSED))
    return rows
