"""Who may ask the gallery for what: headers, hosts, a token, forms from our own pages alone. Knows nothing of lakes."""

import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
COOKIE = "interlake_gallery"
"""How the name of the cookie begins; cookies know no ports, so the port is the rest of it."""
FORM_TOKEN = "form_token"
READING = ("GET", "HEAD")
LARGEST_FORM = 1 << 20
"""Bytes."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""On every answer: what the page may load is our own, and nothing of it runs or is framed elsewhere.

With `no-referrer` browsers would send our own forms with the origin `null`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rules. `hosts` are names that a request may call us by, None for any; `token` is asked for where it is given.

    `form_token` is in every form of ours, and in nobody else's: other sites cannot read our pages.
    """

    hosts: frozenset[str] | None = LOOPBACK
    token: str | None = None
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))


def access_for(host: str) -> Access:
    """The rules for a server that is bound to a host: a token, unless only this machine can reach it."""
    if host in LOOPBACK:
        return Access()
    return Access(hosts=None, token=secrets.token_urlsafe(24))


class Guard:
    """Stands before the pages: refuses what must not come in, and puts the headers on all that goes out."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        # Our own files are asked about each time (they have ETags); what is in the lake is kept nowhere.
        kept = "no-cache" if scope["path"].startswith("/static/") else "no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", kept)
            await send(message)

        refused = self._refuse(Request(scope))
        await (refused or self._app)(scope, receive, send_with_headers)

    def _refuse(self, request: Request) -> Response | None:
        """What is answered instead of a page, if anything."""
        host = host_name(request.headers.get("host", ""))
        if not host or (self._access.hosts is not None and host not in self._access.hosts):
            return PlainTextResponse("This is not the name of the gallery's machine.", status_code=421)
        if request.method not in READING and not is_from_here(request.headers):
            return PlainTextResponse("This form was not sent from a page of the gallery.", status_code=403)
        return self._refuse_stranger(request) if self._access.token else None

    def _refuse_stranger(self, request: Request) -> Response | None:
        """None for whoever has the token; with it in the address, they get it as a cookie instead.

        The cookie is `lax`: browsers send it along when a link on another site leads here, and with no form, picture
        or script of another site. Reading changes nothing, and what would is refused before, by where it comes from.
        """
        cookie = cookie_name(request.headers.get("host", ""))
        if self._is_token(request.cookies.get(cookie)):
            return None
        given = request.query_params.get("token")
        if not self._is_token(given):
            return PlainTextResponse(
                "The gallery asks for a token: open the address that 'interlake gallery' printed.", status_code=401
            )
        rest = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
        # Beginning with one slash and no other: an address of ours, whatever was asked for.
        path = "/" + quote(request.scope["path"].lstrip("/\\"))
        answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, status_code=303)
        answer.set_cookie(cookie, self._access.token or "", httponly=True, samesite="lax")
        return answer

    def _is_token(self, given: str | None) -> bool:
        return given is not None and secrets.compare_digest(given.encode(), (self._access.token or "").encode())


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def cookie_name(host: str) -> str:
    """The name of the cookie for a Host header: galleries at other ports of the machine have others."""
    port = host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isascii() and port.isdecimal() and len(port) <= 5 else COOKIE


def is_from_here(headers: Headers) -> bool:
    """Whether a request that would change something comes from a page of the server that it is sent to.

    Browsers say so by Origin, and newer ones by Sec-Fetch-Site too; a request without either is from no page.
    """
    site, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site == "same-origin"
    try:
        return host is not None and urlsplit(origin).netloc == host
    except ValueError:
        return False


async def read_form(request: Request, access: Access) -> dict[str, str]:
    """The fields of a form of ours, the last of each name; HTTPException for any other form."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "A form is expected here.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "This form is too long.")
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if not secrets.compare_digest(fields.get(FORM_TOKEN, "").encode(), access.form_token.encode()):
        raise HTTPException(403, "This form was not sent from a page of this gallery; load the page again.")
    return fields
