"""`Trained`: what a training leaves: the model, and what its making told. Nothing is trained or written here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from budwood.models.build import Classifier
from budwood.shortening import CacheUse
from budwood.train.heads import HeadResult
from budwood.train.history import History
from budwood.train.stage_input import FitResult


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model and what its making told: the head's choice, the epochs, the validation score."""

    model: Classifier
    head: HeadResult | None
    fits: tuple[FitResult, ...]
    caches: tuple[CacheUse, ...] = ()

    @property
    def history(self) -> History:
        """The epochs of all gradient stages."""
        return History(rows=tuple(row for fit in self.fits for row in fit.history.rows))

    def selection(self) -> list[dict[str, Any]]:
        """The scores that something was chosen by: not a test, and said so."""
        scores: list[dict[str, Any]] = []
        if self.head:
            scores.append(
                {
                    "name": "head on frozen features",
                    "accuracy": self.head.selection_accuracy,
                    "deviation": float(self.head.accuracies[self.head.chosen].std(ddof=1)),
                    "kind": "cross-validated on the training part; used to choose the penalty, so it is optimistic",
                }
            )
        for fit in self.fits:
            scores.append(
                {
                    "name": fit.history.rows[0].stage,
                    "accuracy": fit.val_accuracy,
                    "deviation": None,
                    "kind": "on the validation part, one view; used to choose the epoch, so it is optimistic",
                }
            )
        return scores
