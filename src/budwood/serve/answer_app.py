"""The server of a bundle as a FastAPI app: ``POST /predict``, ``POST /why``, ``/health``, ``/info`` and a page.

Requests are checked by `guard.Guard` and read by `limits.Intake` before they come here; pictures are answered by
`answering.Answerer`. Nothing that is sent is kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

import budwood
from budwood.errors import UnreadableImage, UsageError
from budwood.files import escape_name
from budwood.report.templating import environment, printable
from budwood.serve.answer_schema import BODY, ERRORS, FILE, AnswersBody, ErrorBody
from budwood.serve.answering import Answer, Answerer
from budwood.serve.batching import Busy
from budwood.serve.guard import Guard, Rules
from budwood.serve.limits import Intake, busy, refuse

OPEN_PATHS = frozenset({"/health"})
_MOST_FIELDS = 8  # of a form that are no files
_NAME_LENGTH = 200
_STATIC = {
    "icon.svg": ("budwood.serve", "static", "image/svg+xml"),
    "look.css": ("budwood.report", "templates", "text/css"),
    "answer.css": ("budwood.serve", "static", "text/css"),
    "answer.js": ("budwood.serve", "static", "text/javascript"),
    "dom.js": ("budwood.serve", "static", "text/javascript"),
}


@dataclass(frozen=True, slots=True)
class _Sent:
    name: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class AnswerApi:
    """The handlers of the app; each returns its whole response."""

    answerer: Answerer
    title: str

    def page(self) -> Response:
        """The one page."""
        html = environment("budwood.serve").get_template("answer.html.j2").render(title=self.title)
        return Response(printable(html), media_type="text/html")

    def health(self) -> Response:
        """Whether pictures are answered, and how many wait."""
        return _reply({"status": "ok", "waiting": self.answerer.waiting})

    def info(self) -> Response:
        """The classes, what the model knows of its own certainty, and the limits."""
        engine, limits = self.answerer.engine, self.answerer.limits
        known, risk = engine.calibration, self.answerer.risk
        at = next((t for t in known.thresholds if t.risk == risk), None) if known else None
        return _reply(
            {
                "title": self.title,
                "classes": list(engine.classes),
                "runtime": engine.runtime,
                "risk": risk,
                "threshold": at.threshold if at else None,
                "calibrated_on": known.fitted_on if known else "",
                "calibrated_pictures": known.num_pictures if known else 0,
                "why": not engine.no_maps,
                "why_not": engine.no_maps,
                "limits": {
                    "bytes": limits.max_body,
                    "files": limits.max_files,
                    "pixels": limits.max_pixels,
                },
                "budwood": budwood.__version__,
                "model": engine.about,
            }
        )

    async def predict(self, request: Request) -> Response:
        """Name one or several pictures: a form with files, or one picture as the whole body."""
        sent = await self._sent(request)
        answers = await self.answerer.answer([one.data for one in sent])
        rows = [_row(one.name, answer, self.answerer.engine.classes) for one, answer in zip(sent, answers, strict=True)]
        return _reply({"answers": rows}, 200 if any(answer.probs is not None for answer in answers) else 422)

    async def why(self, request: Request, label: str) -> Response:
        """A picture of where the evidence for a class lies (Grad-CAM), as JPEG."""
        sent = await self._sent(request)
        if len(sent) != 1:
            raise HTTPException(400, f"{len(sent)} pictures were sent; one is explained at a time")
        return Response(await self.answerer.explain(sent[0].data, label), media_type="image/jpeg")

    async def _sent(self, request: Request) -> list[_Sent]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            async with request.form(max_files=self.answerer.limits.max_files, max_fields=_MOST_FIELDS) as form:
                found = await _files(form)
        elif kind.startswith("image/") or kind == "application/octet-stream":
            found = [_Sent("picture", await request.body())]
        else:
            raise HTTPException(415, "send a form with files (multipart/form-data), or one picture (image/jpeg, ...)")
        if not found or not any(one.data for one in found):
            raise HTTPException(400, "no picture was sent")
        return found


def answer_app(answerer: Answerer, *, title: str, rules: Rules | None = None) -> FastAPI:
    """The app; it starts and stops ``answerer``.

    Args:
        answerer: what answers, with its limits.
        title: what the model is called on the page.
        rules: who may talk to it; None: this computer only.
    """
    rules = rules or Rules(programs=True, open_paths=OPEN_PATHS, images="'self' blob:")

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        answerer.start()
        yield
        await answerer.stop()

    app = FastAPI(
        title="Budwood",
        summary="Names pictures by a model that says when it does not know.",
        version=budwood.__version__,
        docs_url=None,  # its page would load a script from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    _add_routes(app, AnswerApi(answerer=answerer, title=title))
    failures: dict[type[Exception], Callable[[Request, Any], Response]] = {
        Busy: lambda request, error: busy(error.retry_after),
        UnreadableImage: lambda request, error: refuse(422, str(error)),
        UsageError: lambda request, error: refuse(404, str(error)),
        RequestValidationError: lambda request, error: refuse(422, "the request lacks a value; see /openapi.json"),
        HTTPException: _http,
    }
    for kind, handle in failures.items():
        app.add_exception_handler(kind, handle)
    app.add_middleware(Intake, limits=answerer.limits)
    app.add_middleware(Guard, rules=rules, max_body=None)
    return app


def _add_routes(app: FastAPI, api: AnswerApi) -> None:
    pages: dict[str, Callable[..., Response]] = {"/": api.page, "/static/{name}": _static}
    for path, handler in pages.items():
        app.add_api_route(path, handler, methods=["GET"], response_model=None, include_in_schema=False)
    for path, handler in {"/health": api.health, "/info": api.info}.items():
        app.add_api_route(path, handler, methods=["GET"], response_model=None, responses={405: ERRORS[405]})
    app.add_api_route(
        "/predict",
        api.predict,
        methods=["POST"],
        response_model=None,
        responses={200: {"model": AnswersBody}, **ERRORS},
        openapi_extra={"requestBody": BODY},
    )
    app.add_api_route(
        "/why",
        api.why,
        methods=["POST"],
        response_class=Response,
        responses={
            200: {"content": {"image/jpeg": {"schema": FILE}}, "description": "A JPEG"},
            **ERRORS,
            404: {"model": ErrorBody, "description": "No such class, or no maps"},
            422: {"model": ErrorBody, "description": "The file is no picture, or no label was given"},
        },
        openapi_extra={"requestBody": BODY},
    )


async def _files(form: FormData) -> list[_Sent]:
    """All files of a form, whatever their fields are called."""
    uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    return [_Sent(escape_name(one.filename or "picture")[:_NAME_LENGTH], await one.read()) for one in uploads]


def _row(name: str, answer: Answer, classes: tuple[str, ...]) -> dict[str, Any]:
    if answer.probs is None:
        return {"file": name, "error": answer.reason}
    best, decision = int(answer.probs.argmax()), answer.decision
    return {
        "file": name,
        "predicted": classes[best],
        "probability": float(answer.probs[best]),
        "answer": decision.label if decision else classes[best],
        "certain": decision.certain if decision else None,
        "candidates": list(decision.candidates) if decision else [],
        "probabilities": {each: float(p) for each, p in zip(classes, answer.probs, strict=True)},
    }


def _static(name: str) -> Response:
    if name not in _STATIC:
        raise HTTPException(404, "there is no such file")
    package, folder, kind = _STATIC[name]
    data = resources.files(package).joinpath(folder, name).read_bytes()
    return Response(data, media_type=kind, headers={"cache-control": "no-cache"})


def _reply(value: dict[str, Any], status: int = 200) -> Response:
    """JSON in ASCII: names may hold what UTF-8 cannot."""
    return Response(json.dumps(value, allow_nan=False), status_code=status, media_type="application/json")


def _http(request: Request, error: HTTPException) -> Response:
    answer = refuse(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer
