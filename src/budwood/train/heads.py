"""Many regularised linear heads at once: multinomial logistic regression by one batched L-BFGS.

Every (fold, penalty) pair is one problem; all share the features, so one matrix product serves them all. Problems that
have converged leave the batch (`lbfgs.minimise`); the coordinates are such that the Hessian is near the identity.
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

from budwood.events import Listener, Scored, StepAdvanced, StepFinished, StepStarted, silent
from budwood.train.lbfgs import minimise

# Norm of the preconditioned gradient at which a problem is solved: for choosing a penalty, and for weights that ship.
_CHOOSING, _SHIPPING = 1e-3, 1e-5
_LOGITS_BUDGET = 96 << 20  # bytes of one chunk's logits: larger ones fall out of the cache and gain nothing


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
class HeadResult:
    """A linear head on raw (not standardised) features, and how it was chosen.

    weight ``[K, D]``, bias ``[K]`` float32. accuracies ``[penalties, folds]`` and log_losses alike are measured on the
    left-out folds, mean probability over the views; selection_accuracy is the chosen penalty's pooled accuracy.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standardised:
    """Rows ``[M, D]`` in the coordinates of their own principal axes, and the way back."""

    rows: Tensor
    mean: Tensor
    rotation: Tensor  # [D, R]: column j maps standardised features to axis j, deviation divided out
    spectrum: Tensor  # [R] variance along each axis


def choose_head(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    num_classes: int,
    spec: HeadSpec,
    listen: Listener = silent,
) -> HeadResult:
    """Choose the penalty by cross-validation and fit the head on all rows.

    Args:
        features: ``[V, N, D]``: V views of N pictures; all views of a picture are trained or left out together.
        targets: ``[N]`` class indices.
        folds: ``[N]`` fold of each picture, 0..F-1 (groups of near-duplicates share one).
        num_classes: K.
        spec: penalties to choose from.
    """
    start = time.perf_counter()
    num_views, num_pictures, _ = features.shape
    folds = np.unique(folds, return_inverse=True)[1]  # a fold without pictures is none
    num_folds = int(folds.max()) + 1
    data = _standardise(features)
    labels = torch.from_numpy(targets).repeat(num_views)
    fold_of = torch.from_numpy(folds).repeat(num_views)
    penalties = torch.tensor(spec.penalties, dtype=torch.float32)
    listen(StepStarted(step="head", total=num_folds * len(penalties) + 1, unit="heads"))

    # Problem f * len(penalties) + p leaves out fold f and has penalty p.
    masks = torch.stack([fold_of != f for f in range(num_folds) for _ in penalties], dim=1).float()
    solved = _solve(
        data,
        labels,
        masks,
        penalties.repeat(num_folds),
        num_classes=num_classes,
        tolerance=_CHOOSING,
        listen=listen,
    )
    probs = np.zeros((len(penalties), num_pictures, num_classes), dtype=np.float32)
    for fold in range(num_folds):
        held = np.flatnonzero(folds == fold)
        own = slice(fold * len(penalties), (fold + 1) * len(penalties))
        probs[:, held] = _mean_probs(data.rows, solved.weight[own], solved.bias[own], held, num_views)

    accuracies, log_losses = _scores(probs, targets, folds)
    chosen = int(log_losses.mean(axis=1).argmin())
    best_penalty = penalties[chosen : chosen + 1]
    everything = torch.ones(len(labels), 1)
    final = _solve(data, labels, everything, best_penalty, num_classes=num_classes, tolerance=_SHIPPING, listen=listen)
    weight, bias = _to_raw(data, final)
    accuracy = float((probs[chosen].argmax(-1) == targets).mean())
    listen(Scored(step="head", name="cross-validated accuracy", value=accuracy, best=accuracy))
    note = f"{masks.shape[1]} heads solved together, selection accuracy {accuracy:.3f}"
    listen(StepFinished(step="head", seconds=time.perf_counter() - start, note=note))
    return HeadResult(
        weight=weight,
        bias=bias,
        penalties=spec.penalties,
        accuracies=accuracies,
        log_losses=log_losses,
        chosen=chosen,
        selection_accuracy=accuracy,
        out_of_fold=probs[chosen],
        iterations=max(solved.iterations, final.iterations),
        converged=solved.converged and final.converged,
    )


def fit_head(
    features: NDArray[np.float32], targets: NDArray[np.int64], *, num_classes: int, penalty: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit one head with a known penalty on ``[V, N, D]`` features; returns weight ``[K, D]`` and bias ``[K]``."""
    data = _standardise(features)
    labels = torch.from_numpy(targets).repeat(features.shape[0])
    solved = _solve(
        data,
        labels,
        torch.ones(len(labels), 1),
        torch.tensor([penalty]),
        num_classes=num_classes,
        tolerance=_SHIPPING,
        listen=silent,
    )
    return _to_raw(data, solved)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solved:
    weight: Tensor  # [P, R, K] in the rotated coordinates
    bias: Tensor  # [P, K]
    iterations: int
    converged: bool


def _standardise(features: NDArray[np.float32]) -> _Standardised:
    """Centre and scale each feature, then turn to principal axes (which changes no solution, only the conditioning)."""
    rows = torch.from_numpy(np.ascontiguousarray(features.reshape(-1, features.shape[-1])))
    mean = rows.mean(0)
    deviation = rows.std(0, unbiased=False)
    deviation = torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
    scaled = (rows - mean) / deviation
    covariance = scaled.T @ scaled / len(scaled)
    spectrum, axes = torch.linalg.eigh(covariance.double())
    keep = spectrum > spectrum[-1].clamp_min(1e-12) * 1e-7  # axes without variance cannot matter
    axes = axes[:, keep].float()
    return _Standardised(
        rows=scaled @ axes,
        mean=mean,
        rotation=axes / deviation[:, None],
        spectrum=spectrum[keep].float(),
    )


def _to_raw(data: _Standardised, solved: _Solved) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight = (data.rotation.double() @ solved.weight[0].double()).T
    bias = solved.bias[0].double() - weight @ data.mean.double()
    return weight.float().contiguous().numpy(), bias.float().numpy()


def _mean_probs(
    rows: Tensor, weight: Tensor, bias: Tensor, held: NDArray[np.int64], num_views: int
) -> NDArray[np.float32]:
    """Mean probability over the views, ``[P, held, K]``."""
    num_pictures = len(rows) // num_views
    views = [rows[torch.from_numpy(held + view * num_pictures)] for view in range(num_views)]
    probs = [(torch.einsum("md,pdk->pmk", chosen, weight) + bias[:, None]).softmax(-1) for chosen in views]
    return np.asarray(torch.stack(probs).mean(0).numpy(), dtype=np.float32)


def _scores(
    probs: NDArray[np.float32], targets: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    num_folds = int(folds.max()) + 1
    hit = probs.argmax(-1) == targets
    right = np.clip(probs[:, np.arange(len(targets)), targets], 1e-12, 1.0)
    accuracies = np.stack([hit[:, folds == f].mean(-1) for f in range(num_folds)], axis=1)
    log_losses = np.stack([-np.log(right[:, folds == f]).mean(-1) for f in range(num_folds)], axis=1)
    return accuracies, log_losses


def _solve(
    data: _Standardised,
    labels: Tensor,
    masks: Tensor,
    penalties: Tensor,
    *,
    num_classes: int,
    tolerance: float,
    listen: Listener,
) -> _Solved:
    """Solve problem p, with rows weighted by ``masks[:, p]`` (0 leaves out), as many at once as the budget allows."""
    step = max(1, _LOGITS_BUDGET // max(1, 4 * len(labels) * num_classes))
    parts = []
    for at in range(0, len(penalties), step):
        some = penalties[at : at + step]
        weights = masks[:, at : at + step]
        parts.append(_lbfgs(data, labels, weights / weights.sum(0), some, num_classes, tolerance))
        listen(StepAdvanced(step="head", count=len(some)))
    return _Solved(
        weight=torch.cat([p.weight for p in parts]),
        bias=torch.cat([p.bias for p in parts]),
        iterations=max(p.iterations for p in parts),
        converged=all(p.converged for p in parts),
    )


def _lbfgs(
    data: _Standardised,
    labels: Tensor,
    weights: Tensor,
    penalties: Tensor,
    num_classes: int,
    tolerance: float,
) -> _Solved:
    """Minimise mean cross-entropy + penalty / 2 * |W|^2 (bias free) for each column of ``weights`` ``[M, P]``."""
    rows, num_axes, count = data.rows, data.rows.shape[1], len(penalties)
    at = torch.arange(len(rows))
    curvature = (1 - 1 / num_classes) / num_classes  # of softmax where all classes are equally likely
    scale = (curvature * data.spectrum[None, :] + penalties[:, None]).rsqrt()  # [P, R]
    bias_scale = curvature**-0.5

    def evaluate(z: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        weight = z[:, :num_axes] * scale[which, :, None]  # [A, R, K]
        mask = weights[:, which]
        # Problems are innermost: softmax over 8 classes is only fast where the classes are not.
        active = len(which)
        flat = weight.permute(1, 2, 0).reshape(num_axes, num_classes * active)
        logits = (rows @ flat).view(len(rows), num_classes, active)
        logits += (z[:, num_axes] * bias_scale).T
        log_probs = logits.log_softmax(1)
        loss = -(mask * log_probs[at, labels]).sum(0) + penalties[which] / 2 * weight.pow(2).sum((1, 2))
        residual = log_probs.exp_()
        residual[at, labels] -= 1
        residual *= mask[:, None]
        # (residual.T @ rows).T: nine times faster than rows.T @ residual where few problems are left
        grad = (residual.view(len(rows), num_classes * active).T @ rows).T
        grad = grad.reshape(num_axes, num_classes, active).permute(2, 0, 1)
        grad = (grad + penalties[which, None, None] * weight) * scale[which, :, None]
        return loss, torch.cat([grad, residual.sum(0).T[:, None] * bias_scale], 1)

    z, done_at, converged = minimise(evaluate, torch.zeros(count, num_axes + 1, num_classes), tolerance)
    return _Solved(
        weight=z[:, :num_axes] * scale[:, :, None],
        bias=z[:, num_axes] * bias_scale,
        iterations=done_at,
        converged=converged,
    )
