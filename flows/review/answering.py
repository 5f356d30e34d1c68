"""A person's answers, as one version: a word on each turn, and what follows from it for the sample."""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeAlias

from flows.claim import died_rows, end_row, publish_if_free, start_row
from flows.decided_by import read_decided_by
from flows.deciding import TOLD
from flows.errors import UserError
from flows.opening import open_lake
from flows.recipe import model_rows, write_selection
from flows.review.questions import Question, find_questions, read_questions
from flows.workshop import Workshop
from storage.canonical import Json, canonical_text, derive_id
from storage.embeddings import Standing, read_standing
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import DecisionRow, DuplicateRow, SampleRow
from storage.reviews import REVIEW, Turn, Word
from storage.tables import Among
from storage.versions import Version
from storage.writing import Writer, writing

Outcome: TypeAlias = Literal["kept", "duplicate"]
KEPT = "person_keeps"
"""Reason of the decision that a turn is kept because a person says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer as it is given: `name` is that of a question or of a sample, see `find_questions`."""

    name: str
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What answers came to: the version, the turns kept and called duplicates, samples that came back and that went."""

    version: int
    kept: int
    duplicate: int
    back: tuple[str, ...]
    gone: tuple[str, ...]
    still_open: int


def answer(path: Path, answers: Sequence[Said], *, by: str, lock_timeout: float | None = None) -> Answered:
    """Write a person's answers, all or none. UserError for what is no question or answered twice; NotALake, LakeBusy.

    `by` is the name that the person goes by here; it is content, like what they say. Nobody's name is looked up.
    """
    _refuse_unsaid(answers, by)
    lake, settings = open_lake(path, lock_timeout=lock_timeout)
    with writing(lake, purpose="a review", timeout=settings.run.lock_timeout) as writer:
        head = writer.head
        questions, standing = read_questions(lake, head), read_standing(lake, head)
        words = _words(questions, answers, by.strip(), writer.next_number)
        found = read_decided_by(lake, head, standing)
        assert found, "there is a question, so something was decided"
        roles = {"encoder": found.encoder}
        shop = Workshop(
            lake=lake,
            settings=settings,
            roles=roles,
            recipe=write_selection(settings, found.encoder),
            run_id=uuid.uuid4().hex,
        )
        rows = review_rows(lake, head, words, writer.next_number)
        version = _commit(writer, shop, rows)
    publish_if_free(lake, version)
    return _came_to(lake, version, words, standing)


def review_rows(lake: Lake, before: Version, words: Sequence[Word], number: int) -> list[DecisionRow | DuplicateRow]:
    """The decisions of version `number`: the words themselves, and what becomes of their samples.

    A replay makes them again from the words. LakeDamaged for a word on what is no question.
    """
    questions = {question.key: question for question in read_questions(lake, before)}
    (encoder,) = read_standing(lake, before).encoders
    return [
        *_sample_rows(lake, before, words, encoder, number),
        *(row for word in words for row in _turn_rows(word, questions, encoder, number)),
    ]


def _refuse_unsaid(answers: Sequence[Said], by: str) -> None:
    if not by.strip():
        raise UserError("a decision needs a name to stand by it: --by NAME")
    if not all(said.why.strip() for said in answers):
        raise UserError("a decision needs its reason: --reason TEXT")


def _words(questions: Sequence[Question], answers: Sequence[Said], by: str, number: int) -> list[Word]:
    """A word for each question that is answered, by sample id and turn."""
    words: dict[Turn, Word] = {}
    for said in answers:
        named = find_questions(questions, said.name)
        if not named:
            raise UserError(f"{said.name} is no question of this lake: 'interlake review --list' shows those there are")
        if len({question.sample_id for question in named}) > 1:
            raise UserError(f"{said.name} names questions of several samples: give more digits")
        for question in named:
            if question.key in words:
                raise UserError(f"question {question.name} is answered twice")
            words[question.key] = _word(question, said, by, number)
    return [words[key] for key in sorted(words)]


def _word(question: Question, said: Said, by: str, number: int) -> Word:
    return Word(
        sample_id=question.sample_id,
        turn=question.turn,
        outcome=said.outcome,
        keeper=(question.kept_sample_id, question.kept_turn),
        by=by,
        why=said.why.strip(),
        version=number,
    )


def _turn_rows(
    word: Word, questions: Mapping[Turn, Question], encoder: str, number: int
) -> Iterator[DecisionRow | DuplicateRow]:
    question = questions.get((word.sample_id, word.turn))
    if question is None or word.keeper != (question.kept_sample_id, question.kept_turn):
        raise LakeDamaged(f"turn {word.turn} of sample {word.sample_id} was no question when a person spoke of it")
    evidence: dict[str, Json] = {"kept_sample_id": word.keeper[0], "kept_turn": word.keeper[1]}
    row = _decision(
        (word.sample_id, word.turn),
        number,
        outcome=word.outcome,
        reason=(REVIEW, KEPT if word.outcome == "kept" else TOLD),
        evidence=evidence | {"by": word.by, "why": word.why},
        encoder=encoder,
    )
    yield row
    if word.outcome == "duplicate":
        pair = {field.name: getattr(question, field.name) for field in fields(DuplicateRow)}
        yield DuplicateRow(**pair | {"decision_id": row.decision_id})


def _sample_rows(
    lake: Lake, before: Version, words: Sequence[Word], encoder: str, number: int
) -> Iterator[DecisionRow]:
    """What becomes of each sample: a duplicate where all of its turns are, else kept."""
    flagged = set(read_standing(lake, before).flagged)
    for word in words:
        (flagged.discard if word.outcome == "kept" else flagged.add)((word.sample_id, word.turn))
    named = Among(column="sample_id", values={word.sample_id for word in words})
    turns = {row.sample_id: row.turns for row in lake.rows(SampleRow, before, named)}
    for sample_id in sorted(turns):
        is_dropped = all((sample_id, turn) in flagged for turn in range(1, turns[sample_id] + 1))
        yield _decision(
            (sample_id, None),
            number,
            outcome="duplicate" if is_dropped else "kept",
            reason=("dedup", "all_turns_duplicate") if is_dropped else (None, None),
            evidence={},
            encoder=encoder,
        )


def _decision(
    of: tuple[str, int | None],
    number: int,
    *,
    outcome: str,
    reason: tuple[str | None, str | None],
    evidence: Mapping[str, Json],
    encoder: str,
) -> DecisionRow:
    return DecisionRow(
        decision_id=derive_id("decision", *of, number),
        sample_id=of[0],
        turn=of[1],
        kind=REVIEW,
        outcome=outcome,
        stage=reason[0],
        reason=reason[1],
        evidence=canonical_text(dict(evidence)),
        encoder=encoder,
    )


def _commit(writer: Writer, shop: Workshop, rows: Sequence[DecisionRow | DuplicateRow]) -> Version:
    """One version with the whole run: its start, its decisions, its end."""
    start = start_row(shop, kind=REVIEW, planned=0, topics=0, flow_run_id=None)
    run = [start, shop.recipe.row(), *model_rows(shop.roles), *died_rows(shop.lake, writer.head)]
    drafts = [PackageDraft("run", [*run, end_row(shop.run_id, "finished")]), PackageDraft("decision", rows)]
    return writer.commit(drafts, run_id=shop.run_id)


def _came_to(lake: Lake, version: Version, words: Sequence[Word], before: Standing) -> Answered:
    after = read_standing(lake, version).kept
    counts = Counter(word.outcome for word in words)
    named = sorted({word.sample_id for word in words})
    return Answered(
        version=version.number,
        kept=counts["kept"],
        duplicate=counts["duplicate"],
        back=tuple(name for name in named if after[name] and not before.kept[name]),
        gone=tuple(name for name in named if before.kept[name] and not after[name]),
        still_open=sum(question.word is None for question in read_questions(lake, version)),
    )
