"""A stage's result as it is kept without its weights, and back: `FitResult` <-> `keeper.Outcome`."""

from __future__ import annotations

import math

from budwood.models.build import Classifier
from budwood.train.history import History
from budwood.train.keeper import Outcome
from budwood.train.stage_input import FitResult


def outcome_of(fit: FitResult) -> Outcome:
    """What is kept of a stage besides its weights."""
    return Outcome(
        rows=fit.history.rows,
        best_epoch=fit.best_epoch,
        val_loss=fit.val_loss if math.isfinite(fit.val_loss) else None,
        val_accuracy=fit.val_accuracy,
        notes=fit.notes,
    )


def result_of(outcome: Outcome, model: Classifier) -> FitResult:
    """A stage that an earlier process finished."""
    return FitResult(
        model=model,
        history=History(rows=outcome.rows),
        best_epoch=outcome.best_epoch,
        val_loss=float("inf") if outcome.val_loss is None else outcome.val_loss,
        val_accuracy=outcome.val_accuracy,
        notes=outcome.notes,
    )
