"""Linear heads on frozen features: the penalty chosen by cross-validation, all candidates solved together.

Every (fold, penalty) pair is one problem of `linear.solve`. How much each picture counts may be handed in (`Weighing`);
where that comes from is `balanced_heads.py`'s matter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from budwood.events import Listener, Scored, StepFinished, StepStarted, silent
from budwood.train.linear import Solved, Standardised, mean_probs, solve, standardise, to_raw, with_rows

# Norm of the preconditioned gradient at which a problem is solved: for choosing a penalty, and for weights that ship.
_CHOOSING, _SHIPPING = 1e-3, 1e-5


class HeadSpec(BaseModel):
    """How linear heads are chosen.

    penalties: L2 penalties (lambda, on mean cross-entropy of standardised features) to choose from.
    folds: folds of the cross-validation inside the training part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    penalties: tuple[Annotated[float, Field(gt=0)], ...] = (3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    folds: int = Field(default=5, ge=2, le=20)

    @field_validator("penalties")
    @classmethod
    def _some_penalty(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values:
            raise ValueError("give at least one penalty")
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """What a head is trained on where that is not simply every picture once.

    Head f (0..F-1) leaves out fold f; head F, the last, is fitted on all pictures. All views of a picture weigh alike.

    weights: ``[F + 1, N]`` float32, not negative; what head f holds out counts nothing, whatever stands there.
    rows: ``[E, D]`` further raw features, of no picture that is judged. row_targets: ``[E]`` their classes.
    row_weights: ``[F + 1, E]``: 0 where a row was made from a picture that head f holds out.
    offsets: ``[F + 1, K]``, added to the logits of an answer; training does not see them.
    """

    weights: NDArray[np.float32]
    rows: NDArray[np.float32]
    row_targets: NDArray[np.int64]
    row_weights: NDArray[np.float32]
    offsets: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadResult:
    """A linear head on raw (not standardised) features, and how it was chosen.

    weight ``[K, D]``, bias ``[K]`` float32. accuracies ``[penalties, folds]`` and log_losses alike are measured on the
    left-out folds, mean probability over the views; selection_accuracy is the chosen penalty's pooled accuracy.
    log_losses are the loss that was trained: with a `Weighing`, classes count in it as they did in training.
    out_of_fold ``[N, K]`` are its probabilities for the pictures while they were left out.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalties: tuple[float, ...]
    accuracies: NDArray[np.float64]
    log_losses: NDArray[np.float64]
    chosen: int
    selection_accuracy: float
    out_of_fold: NDArray[np.float32]
    iterations: int
    converged: bool

    @property
    def penalty(self) -> float:
        """The chosen penalty."""
        return self.penalties[self.chosen]


def choose_head(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    num_classes: int,
    spec: HeadSpec,
    weighing: Weighing | None = None,
    listen: Listener = silent,
) -> HeadResult:
    """Choose the penalty by cross-validation and fit the head on all rows.

    Args:
        features: ``[V, N, D]``: V views of N pictures; all views of a picture are trained or left out together.
        targets: ``[N]`` class indices.
        folds: ``[N]`` fold of each picture, 0..F-1 (groups of near-duplicates share one).
        num_classes: K.
        spec: penalties to choose from.
        weighing: what each head is trained on; None: every picture once.
        listen: hears of the step ``head``.
    """
    start = time.perf_counter()
    num_views = len(features)
    folds = np.unique(folds, return_inverse=True)[1]  # a fold without pictures is none
    num_folds = int(folds.max()) + 1
    data = standardise(features)
    rows, labels = _training_rows(data, targets, num_views, weighing)
    penalties = torch.tensor(spec.penalties, dtype=torch.float32)
    listen(StepStarted(step="head", total=num_folds * len(penalties) + 1, unit="heads"))

    # Problem f * len(penalties) + p leaves out fold f and has penalty p.
    counted = [_counted(weighing, folds != f, f, num_views) for f in range(num_folds)]
    parts = torch.stack([part for part in counted for _ in penalties], dim=1)
    repeated = penalties.repeat(num_folds)
    solved = solve(rows, labels, parts, repeated, num_classes=num_classes, tolerance=_CHOOSING, listen=listen)
    trained = answers = _answers(data, solved, folds, num_views, offsets=None)
    if weighing is not None and weighing.offsets.any():
        answers = _answers(data, solved, folds, num_views, offsets=weighing.offsets)
    log_losses = _log_losses(trained, targets, folds, _worth(weighing, targets, folds, num_views))
    chosen = int(log_losses.mean(axis=1).argmin())
    final = _fit(data, rows, labels, weighing, num_classes=num_classes, penalty=spec.penalties[chosen], listen=listen)
    hit = answers.argmax(-1) == targets
    accuracy = float(hit[chosen].mean())
    listen(Scored(step="head", name="cross-validated accuracy", value=accuracy, best=accuracy))
    note = f"{len(solved.bias)} heads solved together, selection accuracy {accuracy:.3f}"
    listen(StepFinished(step="head", seconds=time.perf_counter() - start, note=note))
    weight, bias = _shipped(data, final, weighing)
    return HeadResult(
        weight=weight,
        bias=bias,
        penalties=spec.penalties,
        accuracies=np.stack([hit[:, folds == f].mean(-1) for f in range(num_folds)], axis=1),
        log_losses=log_losses,
        chosen=chosen,
        selection_accuracy=accuracy,
        out_of_fold=answers[chosen],
        iterations=max(solved.iterations, final.iterations),
        converged=solved.converged and final.converged,
    )


def fit_head(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    *,
    num_classes: int,
    penalty: float,
    weighing: Weighing | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit one head with a known penalty on ``[V, N, D]`` features; returns weight ``[K, D]`` and bias ``[K]``.

    Of a ``weighing``, the last head's share is used: the one that is fitted on all pictures.
    """
    data = standardise(features)
    rows, labels = _training_rows(data, targets, len(features), weighing)
    final = _fit(data, rows, labels, weighing, num_classes=num_classes, penalty=penalty, listen=silent)
    return _shipped(data, final, weighing)


def _fit(
    data: Standardised,
    rows: Standardised,
    labels: Tensor,
    weighing: Weighing | None,
    *,
    num_classes: int,
    penalty: float,
    listen: Listener,
) -> Solved:
    """One head on everything, to the precision that ships."""
    counted = torch.ones(len(data.rows))
    if weighing is not None:
        pictures = torch.from_numpy(weighing.weights[-1])
        further = torch.from_numpy(weighing.row_weights[-1])
        counted = torch.cat([pictures.repeat(len(data.rows) // len(pictures)), further])
    return solve(
        rows,
        labels,
        counted[:, None],
        torch.tensor([penalty], dtype=torch.float32),
        num_classes=num_classes,
        tolerance=_SHIPPING,
        listen=listen,
    )


def _shipped(
    data: Standardised, final: Solved, weighing: Weighing | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight, bias = to_raw(data, final)
    return weight, bias if weighing is None else bias + weighing.offsets[-1]


def _answers(
    data: Standardised,
    solved: Solved,
    folds: NDArray[np.int64],
    num_views: int,
    *,
    offsets: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Out-of-fold probabilities ``[penalties, N, K]``: each picture is answered by the heads that left it out."""
    num_penalties = len(solved.bias) // (int(folds.max()) + 1)
    out = np.empty((num_penalties, len(folds), solved.bias.shape[1]), dtype=np.float32)
    for fold in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == fold)
        own = slice(fold * num_penalties, (fold + 1) * num_penalties)
        bias = solved.bias[own] if offsets is None else solved.bias[own] + torch.from_numpy(offsets[fold])
        out[:, held] = mean_probs(data.rows, solved.weight[own], bias, held, num_views)
    return out


def _training_rows(
    data: Standardised, targets: NDArray[np.int64], num_views: int, weighing: Weighing | None
) -> tuple[Standardised, Tensor]:
    """All rows that any head may be trained on, with their labels: the views of the pictures, then further rows."""
    labels = torch.from_numpy(targets).repeat(num_views)
    if weighing is None or not len(weighing.rows):
        return data, labels
    return with_rows(data, weighing.rows), torch.cat([labels, torch.from_numpy(weighing.row_targets)])


def _counted(weighing: Weighing | None, kept: NDArray[np.bool_], head: int, num_views: int) -> Tensor:
    """How much each training row counts for a head that sees the pictures ``kept`` ``[N]``; ``[M]``."""
    if weighing is None:
        return torch.from_numpy(kept).float().repeat(num_views)
    pictures = torch.from_numpy((kept * weighing.weights[head]).astype(np.float32)).repeat(num_views)
    return torch.cat([pictures, torch.from_numpy(weighing.row_weights[head])])


def _worth(
    weighing: Weighing | None, targets: NDArray[np.int64], folds: NDArray[np.int64], num_views: int
) -> NDArray[np.float64]:
    """What a left-out picture counts in the loss ``[N]``: as much as a training picture of its class, on average."""
    worth = np.ones(len(targets))
    if weighing is None:
        return worth
    num_classes = weighing.offsets.shape[1]
    for fold in range(int(folds.max()) + 1):
        kept, held = folds != fold, folds == fold
        pictures = num_views * np.bincount(targets[kept], minlength=num_classes)
        total = num_views * np.bincount(targets[kept], weights=weighing.weights[fold, kept], minlength=num_classes)
        total += np.bincount(weighing.row_targets, weights=weighing.row_weights[fold], minlength=num_classes)
        # a class that no head of this fold saw is lost at every penalty alike
        each = np.divide(total, pictures, out=np.ones(num_classes), where=pictures > 0)
        worth[held] = each[targets[held]]
    return worth


def _log_losses(
    probs: NDArray[np.float32], targets: NDArray[np.int64], folds: NDArray[np.int64], worth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``[penalties, folds]`` from ``[penalties, N, K]``."""
    losses = -np.log(np.clip(probs[:, np.arange(len(targets)), targets], 1e-12, 1.0))
    means = [np.average(losses[:, folds == f], axis=-1, weights=worth[folds == f]) for f in range(folds.max() + 1)]
    return np.stack(means, axis=1)
