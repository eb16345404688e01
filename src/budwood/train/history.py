"""`History`: one row an epoch, as Keras users know it."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from budwood.files import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """What one epoch did. loss is on augmented, mixed pictures in training mode; val_* on the averaged weights."""

    stage: str
    epoch: int
    lr: float
    loss: float
    val_loss: float
    val_accuracy: float
    seconds: float
    images_per_second: float
    best: bool


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
        """Read what `save` wrote; a missing file is an empty history."""
        if not path.is_file():
            return cls()
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_row(values) for values in csv.DictReader(file)]
        return cls(rows=tuple(rows))


def _row(values: dict[str, str]) -> EpochRow:
    return EpochRow(
        stage=values["stage"],
        epoch=int(values["epoch"]),
        lr=float(values["lr"]),
        loss=float(values["loss"]),
        val_loss=float(values["val_loss"]),
        val_accuracy=float(values["val_accuracy"]),
        seconds=float(values["seconds"]),
        images_per_second=float(values["images_per_second"]),
        best=values["best"] == "True",
    )
