"""Who may talk to a local server: checks of Host, token, origin and size, before any of a request is parsed.

A web page that a person has open elsewhere must not reach the server on his computer: neither by a request of its own
(origin, CSRF token) nor under a name that it makes point here (DNS rebinding: Host). It does not encrypt anything.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budwood.serve.limits import BodyRefused, read_body, refuse, replay, stated_length

TOKEN_HEADER, CSRF_HEADER = "x-budwood-token", "x-budwood-csrf"
MAX_BODY = 1_000_000  # bytes; a bulk decision on a page of 60 pictures is some 20,000
_MAX_SECONDS = 20.0  # for a body to arrive
_LOOPBACK_NAMES = frozenset({"localhost"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """host: what the server was bound to. token: what a caller must know; empty: nothing (loopback only).

    names: more host names under which the server may be addressed, in lower case.
    programs: a POST changes nothing here, so those of programs are answered: they have no page, hence no origin and no
    CSRF token. What a browser sends must still come from the server's own page.
    open_paths: answered without the token. images: where the pages may show pictures from, in the words of a CSP.
    """

    host: str = "127.0.0.1"
    token: str = ""
    names: frozenset[str] = frozenset()
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    programs: bool = False
    open_paths: frozenset[str] = frozenset()
    images: str = "'self'"

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise ValueError("a server that others can reach needs a token")


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    text: str
    code: str = ""


class Guard:
    """ASGI middleware: answers 4xx itself where `Rules` are broken, and adds security headers to all answers."""

    def __init__(self, app: ASGIApp, *, rules: Rules, max_body: int | None = MAX_BODY) -> None:
        """``max_body``: bytes of a POST, which is read here; None leaves it to the app to read it (`limits.Intake`)."""
        self.app = app
        self.rules = rules
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send, images=self.rules.images)
        answer = self._answer(scope, Headers(scope=scope))
        if answer is None and scope["method"] == "POST" and self.max_body is not None:
            try:
                body = await read_body(receive, limit=self.max_body, seconds=_MAX_SECONDS)
            except BodyRefused as error:
                answer = refuse(error.status, str(error))
            else:
                if body is None:
                    return
                receive = replay(body, receive)
        await (answer or self.app)(scope, receive, send)

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """What is answered without the app; None: the request may pass."""
        found = self._broken_host(headers) or self._broken_origin(scope["method"], headers)
        if found:
            return _refuse(found)
        if self.rules.token and scope["path"] not in self.rules.open_paths:
            given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
            if scope["path"] == "/" and scope["method"] == "GET" and given and _equal(given, self.rules.token):
                return self._let_in(headers["host"])
            if not self._knows_token(headers):
                return _refuse(_Refusal(403, "open the address that budwood has printed; it holds the token", "token"))
        if scope["method"] == "POST":
            if self.max_body is not None and stated_length(headers, otherwise=0) > self.max_body:
                return refuse(413, f"the request is larger than {self.max_body} bytes")
            if not self.rules.programs and not _equal(headers.get(CSRF_HEADER, ""), self.rules.csrf):
                return _refuse(_Refusal(403, "the page is older than the server; load it again", "csrf"))
        return None

    def _broken_host(self, headers: Headers) -> _Refusal | None:
        given = headers.getlist("host")
        name = _host_name(given[0]) if len(given) == 1 else ""
        if is_loopback(name) or name in self.rules.names:
            return None
        # An address cannot be made to point elsewhere, so it is no DNS rebinding.
        if not is_loopback(self.rules.host) and (name == self.rules.host.lower() or _is_address(name)):
            return None
        return _Refusal(403, f"this server does not answer to that host name; open http://{self.rules.host}")

    def _broken_origin(self, method: str, headers: Headers) -> _Refusal | None:
        site, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host", "")
        foreign = site in ("cross-site", "same-site")
        if method in ("GET", "HEAD"):
            # Following a link hither is fine; loading a picture into another page is not.
            return _Refusal(403, "asked for by another site") if foreign and not _is_visit(headers) else None
        if method != "POST":
            return _Refusal(405, "only GET and POST are answered")
        if self.rules.programs and site is None and origin is None:
            return None
        own = origin in (f"http://{host}", f"https://{host}") if origin is not None else site == "same-origin"
        return (
            None if own and not foreign else _Refusal(403, "a decision must come from the page of this server itself")
        )

    def _knows_token(self, headers: Headers) -> bool:
        given = headers.get(TOKEN_HEADER)
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if given is None and scheme.lower() == "bearer":
            given = rest.strip()
        if given is None:
            try:
                cookie = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(headers.get("host", "")))
            except CookieError:
                return False
            given = cookie.value if cookie else ""
        return _equal(given, self.rules.token)

    def _let_in(self, host: str) -> Response:
        """Keep the token in a cookie, and out of the address from here on."""
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(_cookie_name(host), self.rules.token, httponly=True, samesite="lax", path="/")
        answer.headers["cache-control"] = "no-store"
        return answer


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this computer's own."""
    if name in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_name(host: str) -> str:
    """``[::1]:8000`` -> ``::1``, in lower case; empty when it is no host."""
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        return name.lower() if closed and (not port or (port[0] == ":" and port[1:].isdigit())) else ""
    name, colon, port = host.partition(":")
    return name.lower() if not colon or port.isdigit() else ""


def _is_visit(headers: Headers) -> bool:
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _cookie_name(host: str) -> str:
    # Cookies are shared by all ports of a host; two reviews must not log each other out.
    port = host.rpartition(":")[2]
    return f"budwood-{port if port.isdigit() else 80}"


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _refuse(refusal: _Refusal) -> Response:
    answer = refuse(refusal.status, refusal.text, code=refusal.code)
    if refusal.status == 405:
        answer.headers["allow"] = "GET, POST"
    return answer


def _with_headers(send: Send, *, images: str) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = _POLICY.format(images=images)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return add
