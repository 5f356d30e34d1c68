"""What the Prefect UI shows of a run that asks: how many questions are open, and the command that answers them."""

import shlex

from prefect.artifacts import create_markdown_artifact

from flows.review.questions import count_questions
from flows.run import Run

KEY = "build-questions"


def show_questions(run: Run) -> None:
    """A page in the UI, where the run was to ask."""
    if run.shop.settings.selection.review.ask:
        create_markdown_artifact(questions_markdown(run), key=KEY, description="What a person may decide otherwise")


def questions_markdown(run: Run) -> str:
    """How many questions of the lake are open, and the command; the path is shown as code, whatever it is."""
    lake = run.shop.lake
    count = count_questions(lake, lake.version())
    if not count:
        return "No question is open: no turn of this lake is near the thresholds."
    what = "1 question is open" if count == 1 else f"{count} questions are open"
    command = f"interlake review --lake {shlex.quote(str(lake.path.resolve()))}"
    return (
        f"{what}: turns near the thresholds, which stand as the rule decided until a person says otherwise.\n\n"
        f"    {_line(command)}\n"
    )


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
