"""A folder of answers: `answers.jsonl` and the pictures beside it, checked row by row. Asks nobody and judges nothing.

Whoever made the folder is not trusted: a row that names another file than one in the folder is refused, whatever
links or dots lead to it, and so is a row that is not whole. What is refused counts as not answered.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.benchmark.pictures import UnusablePicture, read_picture
from flows.errors import UserError
from models.picture import Picture
from storage.canonical import content_sha256
from storage.durable import write_durably

FILE = "answers.jsonl"
PICTURES = "pictures"
LARGEST_FILE = 64 << 20
"""Bytes of answers.jsonl."""
LONGEST_ANSWER = 20_000
"""Characters."""


class AnswerLine(BaseModel):
    """A line of the file. `image` is a path from the folder, none where there is no picture; `caption` may say what
    the picture was to show, for judges that only measure."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question_id: str
    answer: Annotated[str, Field(max_length=LONGEST_ANSWER)]
    image: str | None = None
    caption: Annotated[str, Field(max_length=LONGEST_ANSWER)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that cannot be used: where it stands, the question that it is for as far as it says so, why in a word and
    in a sentence."""

    place: str
    question_id: str | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """What a system gave as its answer; either part may be missing."""

    text: str
    picture: Picture | None
    caption: str | None = None

    def sha256(self) -> str:
        """The hash of all that a judge may see."""
        return content_sha256([self.text, self.picture.pixel_sha256 if self.picture else None, self.caption])


class AnswerFolder:
    """The usable rows of a folder, by question; pictures are read when they are asked for, since they are large."""

    def __init__(self, folder: Path, known: Collection[str]) -> None:
        """UserError when the folder has no such file; `known` are the questions that there are."""
        self.folder = folder
        rows = _read_lines(folder / FILE)
        self._lines: dict[str, tuple[str, AnswerLine]] = {}
        self.refused: list[RefusedRow] = []
        for place, text in rows:
            found = _parse(place, text, known, self._lines)
            if isinstance(found, RefusedRow):
                self.refused.append(found)
            else:
                self._lines[found.question_id] = (place, found)

    def refuse_empty(self) -> None:
        """UserError when there is no usable row."""
        if not self._lines:
            why = f": {self.refused[0].place}, {self.refused[0].message}" if self.refused else ""
            raise UserError(f"{self.folder / FILE} holds no usable answer{why}")

    def answer(self, question_id: str) -> GivenAnswer | RefusedRow | None:
        """The answer to a question, None where there is none; a row whose picture is unusable is refused as a whole."""
        if question_id not in self._lines:
            return None
        place, line = self._lines[question_id]
        try:
            picture = read_picture(self._inside(line.image)) if line.image is not None else None
        except UnusablePicture as error:
            return RefusedRow(
                place=place, question_id=question_id, reason=error.reason, message=f"{line.image!r}: {error}"
            )
        return GivenAnswer(text=line.answer, picture=picture, caption=line.caption)

    def _inside(self, name: str) -> Path:
        """The file of this name, which lies in the folder when all links and dots are followed; UnusablePicture."""
        try:
            root = self.folder.resolve(strict=True)
            path = (root / name).resolve(strict=True)
        except FileNotFoundError as error:
            raise UnusablePicture("no_file", "there is no such file") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise UnusablePicture("no_file", f"it names no file: {error}") from error
        if Path(name).is_absolute() or not path.is_relative_to(root):
            raise UnusablePicture("outside", "it leads out of the folder; name a file in it")
        return path


def write_answers(folder: Path, answers: Mapping[str, GivenAnswer]) -> None:
    """Write answers as such a folder: pictures under their hashes first, then the file that names them."""
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    lines = [_line(folder, question_id, answer) for question_id, answer in answers.items()]
    write_durably(folder / FILE, "".join(lines).encode())


def _line(folder: Path, question_id: str, answer: GivenAnswer) -> str:
    image = None
    if answer.picture is not None:
        image = f"{PICTURES}/{answer.picture.sha256}.png"
        if not (folder / image).exists():
            write_durably(folder / image, answer.picture.data)
    line = AnswerLine(question_id=question_id, answer=answer.text, image=image, caption=answer.caption)
    return json.dumps(line.model_dump(), ensure_ascii=False) + "\n"


def _read_lines(path: Path) -> Iterable[tuple[str, bytes]]:
    """Places and bytes of the lines that are not blank; UserError when there is no such file, or it is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); a folder of answers holds {FILE}, one JSON object a line with "
            "question_id, answer and, where there is a picture, image"
        ) from error
    if len(data) > LARGEST_FILE:
        raise UserError(f"{path} is larger than {LARGEST_FILE >> 20} MiB; it holds texts alone, pictures lie beside it")
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return ((f"line {number}", line) for number, line in enumerate(lines, start=1) if line.strip())


def _parse(place: str, text: bytes, known: Collection[str], taken: Collection[str]) -> AnswerLine | RefusedRow:
    def refuse(reason: str, message: str, question_id: str | None = None) -> RefusedRow:
        return RefusedRow(place=place, question_id=question_id, reason=reason, message=message)

    try:
        fields = json.loads(text)
        line = AnswerLine.model_validate(fields)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        return refuse("wrong_shape", f"{where or 'the line'}: {error.errors()[0]['msg']}")
    except (ValueError, RecursionError) as error:
        return refuse("not_json", f"the line is no JSON in UTF-8: {error}")
    if line.question_id not in known:
        return refuse("unknown_question", f"the benchmark has no question {line.question_id!r}")
    if line.question_id in taken:
        return refuse("repeated", f"{line.question_id} was answered before", line.question_id)
    return line


def count_reasons(refused: Iterable[RefusedRow]) -> dict[str, int]:
    """How many rows were refused, by reason."""
    counts: dict[str, int] = {}
    for row in refused:
        counts[row.reason] = counts.get(row.reason, 0) + 1
    return dict(sorted(counts.items()))
