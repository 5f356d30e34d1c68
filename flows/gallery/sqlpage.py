"""The SQL page: an editor beside the tables, and the result as a table, a plot or a file, all through the fence."""

import json
from collections.abc import Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.gallery.page import Gallery
from flows.gallery.sql.asking import Answer, Form, Question, Refused
from flows.gallery.sql.fenced import FencedSql
from flows.gallery.sql.plot import draw
from flows.gallery.sql.tables import EXAMPLES, read_tables

MEDIA = {
    Form.JSON: "application/json",
    Form.CSV: "text/csv; charset=utf-8",
    Form.PARQUET: "application/vnd.apache.parquet",
}
FROM_HERE = ("same-origin", "none")
MOST_SHOWN = 2_000
"""Characters of a cell on the page; files have all of it."""


def routes(gallery: Gallery) -> list[Route]:
    """`/sql`, and `/sql.csv`, `/sql.json` and `/sql.parquet` for files."""
    fenced = gallery.closing.enter_context(FencedSql(gallery.lake.path))

    def show(request: Request) -> Response:
        snapshot = gallery.snapshot()
        query = request.query_params
        sql, x, y = query.get("sql", ""), query.get("x", ""), query.get("y", "")
        answer, refused = None, ""
        if not sql.strip():
            fenced.start()
        elif not is_from_here(request):
            refused = "This statement came from another page: read it, and run it if you want to."
        else:
            answer, refused = _ask(fenced, query)
        rows = answer.cells() if answer else []
        shown, cut_cells = cut_long(rows)
        return gallery.render(
            request,
            "sql.html",
            status=400 if refused and not answer else 200,
            title="SQL",
            version=snapshot.number,
            sql=sql,
            at=query.get("at", ""),
            answer=answer,
            rows=shown,
            cut_cells=cut_cells,
            most_shown=MOST_SHOWN,
            refused=refused,
            plot=draw(answer.names, rows, x, y) if answer and x and y else None,
            x=x,
            y=y,
            limits=fenced.limits,
            tables=read_tables(),
            examples=EXAMPLES,
            values={"sql": sql, "at": query.get("at", "")},
        )

    def load(request: Request) -> Response:
        if not is_from_here(request):
            raise HTTPException(403, "A result is loaded from the SQL page alone.")
        try:
            form = Form(request.path_params["form"])
        except ValueError as error:
            raise HTTPException(404, f"A result comes as {', '.join(Form)}.") from error
        answer = fenced.ask(_question(request.query_params, form))
        name = f"first-{answer.rows}-rows" if answer.cut else "result"
        headers = {"content-disposition": f'attachment; filename="{name}.{form}"'}
        return Response(_body(answer), media_type=MEDIA[form], headers=headers)

    return [Route("/sql", show), Route("/sql.{form}", load)]


def is_from_here(request: Request) -> bool:
    """Whether a statement was typed or comes from a page of ours: others cannot have our machine work for them."""
    return request.headers.get("sec-fetch-site", "none") in FROM_HERE


def cut_long(rows: Sequence[Sequence[object]]) -> tuple[list[list[object]], int]:
    """The rows as the page shows them, and how many cells were cut after MOST_SHOWN characters."""
    cut = sum(isinstance(cell, str) and len(cell) > MOST_SHOWN for row in rows for cell in row)
    return [[_cut(cell) for cell in row] for row in rows], cut


def _cut(cell: object) -> object:
    return f"{cell[:MOST_SHOWN]}…" if isinstance(cell, str) and len(cell) > MOST_SHOWN else cell


def _ask(fenced: FencedSql, query: Mapping[str, str]) -> tuple[Answer | None, str]:
    """The answer, or why there is none."""
    try:
        return fenced.ask(_question(query, Form.JSON)), ""
    except Refused as refusal:
        return None, str(refusal)


def _question(query: Mapping[str, str], form: Form) -> Question:
    """What an address asks; Refused for a version that is none."""
    at = query.get("at", "").strip()
    if at and not (at.isdecimal() and len(at) < 10):
        raise Refused(f"a version is a whole number, not {at[:40]!r}")
    return Question(sql=query.get("sql", ""), at=int(at) if at else None, form=form)


def _body(answer: Answer) -> bytes:
    """A file; JSON with the names of its columns, and what was left out."""
    if answer.form is not Form.JSON:
        return answer.body
    head = {"columns": answer.names, "types": answer.types, "cut": answer.cut}
    return json.dumps(head).encode()[:-1] + b', "rows": ' + answer.body + b"}"
