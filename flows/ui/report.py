"""The report at the end of a build, as Markdown for the Prefect UI: what a model or user wrote is text in it."""

import base64
from collections.abc import Iterable, Iterator, Sequence

from prefect.artifacts import create_markdown_artifact

from flows.run import Run
from flows.ui.besides import besides
from flows.ui.contact_sheet import contact_sheet
from flows.ui.escaping import as_text
from flows.ui.findings import Findings, Some, read_findings
from flows.ui.gallery_link import gallery_lines

KEY = "build-report"
MOST_BYTES = 500_000
SHEET_BYTES = 200_000
SHORT, LONG = 40, 90
"""Characters of a name and of a text: the UI breaks no line of a table."""


def show_report(run: Run) -> None:
    """The report of a run that has ended, as an artifact; none of a run that had nothing to do."""
    if not run.plan.slots:
        return
    with besides("the report of the build"):
        found = read_findings(run.shop.lake, run.shop.run_id)
        create_markdown_artifact(write_report(found), key=KEY, description=f"What run {found.run_id[:8]} came to")


def write_report(found: Findings) -> str:
    """The page, of at most MOST_BYTES; where it would be more, it goes without pictures."""
    sheet = contact_sheet(found.pictures, most_bytes=SHEET_BYTES)
    page = _page(found, sheet)
    return page if len(page.encode()) <= MOST_BYTES else _page(found, None)


def _page(found: Findings, sheet: bytes | None) -> str:
    parts = (
        _head(found),
        _kept(found, sheet),
        _topics(found),
        _categories(found),
        _rounds(found),
        _repeats(found),
        _within(found),
        _failed(found),
    )
    return "\n".join(line for part in parts for line in (*part, ""))


def _head(found: Findings) -> Iterator[str]:
    yield f"# Build {found.run_id[:8]}: {as_text(found.state)}"
    yield ""
    yield f"Lake {as_text(found.lake, 2 * LONG)}, version {found.version}."
    yield ""
    yield from gallery_lines(found.lake, found.run_id)
    yield ""
    yield from _table(list(found.counts), [[str(count) for count in found.counts.values()]], numbers=len(found.counts))


def _kept(found: Findings, sheet: bytes | None) -> Iterator[str]:
    if not found.kept.count:
        return
    yield f"## Kept: {found.kept.count} samples{_first(found.kept)}"
    yield ""
    if sheet:
        yield f"![the first pictures](data:image/jpeg;base64,{base64.b64encode(sheet).decode()})"
        yield ""
    rows = [
        (str(at), row["sample_id"][:8], as_text(row["topic"], SHORT), as_text(row["question"], LONG))
        for at, row in enumerate(found.kept.first, start=1)
    ]
    yield from _table(("no.", "sample", "topic", "first question"), rows)


def _topics(found: Findings) -> Iterator[str]:
    old = found.topics.count - found.new_topics
    yield f"## Topics: {found.new_topics} new, {old} gone on with{_first(found.topics)}"
    yield ""
    outcomes = ("kept", "rejected", "duplicate", "failed", "open")
    rows = [
        (
            as_text(row["name"], SHORT),
            as_text(" / ".join(part for part in (row["domain"], row["category"]) if part), SHORT),
            "yes" if row["is_new"] else "no",
            *(str(row[name]) for name in outcomes),
        )
        for row in found.topics.first
    ]
    yield from _table(("topic", "in", "new", *outcomes), rows, numbers=len(outcomes))


def _categories(found: Findings) -> Iterator[str]:
    yield f"## Coverage: {found.categories.count} categories touched{_first(found.categories)}"
    yield ""
    outcomes = ("kept", "rejected", "duplicate", "failed", "open")
    rows = [
        (
            as_text(" / ".join(part for part in (row["domain"], row["category"]) if part), 2 * SHORT),
            *(str(row[name]) for name in outcomes),
            str(row["kept_in_all"]),
            f"{row['untouched']} of {row['topics']}",
        )
        for row in found.categories.first
    ]
    heads = ("category", *outcomes, "kept in the lake", "topics without samples")
    yield from _table(heads, rows, numbers=len(heads) - 1)


def _rounds(found: Findings) -> Iterator[str]:
    yield "## Rounds: drafts objected to, written anew, chosen in the end"
    yield ""
    names = ("round", "drafts", "criticised", "rewritten", "chosen")
    rows = [(row["stage"], *(str(row[name]) for name in names)) for row in found.rounds]
    yield from _table(("stage", *names), rows, numbers=len(names))


def _repeats(found: Findings) -> Iterator[str]:
    if not found.repeats.count:
        return
    yield f"## Near-duplicates: {found.repeats.count} turns that repeat a kept one{_first(found.repeats)}"
    yield ""
    rows = [
        (
            f"{row['sample_id'][:8]} turn {row['turn']}",
            f"{row['kept_sample_id'][:8]} turn {row['kept_turn']}",
            f"{row['image_similarity']:.4f} (from {row['image_threshold']:g})",
            f"{row['text_similarity']:.4f} (from {row['text_threshold']:g})",
            as_text(row["caption"] or "", SHORT),
            as_text(row["kept_caption"] or "", SHORT),
        )
        for row in found.repeats.first
    ]
    yield from _table(("repeat", "of", "pictures alike", "captions alike", "its caption", "the kept one's"), rows)


def _within(found: Findings) -> Iterator[str]:
    if not found.redundancy:
        return
    turns, alike = (sum(row[name] for row in found.redundancy) for name in ("turns", "image"))
    yield f"## Within dialogues: {alike} of {turns} later turns have nearly the picture of an earlier one"
    yield ""
    kinds = ("image", "caption", "question")
    named = zip(("picture", "caption", "question"), kinds, strict=True)
    names = [f"{name} alike (from {found.alike_from[kind]:g})" for name, kind in named]
    rows = [
        (
            str(row["turn"]),
            str(row["turns"]),
            *(f"{row[kind]} ({row[kind] / row['turns']:.0%})" for kind in kinds),
            "" if row["mean"] is None else f"{row['mean']:.4f}",
        )
        for row in found.redundancy
    ]
    yield from _table(("turn", "turns", *names, "pictures alike on average"), rows, numbers=len(kinds) + 3)


def _failed(found: Findings) -> Iterator[str]:
    if not found.failed.count:
        return
    yield f"## Failed: {found.failed.count} samples{_first(found.failed)}"
    yield ""
    rows = [
        (row["sample_id"][:8], as_text(row["topic"], SHORT), as_text(row["stage"] or ""), as_text(row["reason"] or ""))
        for row in found.failed.first
    ]
    yield from _table(("sample", "topic", "stage", "reason"), rows)


def _first(some: Some) -> str:
    return f" (the first {len(some.first)})" if some.count > len(some.first) else ""


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> Iterator[str]:
    """A table whose last `numbers` columns are numbers; cells are Markdown already."""
    yield f"| {' | '.join(names)} |"
    texts = len(names) - numbers
    yield f"|{'---|' * texts}{'---:|' * numbers}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
