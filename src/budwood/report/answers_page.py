"""Answered pictures -> one self-contained page of thumbnails, the least certain first. Reads no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from budwood.report.templating import environment, printable, stylesheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture: ``answer`` is empty where the model did not know, ``target`` where the label is not known."""

    path: str
    image: bytes | None
    predicted: str
    answer: str
    target: str
    probability: float

    @property
    def is_wrong(self) -> bool:
        """Whether it is labelled, and otherwise than it was answered."""
        return bool(self.target) and self.target != self.predicted


def render_answers(tiles: Sequence[Tile], *, total: int, title: str, model: str, version: str, command: str) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        tiles: in the order in which they are shown. total: pictures that were answered.
        title: what was asked about. model: what answered. version, command: of Budwood, and how it was called.
    """
    page = (
        environment()
        .get_template("answers.html.j2")
        .render(
            tiles=tiles,
            total=total,
            title=title,
            model=model,
            version=version,
            command=command,
            css=stylesheet("look.css", "answers.css"),
        )
    )
    return printable(page)
