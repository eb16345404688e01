"""Answers as rows: what a row holds, how it is written as CSV or JSON lines, and what is counted while rows go by."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.deciding import Decision
from budwood.export.bundle import Unreadable

Form = Literal["csv", "jsonl"]
FIXED = ("path", "target", "predicted", "probability")
_DECIDED = ("answer", "candidates")
_KEPT = 400  # pictures for the page: the least certain ones


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shown:
    """A picture for the page; ``answer`` is empty where the model did not know."""

    probability: float
    path: str
    predicted: str
    answer: str
    target: str


@dataclass(kw_only=True)
class Tally:
    """What is counted while answers go by: ``confusion`` ``[K, K]`` of the labelled ones, rows are the truth.

    num_abstained: where the model said "I do not know". kept: rows that a resume found and did not ask for again.
    """

    classes: tuple[str, ...]
    num_answers: int = 0
    num_abstained: int = 0
    num_kept: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    confusion: NDArray[np.int64] = field(init=False)
    _least: list[tuple[float, Shown]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.confusion = np.zeros((len(self.classes), len(self.classes)), np.int64)
        self._index = {name: k for k, name in enumerate(self.classes)}

    def add(self, shown: Shown) -> None:
        """Count one answer."""
        self.num_answers += 1
        self.num_abstained += not shown.answer
        if shown.target:
            self.confusion[self._index[shown.target], self._index[shown.predicted]] += 1
        change = heapq.heappush if len(self._least) < _KEPT else heapq.heappushpop
        change(self._least, (-shown.probability, shown))

    def least_certain(self) -> list[Shown]:
        """At most 400 answers, the least certain first."""
        return sorted(shown for _, shown in self._least)


@dataclass(frozen=True, kw_only=True)
class AnswerSpec:
    """How answers are written. risk: the share that may be wrong, and columns for what is decided; None: neither."""

    form: Form = "csv"
    risk: float | None = None


def label_of(path: str, classes: Sequence[str]) -> str:
    """The class after which the picture's folder is called; empty where there is none."""
    folder = path.rpartition("/")[0].rpartition("/")[2]
    return folder if folder in classes else ""


def header_of(classes: Sequence[str], spec: AnswerSpec) -> bytes:
    """The first line of a table."""
    decided = _DECIDED if spec.risk is not None else ()
    return _csv([*FIXED, *(f"p({name})" for name in classes), *decided]).encode("utf-8")


def row_of(
    name: str, probs: NDArray[np.float32], decision: Decision | None, *, classes: Sequence[str]
) -> dict[str, Any]:
    """The answer to one picture: its shares ``[K]``, and what was decided, where a risk was given."""
    best = int(probs.argmax())
    row = {
        "path": name,
        "target": label_of(name, classes),
        "predicted": classes[best],
        "probability": float(f"{probs[best]:.7g}"),
        "answer": classes[best],
    }
    if decision:
        row |= {"answer": decision.label or "", "candidates": list(decision.candidates)}
    return row


def shown_of(row: dict[str, Any]) -> Shown:
    """What is counted and shown of a row, be it new or read back."""
    return Shown(
        probability=float(row["probability"]),
        path=row["path"],
        predicted=row["predicted"],
        answer=row["answer"],
        target=row["target"] or "",
    )


def line_of(row: dict[str, Any], probs: NDArray[np.float32], *, classes: Sequence[str], spec: AnswerSpec) -> str:
    """The row as a line of the file, with all shares ``[K]``."""
    shares = [f"{p:.7g}" for p in probs]
    if spec.form == "csv":
        decided = [row["answer"], "; ".join(row["candidates"])] if "candidates" in row else []
        return _csv([*(row[key] for key in FIXED[:3]), f"{row['probability']:.7g}", *shares, *decided])
    values = {key: value for key, value in row.items() if key != "answer" or "candidates" in row}
    if "answer" in values:
        values["answer"] = values["answer"] or None
    values["probabilities"] = dict(zip(classes, map(float, shares), strict=True))
    return json.dumps(values, ensure_ascii=False) + "\n"


def _csv(values: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()
