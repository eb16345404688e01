"""What a request may cost before anything of it is parsed: bytes, time, and how many are under way at once.

A body is counted while it comes in, so that a length that was not told, or told wrongly, takes no more memory than a
right one. What is inside is not looked at; pictures have limits of their own where they are decoded (`data/decode`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budwood.data.decode import MAX_PIXELS

MB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes on.

    max_body: bytes of one request. max_files: pictures in it. max_pixels: of one picture.
    max_requests, max_held: requests, and bytes of their bodies, that are read or answered at the same time.
    max_waiting: pictures that are decoded or wait for the network; beyond it, and beyond the two before, 503 is said.
    body_seconds: for a body to arrive. answer_seconds: for its pictures to be answered.
    """

    max_body: int = 8 * MB
    max_files: int = 32
    max_pixels: int = MAX_PIXELS
    max_requests: int = 256
    max_held: int = 128 * MB
    max_waiting: int = 256
    body_seconds: float = 20.0
    answer_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.max_held < self.max_body:
            raise ValueError(f"max_held is {self.max_held} bytes, and one request alone may have {self.max_body}")


class BodyRefused(Exception):
    """A body that is too large (413) or too slow (408); the text is for whoever sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Intake:
    """ASGI middleware: reads the body of each POST whole, within `Limits`, and hands it on to the app."""

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self._requests = 0
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through with its body read, or answer it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        limits = self.limits
        stated = stated_length(Headers(scope=scope), otherwise=limits.max_body)
        if stated > limits.max_body:
            await refuse(413, f"the request is larger than {limits.max_body} bytes")(scope, receive, send)
            return
        if self._requests >= limits.max_requests or self._held + stated > limits.max_held:
            await busy(1)(scope, receive, send)
            return
        self._requests += 1
        self._held += stated
        try:
            body = await read_body(receive, limit=limits.max_body, seconds=limits.body_seconds)
            if body is not None:
                await self.app(scope, replay(body, receive), send)
        except BodyRefused as error:
            await refuse(error.status, str(error))(scope, receive, send)
        finally:
            self._requests -= 1
            self._held -= stated


def stated_length(headers: Headers, *, otherwise: int) -> int:
    """The length that a request says its body has; ``otherwise`` where it says nothing, such as of a chunked one."""
    told = headers.get("content-length")
    if told is None:
        return otherwise
    return int(told) if told.isascii() and told.isdigit() and len(told) < 16 else 2**60


async def read_body(receive: Receive, *, limit: int, seconds: float) -> bytes | None:
    """The whole body of a request; None when whoever sent it has gone.

    Raises:
        BodyRefused: it is larger than ``limit`` bytes, or takes longer than ``seconds``.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > limit:
                    raise BodyRefused(413, f"the request is larger than {limit} bytes")
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError as error:
        raise BodyRefused(408, f"the request took longer than {seconds:g} s to arrive") from error


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives ``body`` at once, and then what comes after it."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def refuse(status: int, text: str, *, code: str = "") -> Response:
    """An answer that says what was wrong."""
    return JSONResponse({"error": text, "code": code}, status_code=status)


def busy(seconds: int) -> Response:
    """503: come back after so many seconds."""
    answer = refuse(503, f"too much is waiting to be answered; try again in {seconds} s", code="busy")
    answer.headers["retry-after"] = str(seconds)
    return answer
