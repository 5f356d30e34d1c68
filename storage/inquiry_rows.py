"""Rows of what a chat model was asked for the lake itself: topics, templates. Knows nothing of files."""

from dataclasses import dataclass
from typing import Annotated

from storage.rows import PROVENANCE, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryRow(Row):
    """What a chat model was asked for the lake and not for a sample; its calls have `inquiry_id` for their sample's id.

    `kind` is `propose` (topics) or `derive` (templates); `subject` the branch or file that it is about, and `number`
    counts earlier ones of the same kind and subject. `about` and `result` are JSON: what it was to find, and what was
    left out and why. `based_on` is the version whose topics, proposals and templates were known.
    """

    table = "inquiries"
    key = ("inquiry_id",)
    inquiry_id: str
    kind: str
    subject: str
    number: int
    about: str
    based_on: int
    result: str
    run_id: Annotated[str, PROVENANCE]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRow(Row):
    """A topic that a model proposed in a call; none of the lake's until it is accepted.

    `nearest` is the known topic or proposal whose name is most like it, with that `similarity` by `measure`; null where
    nothing was known.
    """

    table = "proposals"
    key = ("proposal_id",)
    proposal_id: str
    topic_id: str
    name: str
    category: str
    domain: str
    inquiry_id: str
    call_id: str
    nearest: str | None
    similarity: float | None
    measure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalDecisionRow(Row):
    """A proposal was accepted, its topic being added, or refused; the latest in version order holds.

    `by` is `person`, or `rule` with the reason.
    """

    table = "proposal_decisions"
    key = ("decision_id",)
    decision_id: str
    proposal_id: str
    accepted: bool
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRow(Row):
    """A question template of this lake; `origin` is JSON: the question that it was derived from, and the call."""

    table = "templates"
    key = ("template_id",)
    template_id: str
    type: str
    weight: int
    text: str
    origin: str
