"""`interlake call`: one call to one model, request and response."""

from pathlib import Path

import click

from flows.cli.options import console, json_option, lake_option, print_json, say


@click.command()
@lake_option
@json_option
@click.argument("call_id", metavar="ID")
@click.option("--picture", type=click.Path(path_type=Path), help="Write the picture that came back into this file.")
def call(*, lake_path: Path, as_json: bool, call_id: str, picture: Path | None) -> None:
    """The request and the response of call ID (an id or its first digits), as sent and as received."""
    from flows.errors import UserError
    from flows.shown_call import about_lines, answer_lines, read_call, request_lines
    from storage.lake import Lake

    found = read_call(Lake.open(lake_path), call_id)
    if picture:
        if found.picture is None:
            raise UserError(f"call {found.row['call_id']} brought no picture; those with the purpose 'draw' do")
        picture.write_bytes(found.picture)
    if as_json:
        print_json(found.json())
        return
    out = console()
    say(out, f"call {found.row['call_id']}", style="bold")
    for line in about_lines(found):
        say(out, line, indent=2)
    say(out, "asked", style="bold")
    for line in request_lines(found.request):
        say(out, line, indent=2)
    say(out, "answered", style="bold")
    for line in answer_lines(found):
        say(out, line, indent=2)
    if picture:
        say(out, f"written to {picture}", indent=2)
