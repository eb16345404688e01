"""`Predictions`: the seam between models and everything that judges them. NumPy only."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood.errors import IntegrityError
from budwood.files import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Class probabilities of N pictures.

    probs: ``[N, K]`` float32, rows sum to 1.
    targets: ``[N]`` int64 class indices, or None when the labels are not known.
    paths: the N record ids.
    classes: the K class names; column k belongs to ``classes[k]``.
    """

    probs: NDArray[np.float32]
    targets: NDArray[np.int64] | None
    paths: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        rows, columns = self.probs.shape
        if columns != len(self.classes) or rows != len(self.paths):
            raise ValueError(
                f"probs is {rows} x {columns}, but there are {len(self.paths)} paths and {len(self.classes)} classes"
            )
        if self.targets is not None and self.targets.shape != (rows,):
            raise ValueError(f"targets has shape {self.targets.shape}, expected ({rows},)")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The index of the most probable class of each picture, ``[N]``."""
        return np.asarray(self.probs.argmax(axis=1), dtype=np.int64)

    def to_csv(self) -> str:
        """CSV text: path, target (class name or empty), predicted, probability, then one column a class."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["path", "target", "predicted", "probability", *(f"p({name})" for name in self.classes)])
        for i, path in enumerate(self.paths):
            target = "" if self.targets is None else self.classes[int(self.targets[i])]
            best = int(self.probs[i].argmax())
            probs = [f"{p:.7g}" for p in self.probs[i]]
            writer.writerow([path, target, self.classes[best], probs[best], *probs])
        return out.getvalue()

    def save(self, path: Path) -> None:
        """Write `to_csv` to ``path`` atomically."""
        write_text(path, self.to_csv())

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            IntegrityError: the file is missing or not such a table.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file))
            classes = tuple(name[2:-1] for name in header[4:])
            index = {name: i for i, name in enumerate(classes)}
            probs = np.array([[float(x) for x in row[4:]] for row in rows], dtype=np.float32)
            labelled = all(row[1] for row in rows)
            targets = np.array([index[row[1]] for row in rows], dtype=np.int64) if labelled else None
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise IntegrityError(f"{path} is not a table of predictions ({error})") from error
        paths = tuple(row[0] for row in rows)
        return cls(probs=probs.reshape(len(rows), len(classes)), targets=targets, paths=paths, classes=classes)
