"""Opening a run that derives templates from a file of questions, and what it came to, with a report."""

import csv
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.deriving import DERIVE, Derivation, deriving_recipe, filtered_fates, subject_of
from flows.engine import Engine
from flows.errors import UserError
from flows.inquiring import Inquiring, count_inquiries, inquiring
from flows.opening import open_lake
from flows.proposal_run import WriterSource
from flows.settings import Settings
from flows.studio import Studio
from flows.topics.catalogue import read_templates
from flows.topics.lake_templates import read_lake_templates
from flows.topics.written_questions import WrittenQuestion, read_questions
from flows.workshop import Workshop
from storage.lake import Lake
from storage.records import InquiryRow, TemplateRow

REPORTS = (".csv", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What became of the questions of a file: one mapping each, as `Fate.json` has it. None: nothing was asked."""

    questions: tuple[Mapping[str, Any], ...]
    version: int | None

    def lines(self) -> Iterator[str]:
        """What a person is told."""
        added = [each for each in self.questions if each["template_id"]]
        reasons = Counter(each["reason"] for each in self.questions if each["reason"])
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
        if self.version is None:
            kept = len(self.questions) - sum(reasons.values())
            yield f"{len(self.questions)} questions: the model would be asked about {kept}; left out: {left_out}"
        else:
            told = f"{len(added)} templates added, as version {self.version}"
            yield f"{len(self.questions)} questions: {told}; left out: {left_out}"
        for each in self.questions:
            said = each["template"] if each["template_id"] else f"{each['reason']}: {each['detail']}"
            if each["template_id"] or each["reason"]:
                yield f"  {each['place']}: {each['template_id'] or 'left out'}: {said}"

    def write(self, path: Path) -> None:
        """A row for each question, as CSV or JSON by the file's name."""
        if path.suffix == ".json":
            path.write_text(json.dumps(list(self.questions), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            names = list(self.questions[0]) if self.questions else []
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deriving:
    """A run that derives templates, and the questions that it derives them from."""

    run: Inquiring
    questions: Sequence[WrittenQuestion]

    def derive(self) -> Derived:
        lake = self.run.shop.lake
        head = lake.version()
        number = count_inquiries(lake, head, kind=DERIVE, about=subject_of(self.questions))
        inquiry = Derivation(
            lake=lake, version=head, questions=self.questions, number=number, run_id=self.run.shop.run_id
        )
        version, rows = self.run.carry_out(inquiry)
        (row,) = (each for each in rows if isinstance(each, InquiryRow))
        return Derived(questions=tuple(json.loads(row.result)["questions"]), version=version.number)


def check_report_path(path: Path) -> None:
    """UserError for a report that could not be written."""
    if path.suffix not in REPORTS or not path.parent.is_dir():
        raise UserError(f"{path}: a report is a file .csv or .json in a folder that is there")


def preview_derivation(file: Path) -> Derived:
    """What the filter says of a file's questions; asks no model."""
    return Derived(questions=tuple(fate.json() for fate in filtered_fates(read_questions(file))), version=None)


@contextmanager
def open_deriving(
    path: Path,
    file: Path,
    *,
    lock_timeout: float | None = None,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], WriterSource] = Studio,
) -> Iterator[Deriving]:
    """A run that derives templates. NotALake, SettingsError, QuestionFileError, UserError, LakeBusy."""
    lake, settings = open_lake(path, lock_timeout=lock_timeout)
    questions = read_questions(file)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        models = studio(settings)
        stack.callback(lambda: engine.submit(models.close()).result())
        writer = engine.submit(models.writer()).result()
        shop = Workshop(
            lake=lake,
            settings=settings,
            roles={"writer": writer.identity},
            recipe=deriving_recipe(settings),
            run_id=uuid.uuid4().hex,
        )
        run = stack.enter_context(inquiring(shop, writer, engine, kind=DERIVE, flow_run_id=flow_run_id))
        yield Deriving(run=run, questions=questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTemplate:
    """A template that a lake draws from; `origin` is where a derived one is from, None for shipped ones."""

    template_id: str
    type: str
    weight: int
    text: str
    origin: Mapping[str, Any] | None


def list_templates(path: Path) -> list[ListedTemplate]:
    """All templates that builds of a lake draw from: the shipped ones, then the lake's own."""
    lake = Lake.open(path)
    head = lake.version()
    origins = {row.template_id: json.loads(row.origin) for row in lake.rows(TemplateRow, head)}
    every = [*read_templates(), *read_lake_templates(lake, head).values()]
    return [
        ListedTemplate(
            template_id=each.template_id,
            type=each.type,
            weight=each.weight,
            text=each.text,
            origin=origins.get(each.template_id),
        )
        for each in every
    ]
