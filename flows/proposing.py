"""Topics proposed for branches of a lake by its writer: what is known, what is asked, and the rows that come of it."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flows.inquiring import Inquiring, count_inquiries
from flows.inquiry import Ear, inquiry_id_of
from flows.newcomers import row_of, unique_topics
from flows.recipe import Recipe, write_inquiring
from flows.seir.asking import sampling_of
from flows.settings import Settings
from flows.topics.branches import branch_key
from flows.topics.catalogue import TopicEntry, topic_id
from flows.topics.likeness import MEASURE, ReadNames
from flows.topics.proposal_prompts import MAX_TOKENS, PROPOSE_VERSION, propose_sha256
from flows.topics.proposing import PROPOSE, Findings, Found, Wish, propose
from flows.topics.sieve import Sieve
from flows.workshop import Workshop
from models.chat import ChatModel
from storage.canonical import Json, canonical_text, derive_id
from storage.lake import Lake
from storage.proposals import ACCEPTED, REFUSED, proposal_states
from storage.records import InquiryRow, ProposalDecisionRow, ProposalRow, Row, TopicRow
from storage.versions import Version

PROPOSED = "proposed"
"""Source of topics that were proposals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What an inquiry came to. `names` were new, `accepted` of them are topics now; `removed` by reason."""

    branch: str
    wanted: int
    names: tuple[str, ...]
    accepted: tuple[str, ...]
    removed: dict[str, int]
    rounds: int
    unheard: int
    ended: str
    version: int

    def line(self) -> str:
        """One sentence for a person."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.removed.items()) or "none"
        taken = f", {len(self.accepted)} of them accepted" if self.accepted else ""
        return (
            f"{self.branch}: {len(self.names)} of {self.wanted} topics proposed{taken}; names left out: {left_out}; "
            f"asked {self.rounds} times ({self.ended})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An inquiry for one wish on a lake as it was at a version.

    With `accept_below`, what is less similar to known names is accepted at once. `read` are names that an earlier one
    has read: it makes nothing other, and the next one quicker.
    """

    lake: Lake
    version: Version
    wish: Wish
    number: int
    run_id: str
    accept_below: float | None = None
    read: ReadNames | None = None

    @property
    def inquiry_id(self) -> str:
        return inquiry_id_of(PROPOSE, self.lake.seed, branch_key(self.wish.branch), self.number)

    async def ask(self, ear: Ear) -> Sequence[Row]:
        topics = list(unique_topics(self.lake.rows(TopicRow, self.version)))
        findings = await propose(self.wish, names_of(topics, self.wish), self._sieve(topics), ear)
        return [self._row(findings), *self._proposals(findings)]

    def _sieve(self, topics: Sequence[TopicRow]) -> Sieve:
        states = proposal_states(self.lake, self.version)
        refused = states.filter(states["state"] == REFUSED)["name"].to_list()
        proposed = states.filter(~states["state"].is_in([REFUSED, ACCEPTED]))["name"].to_list()
        return Sieve(
            known=[topic.name for topic in topics],
            proposed=proposed,
            refused=refused,
            branches={self.wish.domain, self.wish.category} - {""},
            read=self.read,
        )

    def _row(self, findings: Findings) -> InquiryRow:
        wish = self.wish
        about: dict[str, Json] = {
            "domain": wish.domain,
            "category": wish.category,
            "wanted": wish.wanted,
            "alike": wish.alike,
            "accept_below": self.accept_below,
            "measure": MEASURE,
        }
        return InquiryRow(
            inquiry_id=self.inquiry_id,
            kind=PROPOSE,
            subject=branch_key(wish.branch),
            number=self.number,
            about=canonical_text(about),
            based_on=self.version.number,
            result=canonical_text(dict(findings.result())),
            run_id=self.run_id,
        )

    def _proposals(self, findings: Findings) -> Iterator[Row]:
        for found in findings.found:
            entry = TopicEntry(name=found.new.name, category=self.wish.category, domain=self.wish.domain)
            yield (row := self._proposal(found, entry))
            if self.accept_below is not None and (row.similarity or 0.0) < self.accept_below:
                yield ProposalDecisionRow(
                    decision_id=derive_id("proposal decision", row.proposal_id, self.inquiry_id),
                    proposal_id=row.proposal_id,
                    accepted=True,
                    by="rule",
                    reason=f"similarity below {self.accept_below}",
                )
                yield row_of(entry, PROPOSED)

    def _proposal(self, found: Found, entry: TopicEntry) -> ProposalRow:
        nearest, known = found.new.nearest, topic_id(entry)
        return ProposalRow(
            proposal_id=derive_id("proposal", known),
            topic_id=known,
            name=entry.name,
            category=entry.category,
            domain=entry.domain,
            inquiry_id=self.inquiry_id,
            call_id=found.call_id,
            nearest=nearest.name if nearest else None,
            similarity=nearest.similarity if nearest else None,
            measure=MEASURE,
        )


def names_of(topics: Sequence[TopicRow], wish: Wish) -> list[str]:
    """The names that a branch has, by name: their order in the lake is of no weight."""
    key = branch_key(wish.branch)
    return sorted(topic.name for topic in topics if branch_key(f"{topic.domain}/{topic.category}".strip("/")) == key)


def proposal_again(lake: Lake, row: InquiryRow) -> Proposal:
    """The inquiry of a row, to be made again; KeyError or ValueError when the row does not say what it was."""
    about = json.loads(row.about)
    wish = Wish(domain=about["domain"], category=about["category"], wanted=about["wanted"], alike=float(about["alike"]))
    below = about["accept_below"]
    return Proposal(
        lake=lake,
        version=lake.version(row.based_on),
        wish=wish,
        number=row.number,
        run_id=row.run_id,
        accept_below=None if below is None else float(below),
    )


def proposing_recipe(settings: Settings) -> Recipe:
    """The recipe of a run that proposes: prompts, sampling, the measure of likeness."""
    told: dict[str, Json] = {
        "prompts": {"version": PROPOSE_VERSION, "sha256": propose_sha256()},
        "sampling": sampling_of(settings.generation.writer, MAX_TOKENS).canonical(),
        "attempts": settings.generation.attempts,
        "measure": MEASURE,
    }
    return write_inquiring(PROPOSE, told)


def proposing_shop(lake: Lake, settings: Settings, writer: ChatModel) -> Workshop:
    """What a run that proposes works with."""
    return Workshop(
        lake=lake,
        settings=settings,
        roles={"writer": writer.identity},
        recipe=proposing_recipe(settings),
        run_id=uuid.uuid4().hex,
    )


def propose_for(
    run: Inquiring, wish: Wish, *, accept_below: float | None = None, read: ReadNames | None = None
) -> Proposed:
    """Carry out one wish, on the newest version; names that are in `read` are not read again."""
    lake = run.shop.lake
    head = lake.version()
    number = count_inquiries(lake, head, kind=PROPOSE, about=branch_key(wish.branch))
    inquiry = Proposal(
        lake=lake,
        version=head,
        wish=wish,
        number=number,
        run_id=run.shop.run_id,
        accept_below=accept_below,
        read=read,
    )
    version, rows = run.carry_out(inquiry)
    return _tell(wish, rows, version.number)


def _tell(wish: Wish, rows: Sequence[Row], version: int) -> Proposed:
    (row,) = (each for each in rows if isinstance(each, InquiryRow))
    result = json.loads(row.result)
    counts = Counter(each["reason"] for each in result["removed"])
    return Proposed(
        branch=wish.branch,
        wanted=wish.wanted,
        names=tuple(each.name for each in rows if isinstance(each, ProposalRow)),
        accepted=tuple(each.name for each in rows if isinstance(each, TopicRow)),
        removed=dict(sorted(counts.items())),
        rounds=result["rounds"],
        unheard=result["unheard"],
        ended=result["ended"],
        version=version,
    )
