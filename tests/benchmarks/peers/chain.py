"""The chain that every tool runs for each row: six calls, each told what came before. Needs nothing but Python.

Prompts are templates with `{{ name }}` in them, which all of these tools understand or can be given. Each names its row
and step, by which the server chooses latency and reply: so equal calls take equally long, whoever asks.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

MODEL = "slow-chat"
STEPS: Mapping[str, str] = {
    "question": "Topic: case {{ row }}. Write one question about the topic that asks for words and for a picture.",
    "question_critique": "You check a question. Say in one sentence what to change.\nQuestion: {{ question }}",
    "question_rewrite": "Improve the question as the suggestion says.\nQuestion: {{ question }}\n"
    "Suggestion: {{ question_critique }}",
    "answer": "Answer the question in two or three sentences, with a caption for a picture.\n"
    "Question: {{ question_rewrite }}",
    "answer_critique": "You check an answer. Say in one sentence what to change.\nQuestion: {{ question_rewrite }}\n"
    "Answer: {{ answer }}",
    "answer_rewrite": "Improve the answer as the suggestion says.\nQuestion: {{ question_rewrite }}\n"
    "Answer: {{ answer }}\nSuggestion: {{ answer_critique }}",
}
"""The templates by the name of what each makes, in the order of the chain."""
MAX_TOKENS = 640
TEMPERATURE = 0.7

_GAP = re.compile(r"\{\{ (\w+) \}\}")


def template(name: str) -> str:
    """The template of a step, with its mark."""
    return f"{STEPS[name]} (row {{{{ row }}}}, step {list(STEPS).index(name) + 1})"


def fill(name: str, values: Mapping[str, object]) -> str:
    """The prompt of a step for a row, by what the row has so far."""
    return _GAP.sub(lambda gap: str(values[gap[1]]), template(name))


def read_words(tool: str) -> argparse.Namespace:
    """What a script of a tool is asked: url, rows, at_once, folder, out."""
    parser = argparse.ArgumentParser(description=f"The chain of six calls on {tool}.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where it may write")
    return parser.parse_args()


def report(rows: int, *, version: str, settings: str, done: float | None = None) -> None:
    """The last line that a script says: how many rows are whole, and when they were all there and kept; or now."""
    told = {"rows": rows, "done": done or time.monotonic(), "version": version, "settings": settings}
    sys.stdout.write(f"\n{json.dumps(told)}\n")
