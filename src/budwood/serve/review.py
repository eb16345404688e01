"""The review page as a FastAPI app: the page, its API, pictures by digest. What it may do is in `review_state`.

It reads pictures and appends to the journal of decisions; no picture file is ever changed. Requests are checked by
`guard.Guard` before they come here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from budwood.errors import BudwoodError, DataError, OutputError
from budwood.files import sha256_bytes
from budwood.report.templating import environment, printable
from budwood.serve.guard import Guard, Rules
from budwood.serve.ledger_keeper import LedgerKeeper
from budwood.serve.review_cards import (
    PICTURES_A_PAGE,
    SETS_A_PAGE,
    check_summaries,
    decision_view,
    findings_page,
    members,
    next_open,
    pictures_page,
)
from budwood.serve.review_state import Outcome, Refused, ReviewState, Wish, WishAction
from budwood.serve.shelf import PictureShelf

_STATIC = {
    "icon.svg": ("budwood.serve", "static", "image/svg+xml"),
    "look.css": ("budwood.report", "templates", "text/css"),
    "review.css": ("budwood.serve", "static", "text/css"),
    "review.js": ("budwood.serve", "static", "text/javascript"),
    "cards.js": ("budwood.serve", "static", "text/javascript"),
    "dialogs.js": ("budwood.serve", "static", "text/javascript"),
    "dom.js": ("budwood.serve", "static", "text/javascript"),
    "link.js": ("budwood.serve", "static", "text/javascript"),
}
_FOREVER = "private, max-age=31536000, immutable"  # a digest names one content


class WishBody(BaseModel):
    """`Wish` as the page sends it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: WishAction
    path: str = Field("", max_length=10_000)
    digest: str = Field("", max_length=64)
    finding: str = Field("", max_length=16)
    label: str = Field("", max_length=10_000)


class DecideBody(BaseModel):
    """One step: what is decided together, and the check that was looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wishes: tuple[WishBody, ...] = Field(min_length=1, max_length=1000)
    check: str = Field("", max_length=100)


class UndoBody(BaseModel):
    """Take a step back; ``expect``: the number of steps that the page knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expect: int = Field(ge=0)


@dataclass(frozen=True, kw_only=True)
class ReviewApi:
    """The handlers of the app; each returns its whole response."""

    state: ReviewState
    shelf: PictureShelf
    rules: Rules
    title: str
    keeper: LedgerKeeper

    @property
    def place(self) -> str:
        """Tells a page that was left open whether it still talks to the server of its own pictures."""
        return sha256_bytes(str(self.state.ledger.resolve()).encode())[:16]

    def page(self) -> Response:
        """The one page; its script asks for all the rest."""
        html = environment("budwood.serve").get_template("review.html.j2").render(title=self.title)
        return Response(printable(html), media_type="text/html")

    def session(self) -> Response:
        """What the page needs to begin: the CSRF token, the classes, the checks."""
        return _reply(
            {
                "csrf": self.rules.csrf,
                "place": self.place,
                "title": self.title,
                "classes": self.state.catalog.classes,
                "counts": self.state.catalog.counts(),
                "num_unreadable": sum(r.state == "unreadable" for r in self.state.catalog.records),
                "ledger": str(self.state.ledger),
                "page_size": PICTURES_A_PAGE,
                "sets_size": SETS_A_PAGE,
                **self._standing(),
            }
        )

    def findings(self, check: str, page: int = 1) -> Response:
        """One page of a check's findings."""
        return _reply(asdict(findings_page(self.state, check, page=page)))

    def pictures(self, label: str = "", show: str = "all", page: int = 1) -> Response:
        """One page of all pictures, or of a class, or of what was decided."""
        return _reply(asdict(pictures_page(self.state, label=label, show=show, page=page)))

    def members(self, finding: str, first: int) -> Response:
        """More pictures of a large set."""
        return _reply({"pictures": [asdict(view) for view in members(self.state, finding, first=first)]})

    def next_open(self, check: str, after: int = -1) -> Response:
        """Where the next finding lies that is left to decide."""
        return _reply({"index": next_open(self.state, check, after=after)})

    def decide(self, body: DecideBody) -> Response:
        """Record decisions; the answer means that they are on the disk."""
        wishes = [Wish(**wish.model_dump()) for wish in body.wishes]
        return self._done(self.state.decide(wishes, check=body.check))

    def undo(self, body: UndoBody) -> Response:
        """Take the last step back."""
        return self._done(self.state.undo(expected=body.expect))

    def thumb(self, digest: str, request: Request) -> Response:
        """A small JPEG."""
        return self._picture(digest, request, self.shelf.thumb)

    def picture(self, digest: str, request: Request) -> Response:
        """A large JPEG."""
        return self._picture(digest, request, self.shelf.picture)

    def _done(self, outcome: Outcome) -> Response:
        self.keeper.touch()
        state = self.state
        touched = {name for path in outcome.changed for name in state.ids_of.get(path, ())}
        decided = {path: decision_view(state.decisions.get(path)) for path in outcome.changed}
        return _reply(
            {
                "changed": {path: view and asdict(view) for path, view in decided.items()},
                "open": {name: state.is_open(state.by_id[name]) for name in touched},
                "check": outcome.check,
                **self._standing(),
            }
        )

    def _standing(self) -> dict[str, Any]:
        return {
            "checks": [asdict(summary) for summary in check_summaries(self.state)],
            "steps": self.state.num_steps,
            "num_pictures": len(self.state.catalog),
            "num_decided": len(self.state.decisions),
            "trouble": self.keeper.trouble,
        }

    def _picture(self, digest: str, request: Request, read: Callable[[str], bytes]) -> Response:
        if digest not in self.shelf:
            raise Refused("there is no such picture", status=404)
        headers = {"etag": f'"{digest}"', "cache-control": _FOREVER}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        try:
            return Response(read(digest), media_type="image/jpeg", headers=headers)
        except (DataError, OSError) as error:
            raise Refused(f"the picture cannot be shown: {error}", status=410) from error


def review_app(
    state: ReviewState, shelf: PictureShelf, *, title: str, rules: Rules | None = None, ledger_delay: float = 2.0
) -> FastAPI:
    """The app; it writes the ledger when it starts, after decisions, and when it stops.

    Args:
        state: findings and decisions.
        shelf: the pictures of the same catalog.
        title: what the pictures are called, such as the folder's name.
        rules: who may talk to it; None: this computer only.
        ledger_delay: seconds that the ledger may lag behind the decisions.
    """
    rules = rules or Rules()
    keeper = LedgerKeeper(state.write_ledger, delay=ledger_delay)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        keeper.flush()
        yield
        keeper.flush()

    app = FastAPI(title="Budwood review", openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    api = ReviewApi(state=state, shelf=shelf, rules=rules, title=title, keeper=keeper)
    pages: dict[str, Callable[..., Response]] = {
        "/": api.page,
        "/static/{name}": _static,
        "/api/session": api.session,
        "/api/findings": api.findings,
        "/api/pictures": api.pictures,
        "/api/members": api.members,
        "/api/next": api.next_open,
        "/thumb/{digest}": api.thumb,
        "/picture/{digest}": api.picture,
    }
    for path, handler in pages.items():
        app.add_api_route(path, handler, methods=["GET"], response_model=None)
    app.add_api_route("/api/decide", api.decide, methods=["POST"], response_model=None)
    app.add_api_route("/api/undo", api.undo, methods=["POST"], response_model=None)
    app.add_exception_handler(BudwoodError, _failed)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Guard, rules=rules)
    return app


def _static(name: str) -> Response:
    if name not in _STATIC:
        raise Refused("there is no such file", status=404)
    package, folder, kind = _STATIC[name]
    data = resources.files(package).joinpath(folder, name).read_bytes()
    return Response(data, media_type=kind, headers={"cache-control": "no-cache"})


def _reply(value: dict[str, Any], status: int = 200) -> Response:
    """JSON in ASCII: names may hold what UTF-8 cannot."""
    return Response(json.dumps(value, allow_nan=False), status_code=status, media_type="application/json")


def _failed(request: Request, error: Exception) -> Response:
    status = 500
    if isinstance(error, Refused):
        status = error.status
    elif isinstance(error, OutputError):
        status = 507
    return _reply({"error": str(error), "code": ""}, status)


def _not_understood(request: Request, error: Exception) -> Response:
    return _reply({"error": "the request is not one that this page makes; load the page again", "code": ""}, 422)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _reply({"error": error.detail, "code": ""}, error.status_code)
