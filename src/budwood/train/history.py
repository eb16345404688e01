"""`History`: one row an epoch, as Keras users know it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from budwood.errors import IntegrityError
from budwood.files import write_text

_NOT_MEASURED = float("nan")
# Keras's names of what it records by itself -> our columns; the other two are what Keras does not measure.
_KERAS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "val_loss",
    "val_accuracy": "val_accuracy",
    "learning_rate": "lr",
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
}


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
    """The epochs of all stages, in order; empty where the head was solved and no gradient step taken."""

    rows: tuple[EpochRow, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        """A column such as ``history["val_loss"]``, one number an epoch; NaN where nothing was measured.

        Raises:
            KeyError: there is no such column of numbers; the message names them.
        """
        name = _KERAS.get(name, name)
        if name not in _NUMBERS:
            raise KeyError(f'the history has no column of numbers "{name}"; it has {", ".join(_NUMBERS)}')
        return [float(getattr(row, name)) for row in self.rows]

    @property
    def history(self) -> dict[str, list[float]]:
        """The columns under Keras's names, without those that were never measured: ``{"loss": [...], ...}``."""
        columns = {name: self[name] for name in _KERAS}
        return {name: column for name, column in columns.items() if not all(map(math.isnan, column))}

    @property
    def epoch(self) -> list[int]:
        """The epochs' numbers, counted from 1 through all stages (Keras counts from 0)."""
        return [row.epoch for row in self.rows]

    @property
    def best(self) -> EpochRow | None:
        """The epoch of the last stage whose weights were kept; None where there is no epoch."""
        return next((row for row in reversed(self.rows) if row.best), None)

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
        """Read what `save` wrote: a missing file is an empty history, a column missing in it was not measured.

        Raises:
            IntegrityError: the file was changed.
        """
        if not path.is_file():
            return cls()
        with path.open(newline="", encoding="utf-8") as file:
            try:
                return cls(rows=tuple(_row(values) for values in csv.DictReader(file)))
            except (TypeError, ValueError, csv.Error) as error:
                raise IntegrityError(f"{path} is no history that Budwood wrote ({error})") from error


_READ: dict[str, Any] = {"stage": str, "epoch": int, "best": "True".__eq__}
_NUMBERS = tuple(f.name for f in fields(EpochRow) if f.name not in ("stage", "best"))


def _row(values: dict[str, str]) -> EpochRow:
    known = {f.name for f in fields(EpochRow)}
    return EpochRow(**{name: _READ.get(name, float)(text) for name, text in values.items() if name in known})
