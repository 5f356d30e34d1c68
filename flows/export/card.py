"""The card of an export: what Hugging Face reads at the top of README.md, and what people read below it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from flows.export.asked import SCORES, ExportOptions
from storage.canonical import Json
from storage.history import Connection

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
FILES = {"parquet": "data/{split}-*.parquet", "jsonl": "{split}-*.jsonl", "webdataset": "{split}-*.tar"}
LAYOUTS = {
    "messages": "a sample a row: `images`, a list, and `messages`, whose image parts stand for them in their order",
    "published": "the columns of the published dataset: `human`, `gpt`, `caption`, `image`, numbered by turn where "
    "some samples have several",
    "llava": "`conversations` with `from` and `value`, one `<image>` for each picture, as a file below `images/`",
    "openai": "`messages` with parts; a picture is an `image_url` part of the answer that names a file below `images/`",
    "pairs": "`ID.json` with all texts, then `ID.0.png`, `ID.1.png`, …, a picture for each turn",
    "turns": "a table a split, a turn a row, as LanceDB opens it",
}


def describe(connection: Connection, options: ExportOptions, told: Mapping[str, Json]) -> str:
    """README.md, from the manifest and from the tables of what was chosen; the same text each time."""
    return "\n".join([*_front(options, told), "", *_body(connection, options, told), ""])


def _front(options: ExportOptions, told: Mapping[str, Json]) -> Iterator[str]:
    samples = cast("int", told["samples"])
    yield "---"
    yield "pretty_name: Interleaved image-text dialogues made with interlake"
    yield "license: other"
    yield "license_name: see-the-licences-of-each-sample"
    yield "language: [en]"
    yield "task_categories: [image-text-to-text, text-to-image, visual-question-answering]"
    yield "tags: [synthetic, ai-generated, interleaved, interlake]"
    yield f"size_categories: [{next((name for most, name in SIZES if samples < most), 'n>1M')}]"
    if pattern := FILES.get(options.format):
        yield "configs:"
        yield "- config_name: default"
        yield "  data_files:"
        for split in cast("Mapping[str, int]", told["splits"]):
            yield f"  - split: {split}"
            yield f'    path: "{pattern.format(split=split)}"'
    yield "---"


def _body(connection: Connection, options: ExportOptions, told: Mapping[str, Json]) -> Iterator[str]:
    plan = cast("Mapping[str, Json]", told["plan"])
    splits = cast("Mapping[str, int]", told["splits"])
    counted = ", ".join(f"{count:,} {split}" for split, count in splits.items())
    yield "# Interleaved image-text dialogues"
    yield ""
    yield (
        f"{told['samples']:,} samples ({counted}) with {told['turns']:,} turns: a question, an answer, and a picture "
        "that belongs to the answer. **All texts and pictures were made by models**: `ai_generated` in every row."
    )
    yield ""
    yield f"- Form: {options.format}, {LAYOUTS[options.shape]}."
    yield f"- Made by interlake {told['interlake']} from version {plan['version']} of a lake (sha256 `{plan['lake']}`)."
    yield f"- Chosen: {', '.join(_chosen(options))}."
    yield "- Smaller exports of the same version and order are the beginning of larger ones."
    yield "- The files and their hashes are in `manifest.json`, which is written last."
    yield ""
    yield from _table("What it is about", ("domain", "topics", "samples"), connection, _DOMAINS)
    yield from _table("What became of all samples of that version", ("outcome", "samples"), connection, _OUTCOMES)
    yield from _table("Models", ("role", "model", "revision", "licence"), connection, _MODELS)
    yield from _table("Licences of pictures", ("licence", "turns"), connection, _PICTURES)
    yield from _table("Scores (0 to 5, means of what judges said)", ("score", "scored", "mean"), connection, _SCORES)
    yield from _thresholds(connection)
    yield from _LIMITS


def _chosen(options: ExportOptions) -> Iterator[str]:
    yield "samples that were kept"
    if options.under:
        yield f"under {json.dumps(options.under, ensure_ascii=False)}"
    if options.licences:
        yield f"with no other licences than {', '.join(sorted(options.licences))}"
    if options.least_score is not None:
        yield f"with {options.least_score:g} or more in each score"
    if options.size is not None:
        yield f"{options.size:,} at most"
    yield "evenly over domains and topics" if options.order == "even" else "those with the best scores first"
    if options.validation:
        yield f"{options.validation:.0%} held out by whole topics, and topics that come near to each other together"


_DOMAINS = """SELECT coalesce(nullif(domain, ''), '(no domain)'), count(DISTINCT topic_id), count(*) FROM memory.chosen
GROUP BY 1 ORDER BY 3 DESC, 1"""
_OUTCOMES = "SELECT outcome, count(*) FROM samples GROUP BY 1 ORDER BY 2 DESC, 1"
_MODELS = "SELECT DISTINCT role, name, revision, licence FROM models ORDER BY ALL"
_PICTURES = "SELECT image_licence, count(*) FROM work.rows GROUP BY 1 ORDER BY 2 DESC, 1"
_SCORES = " UNION ALL ".join(
    f"SELECT '{name.upper()}', count({name}), round(avg({name}), 2) FROM memory.chosen" for name in SCORES
)


def _table(title: str, heads: Sequence[str], connection: Connection, sql: str) -> Iterator[str]:
    rows = connection.execute(sql).fetchall()
    yield f"## {title}"
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)
    yield ""


def _cell(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _thresholds(connection: Connection) -> Iterator[str]:
    recipes = "SELECT DISTINCT recipe_id, selection FROM recipes SEMI JOIN memory.chosen USING (recipe_id) ORDER BY 1"
    yield "## How near-duplicates were removed"
    yield ""
    for recipe_id, selection in connection.execute(recipes).fetchall():
        kept = json.loads(selection)["settings"]["duplicates"]
        told = ", ".join(f"{name} {value}" for name, value in sorted(kept.items()))
        yield f"- Recipe `{recipe_id[:12]}`: {told}."
    yield ""


_LIMITS = (
    "## Limits",
    "",
    "- Nobody has looked at every sample. Answers may be wrong, and pictures may not show what the text says.",
    "- Scores are those of models where there are any; a dash means that no judge was asked.",
    "- The licence of each model and picture stands with its sample; whoever uses the data minds them.",
    "",
    "## Make it again",
    "",
    "With the lake: `interlake replay` makes every version again from its record and compares hashes; "
    "`interlake export` with the same choices gives these files again.",
)
