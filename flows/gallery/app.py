"""The gallery as one web application over a lake: its pages, its files, and the guard before them."""

import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import duckdb
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from flows.errors import UserError
from flows.gallery import (
    coverage,
    dropped,
    duplicates,
    mapped,
    pictures,
    reviewing,
    runs,
    sample,
    samples,
    sqlpage,
    versions,
)
from flows.gallery.access import Access, Guard
from flows.gallery.page import Gallery
from storage.errors import LakeError
from storage.lake import Lake

logger = logging.getLogger("interlake")
STATIC = Path(__file__).parent / "static"
PAGES = (samples, sample, dropped, duplicates, reviewing, coverage, mapped, runs, versions, sqlpage)
"""Modules with `routes(gallery)`."""


def make_app(lake: Lake, access: Access | None = None) -> ASGIApp:
    """The application; the history is opened now, so that a lake that cannot be read is told of at once."""
    rules = access or Access()
    gallery = Gallery(lake, rules)
    pages: list[BaseRoute] = [route for page in PAGES for route in page.routes(gallery)]
    gallery.paths.update(route.path for route in pages if isinstance(route, Route))
    files: Sequence[BaseRoute] = (
        *pictures.routes(gallery.shelf),
        Mount("/static", StaticFiles(directory=STATIC)),
    )

    def show_error(request: Request, error: Exception) -> Response:
        return gallery.show_error(request, error)

    def show_fault(request: Request, error: Exception) -> Response:
        logger.error("%s of %s: %s", type(error).__name__, request.url.path, " ".join(str(error).split()))
        return PlainTextResponse(f"The gallery made a mistake: {type(error).__name__}.", status_code=500)

    @asynccontextmanager
    async def ending(_: Starlette) -> AsyncIterator[None]:
        with gallery.closing:
            yield

    app = Starlette(
        lifespan=ending,
        routes=[*pages, *files],
        exception_handlers={
            HTTPException: show_error,
            LakeError: show_error,
            UserError: show_error,
            duckdb.Error: show_fault,
        },
    )
    return Guard(app, rules)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, port 0 being any free one; UserError when it cannot be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        raise UserError(
            f"nothing can be served at {host}, port {port} ({error.strerror}); give another --port"
        ) from error
    return found


def serve(app: ASGIApp, at: socket.socket) -> None:
    """Serve until the process is told to end."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, ws="none", lifespan="on")
    uvicorn.Server(config).run(sockets=[at])
