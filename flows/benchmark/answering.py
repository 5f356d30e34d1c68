"""How the cast of a lake answers the benchmark: the stages answer and image for each question as it stands.

No lake is touched. Calls go through the recorder to a spool of the run, so that nothing is asked twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.benchmark.answers import GivenAnswer, RefusedRow
from flows.benchmark.questions import BenchmarkQuestion
from flows.recipe import write_recipe
from flows.recorder import Recorder, finish_all
from flows.seir.asking import Asker
from flows.seir.dialogue import Brief, Playwright
from flows.settings import Settings
from flows.studio import Cast
from storage.canonical import derive_id


class GivenQuestion(Playwright):
    """Writes a turn to a question that is given: what stands in a template's place is the question itself."""

    async def _question(self, turn: int, instruction: str) -> str:  # noqa: ARG002
        return instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A cast that answers, by the settings of a lake."""

    cast: Cast
    settings: Settings
    recorder: Recorder

    async def answer_all(self, questions: Sequence[BenchmarkQuestion]) -> Mapping[str, GivenAnswer | RefusedRow]:
        """By question the answer, or why there is none; errors other than unusable content pass through."""
        found = await finish_all(self.recorder, map(self._answer, questions))
        return {question.question_id: answer for question, answer in zip(questions, found, strict=True)}

    async def _answer(self, question: BenchmarkQuestion) -> GivenAnswer | RefusedRow:
        """The models are told the category as the topic: a question of the benchmark has no other."""
        recipe = write_recipe(self.settings, self.cast.roles())
        slot_id = derive_id("benchmark", question.question_id, question.question)
        asker = Asker(
            cast=self.cast,
            recorder=self.recorder,
            settings=self.settings.generation,
            slot_id=slot_id,
            sample_id=recipe.sample_id(slot_id),
            retry=0,
        )
        brief = Brief(
            sample_id=asker.sample_id,
            topic=question.category,
            templates=[(question.question_id, question.question)],
        )
        playwright = GivenQuestion(asker=asker, brief=brief)
        failure = (await playwright.write()).failure
        if failure is not None:
            place, why = f"question {question.question_id}", f"{failure.stage}: {failure.reason}"
            return RefusedRow(place=place, question_id=question.question_id, reason="failed", message=why)
        turn = playwright.history[0]
        return GivenAnswer(text=turn.answer, picture=turn.picture, caption=turn.caption)
