"""`History`: one row an epoch, as Keras users know it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from budwood.files import write_text

_NOT_MEASURED = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """What one epoch did.

    loss, accuracy: the mean over the epoch's steps, on augmented and mixed pictures, in training mode, while the
        weights move: what Keras shows. val_*: on the validation part after the epoch, by the weights that would ship.
    train_loss, train_accuracy: on training pictures, but measured as the validation part is: after the epoch, as they
        are, nothing dropped. Only these two can be held against each other.
    Not measured is NaN.
    """

    stage: str
    epoch: int
    lr: float
    loss: float
    val_loss: float
    val_accuracy: float
    seconds: float
    images_per_second: float
    best: bool
    accuracy: float = _NOT_MEASURED
    train_loss: float = _NOT_MEASURED
    train_accuracy: float = _NOT_MEASURED

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values; NaN is None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EpochRow:
        """The inverse of `to_json`."""
        typed: dict[str, Any] = {name: _NOT_MEASURED if value is None else value for name, value in values.items()}
        return cls(**typed)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The epochs of all stages, in order."""

    rows: tuple[EpochRow, ...] = ()

    def __getitem__(self, name: str) -> list[float]:
        """A column such as ``history["val_loss"]``."""
        return [float(getattr(row, name)) for row in self.rows]

    def to_csv(self) -> str:
        """CSV text with a header."""
        out = io.StringIO()
        writer = csv.DictWriter(out, [f.name for f in fields(EpochRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return out.getvalue()

    def save(self, path: Path) -> None:
        """Write `to_csv` atomically."""
        write_text(path, self.to_csv())

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote; a missing file is an empty history, a missing column was not measured."""
        if not path.is_file():
            return cls()
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_row(values) for values in csv.DictReader(file)]
        return cls(rows=tuple(rows))


def _row(values: dict[str, str]) -> EpochRow:
    typed: dict[str, Any] = {}
    for name, text in values.items():
        if name in ("stage", "best"):
            typed[name] = text if name == "stage" else text == "True"
        else:
            typed[name] = int(text) if name == "epoch" else float(text)
    return EpochRow(**typed)
