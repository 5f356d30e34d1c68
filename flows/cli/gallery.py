"""`interlake gallery`: the web page to look at a lake with."""

import socket
from pathlib import Path

import click

from flows.cli.options import lake_option, plain

PORT = 4280
NEAR = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""What a browser on this machine asks for where the server listens at all of its addresses."""


@click.command()
@lake_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at; others ask for a token.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="Port; 0 takes any free one."
)
def gallery(*, lake_path: Path, host: str, port: int) -> None:
    """Look at the lake in a browser: samples with pictures, rounds, duplicates, topics, a map, runs, SQL.

    Read-only but for the answers to open questions. Serves until Ctrl-C. At any other address than this machine's own
    it asks for a token, which is in the address that it prints.
    """
    from flows.gallery.access import access_for
    from flows.gallery.app import listen, make_app, serve
    from storage.lake import Lake

    lake = Lake.open(lake_path.resolve())
    at = listen(host, port)
    with at:
        access = access_for(host)
        app = make_app(lake, access)
        port = at.getsockname()[1]
        click.echo(plain(f"the gallery of {lake.path}: {_address(NEAR.get(host, host), port, access.token)}"))
        if host in NEAR:
            there = _address(socket.gethostname(), port, access.token)
            click.echo(plain(f"from another machine: {there} (or this machine's address in place of its name)"))
        click.echo("Ctrl-C ends it")
        serve(app, at)


def _address(host: str, port: int, token: str | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/{f'?token={token}' if token else ''}"
