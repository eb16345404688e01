"""What the server of a bundle is sent and says, as ``/openapi.json`` describes it. Nothing is read or answered here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FILE = {"type": "string", "format": "binary"}
BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"files": {"type": "array", "items": FILE, "minItems": 1}},
                "required": ["files"],
            }
        },
        **{kind: {"schema": FILE} for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")},
    },
}


class AnswerBody(BaseModel):
    """One picture: ``answer`` is null where the model does not know, ``candidates`` then say what it may be.

    ``predicted`` is the likeliest class in any case. ``certain`` is null where the model cannot tell. Of a file that
    cannot be read only ``file`` and ``error`` are there.
    """

    model_config = ConfigDict(extra="forbid")

    file: str
    predicted: str | None = None
    probability: float | None = None
    answer: str | None = None
    certain: bool | None = None
    candidates: list[str] = Field(default_factory=list)
    probabilities: dict[str, float] = Field(default_factory=dict)
    error: str = ""


class AnswersBody(BaseModel):
    """``answers`` in the order of the files."""

    answers: list[AnswerBody]


class ErrorBody(BaseModel):
    """What was wrong, in words, and a short code for programs."""

    error: str
    code: str = ""


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "No form, no file, or too many of them"},
    403: {"model": ErrorBody, "description": "No token, or a request of another site"},
    405: {"model": ErrorBody, "description": "Neither GET nor POST"},
    408: {"model": ErrorBody, "description": "The request took too long to arrive"},
    413: {"model": ErrorBody, "description": "The request is too large"},
    415: {"model": ErrorBody, "description": "Neither a form nor a picture"},
    422: {"model": AnswersBody, "description": "None of the files can be read as a picture"},
    503: {"model": ErrorBody, "description": "Too much is waiting; see Retry-After"},
}
