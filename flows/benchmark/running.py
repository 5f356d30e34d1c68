"""A run of the benchmark: answers from a cast or a folder, judged question by question, in a folder of its own.

No lake is written to. All calls are recorded in the run's spool, `calls.log`: a run that was killed goes on by the same
command, and asks nothing twice.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flows.benchmark.answering import Answering
from flows.benchmark.answers import AnswerFolder, GivenAnswer, RefusedRow, write_answers
from flows.benchmark.questions import BenchmarkQuestion, questions_sha256, read_questions
from flows.benchmark.results import Judgement, Results, rows_of, write_results
from flows.engine import Engine
from flows.errors import UserError
from flows.judge.asked import Subject, hear
from flows.judge.candidate import Candidate
from flows.judge.docket import hearings_of
from flows.judge.seating import Bench, kinship, seat_bench
from flows.recipe import makes_content
from flows.recorder import Recorder, finish_all
from flows.settings import Settings
from flows.studio import Cast, Studio
from flows.syncing import synced
from flows.tape import BatchTape, SpoolShelf
from models.chat import ChatModel
from storage.canonical import derive_id
from storage.durable import write_durably
from storage.lock import hold
from storage.records import VerdictRow
from storage.spool import Spool

MARK, LOCK, CALLS, ANSWERS = "run.json", ".benchmark.lock", "calls.log", "answers"
BATCH = 32
"""Questions at a time: pictures of so many are held at once."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """What to run: the system's name, the folder of the run, answers that are there already (else the cast gives them),
    the judge (else the first of the settings), its repeats, and how many questions (else all). Nothing is written into
    `lake`."""

    name: str
    out: Path
    answers: Path | None = None
    judge: str | None = None
    repeats: int | None = None
    limit: int | None = None
    lake: Path | None = None


class BenchmarkSource(AbstractAsyncContextManager[Cast], Protocol):
    """The part of a studio that is needed here: entered, it opens the whole cast."""

    async def judge(self, number: int) -> ChatModel: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Court:
    """Who works in a run: the engine, the recorder with its spool, the judge, and who hears how far it is."""

    engine: Engine
    recorder: Recorder
    spool: Spool
    bench: Bench
    tell: Callable[[str], None]

    def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of some work on the engine; what it records is made durable while it goes on."""
        return self.engine.submit(_synced(work, self)).result()


def run_benchmark(
    settings: Settings,
    options: BenchmarkOptions,
    *,
    studio: Callable[[Settings], BenchmarkSource] = Studio,
    tell: Callable[[str], None] = lambda _: None,
) -> Results:
    """Have the questions answered where that is to be done, judge the answers, and write what came of it.

    UserError for a folder of something else, answers that cannot be used, or a judge that is not there; LakeBusy while
    another run has the folder; errors of models pass through, and what was asked until then is kept.
    """
    number = _number_of_judge(settings, options.judge)
    questions = read_questions()[: options.limit]
    if options.answers is not None:
        AnswerFolder(options.answers, _ids()).refuse_empty()
    _claim_folder(options)
    with ExitStack() as stack:
        stack.enter_context(hold(options.out / LOCK, purpose="a run of the benchmark", timeout=0))
        engine = stack.enter_context(Engine())
        source = studio(settings)
        stack.callback(lambda: engine.submit(source.close()).result())
        cast = engine.submit(source.__aenter__()).result() if options.answers is None else None
        bench = engine.submit(_open_bench(settings, source, number, options.repeats)).result()
        court = stack.enter_context(_seated(engine, settings, options.out, bench, tell))
        stack.callback(engine.cancel)
        failed = _answer_all(court, cast, settings, questions, options.out / ANSWERS) if cast else {}
        folder = AnswerFolder(options.answers or options.out / ANSWERS, _ids())
        judgements = _judge_all(court, folder, failed, questions)
    told = _tell(options, bench, cast, judgements, folder.refused)
    return write_results(options.out, rows_of(judgements), told)


def _number_of_judge(settings: Settings, name: str | None) -> int:
    """The place of the judge of this name, or of the first one; UserError when there is none."""
    known = [entry.name for entry in settings.judge.judges]
    if not known:
        raise UserError("the settings name no judge: add [[judge.judges]] with name and backend")
    if name is not None and name not in known:
        raise UserError(f"there is no judge {name}: the settings name {', '.join(known)}")
    return known.index(name) if name else 0


def _claim_folder(options: BenchmarkOptions) -> None:
    """Mark a new or empty folder as that of this system's run; UserError where it is something else's."""
    out, mark = options.out, {"benchmark": options.name, "questions_sha256": questions_sha256()}
    if options.lake is not None and out.resolve().is_relative_to(options.lake.resolve()):
        raise UserError(f"{out} lies in the lake; name a folder elsewhere")
    try:
        found = json.loads((out / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if out.exists() and any(out.iterdir()):
            raise UserError(f"{out} holds something else; name a folder that is empty or not there yet") from None
        out.mkdir(parents=True, exist_ok=True)
        write_durably(out / MARK, json.dumps(mark).encode())
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{out / MARK} cannot be read; name another folder") from error
    if found != mark:
        raise UserError(f"{out} is of another system or another set of questions; name another folder")


async def _open_bench(settings: Settings, source: BenchmarkSource, number: int, repeats: int | None) -> Bench:
    judge = settings.judge.model_copy(update={"repeats": repeats or settings.judge.repeats})
    return seat_bench(judge, {judge.judges[number].name: await source.judge(number)})


@contextmanager
def _seated(
    engine: Engine, settings: Settings, out: Path, bench: Bench, tell: Callable[[str], None]
) -> Iterator[_Court]:
    """A recorder over the run's own spool, which holds what was asked before."""
    spool, shelf = Spool(out / CALLS), SpoolShelf()
    try:
        tape = BatchTape(spool, shelf, ())
        recorder = Recorder(tape=tape, desk=engine.ask, run_id=uuid.uuid4().hex, patience=settings.run.patience)
        yield _Court(engine=engine, recorder=recorder, spool=spool, bench=bench, tell=tell)
    finally:
        spool.close()
        shelf.close()


async def _synced(work: Coroutine[Any, Any, T], court: _Court) -> T:
    async with synced(court.spool, court.recorder.stop):
        return await work


def _answer_all(
    court: _Court, cast: Cast, settings: Settings, questions: Sequence[BenchmarkQuestion], folder: Path
) -> dict[str, RefusedRow]:
    """Have the cast answer, and write its answers as a folder of answers; returns where it could not, by question."""
    answering = Answering(cast=cast, settings=settings, recorder=court.recorder)
    answers: dict[str, GivenAnswer] = {}
    failed: dict[str, RefusedRow] = {}
    for batch in _batches(questions):
        for question_id, found in court.finish(answering.answer_all(batch)).items():
            if isinstance(found, RefusedRow):
                failed[question_id] = found
            else:
                answers[question_id] = found
        court.tell(f"{len(answers) + len(failed)} of {len(questions)} questions answered, {len(failed)} of them not")
    write_answers(folder, answers)
    return failed


def _judge_all(
    court: _Court,
    folder: AnswerFolder,
    failed: Mapping[str, RefusedRow],
    questions: Sequence[BenchmarkQuestion],
) -> list[Judgement]:
    judgements: list[Judgement] = []
    for batch in _batches(questions):
        found = [failed.get(each.question_id) or folder.answer(each.question_id) for each in batch]
        heard = [_judge(court, question, answer) for question, answer in zip(batch, found, strict=True)]
        judgements += court.finish(finish_all(court.recorder, heard))
        court.tell(f"{len(judgements)} of {len(questions)} questions judged")
    return judgements


async def _judge(court: _Court, question: BenchmarkQuestion, found: GivenAnswer | RefusedRow | None) -> Judgement:
    """The verdicts on an answer; what is not there is worth nothing, by the rubric, and no judge is asked."""
    refused = found if isinstance(found, RefusedRow) else None
    answer = found if isinstance(found, GivenAnswer) else GivenAnswer(text="", picture=None)
    sha256 = answer.sha256()
    candidate = Candidate(
        question=question.question, answer=answer.text, picture=answer.picture, caption=answer.caption
    )
    sample_id = derive_id("benchmark-answer", question.question_id, question.question, sha256)
    hearings = hearings_of(court.bench, Subject(sample_id=sample_id, turn=1))
    verdicts: list[VerdictRow] = [await hear(hearing, candidate, court.recorder) for hearing in hearings]
    problem = refused.reason if refused else "no_answer" if found is None else None
    return Judgement(question=question, answer_sha256=sha256, problem=problem, refused=refused, verdicts=verdicts)


def _tell(
    options: BenchmarkOptions,
    bench: Bench,
    cast: Cast | None,
    judgements: Sequence[Judgement],
    refused: Sequence[RefusedRow],
) -> dict[str, Any]:
    """What benchmark.json says beside the scores."""
    judge = bench.judges[0]
    roles = {role: who for role, who in cast.roles().items() if makes_content(role)} if cast else {}
    makers = {(role, identity.name) for role, identity in roles.items()}
    refused = [*refused, *(judgement.refused for judgement in judgements if judgement.refused)]
    problems = Counter(judgement.problem for judgement in judgements if judgement.problem)
    return {
        "name": options.name,
        "answers": "the cast of the settings" if cast else "a folder",
        "models": {role: {"name": who.name, "revision": who.revision} for role, who in sorted(roles.items())},
        "judge": {
            "name": judge.name,
            "sha256": judge.sha256,
            "models": {part: {"name": who.name, "revision": who.revision} for part, who in judge.roles.items()},
        },
        "rubric_sha256": judge.rubric_sha256,
        "questions_sha256": questions_sha256(),
        "questions": len(judgements),
        "repeats": len(bench.repeats_of(judge)),
        "answered": len(judgements) - problems.total(),
        "problems": dict(sorted(problems.items())),
        "refused": [asdict(row) for row in refused],
        "warnings": list(kinship(bench, makers)),
    }


def _ids() -> frozenset[str]:
    return frozenset(question.question_id for question in read_questions())


def _batches(questions: Sequence[BenchmarkQuestion]) -> list[Sequence[BenchmarkQuestion]]:
    return [questions[first : first + BATCH] for first in range(0, len(questions), BATCH)]
