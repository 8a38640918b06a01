"""Who may look, and what a page may do: the headers of every answer, the host names, the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Refuse: TypeAlias = Callable[[int, str], str]
COOKIE = "moonquake"
OPEN = "/assets/"  # our own scripts and style sheets are no secret, and the page that asks for the token needs them
OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT = (  # a report's own policy names its scripts by hash; both must agree
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Is it a name or an address of this machine alone?"""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header[: header.find("]") + 1]
    return header.rpartition(":")[0] if ":" in header else header


class Guard:
    """ASGI middleware. `token` "": none is asked for, and only loopback names are answered."""

    def __init__(self, app: ASGIApp, token: str, refuse: Refuse) -> None:
        self._app = app
        self._token = token
        self._refuse = refuse
        self._session = hmac.new(token.encode(), b"moonquake session", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        answer = self._answer(request)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _answer(self, request: Request) -> Response | None:
        """What to say instead of the page, or None."""
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("only GET and HEAD: nothing here can be changed", 405, {"allow": "GET, HEAD"})
        if not self._token:
            if is_loopback(host_of(request.headers.get("host", ""))):
                return None
            return self._refused(421, "This server answers to localhost only; start it with --token for other names.")
        given = request.query_params.get("token")
        if given is not None:
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return self._refused(401, "The token is wrong.")
            rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
            path = "/" + str(request.scope["path"]).lstrip("/")  # "//host" would lead elsewhere
            answer = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
            answer.set_cookie(COOKIE, self._session, httponly=True, samesite="strict", max_age=12 * 3600)
            return answer
        if self._knows(request) or str(request.scope["path"]).startswith(OPEN):  # request.url has the Host header in it
            return None
        return self._refused(401, "This store is shown to those who have its token.")

    def _knows(self, request: Request) -> bool:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        cookie = request.cookies.get(COOKIE, "")
        by_token = hmac.compare_digest(bearer.encode(), self._token.encode())
        return hmac.compare_digest(cookie.encode(), self._session.encode()) or by_token

    def _refused(self, status: int, why: str) -> Response:
        return HTMLResponse(self._refuse(status, why), status)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            have = {name for name, _ in headers}
            extra = {**HEADERS, "content-security-policy": OWN}
            headers += [(k.encode(), v.encode()) for k, v in extra.items() if k.encode() not in have]
            message["headers"] = headers
        await send(message)

    return sending
