"""Many regularised softmax problems on the same rows, solved together; what they are for is `heads.py`'s matter.

All problems share the features, so one matrix product serves them all. Problems that have converged leave the batch
(`lbfgs.minimise`); the coordinates are such that the Hessian is near the identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budwood.events import Listener, StepAdvanced
from budwood.train.lbfgs import minimise

_LOGITS_BUDGET = 96 << 20  # bytes of one chunk's logits: larger ones fall out of the cache and gain nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardised:
    """Rows ``[M, D]`` in the coordinates of their own principal axes, and the way back."""

    rows: Tensor
    mean: Tensor
    rotation: Tensor  # [D, R]: column j maps standardised features to axis j, deviation divided out
    spectrum: Tensor  # [R] variance along each axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """P heads in the coordinates of `Standardised`, and how their search went."""

    weight: Tensor  # [P, R, K] in the rotated coordinates
    bias: Tensor  # [P, K]
    iterations: int
    converged: bool


def standardise(features: NDArray[np.float32]) -> Standardised:
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
    return Standardised(
        rows=scaled @ axes,
        mean=mean,
        rotation=axes / deviation[:, None],
        spectrum=spectrum[keep].float(),
    )


def with_rows(data: Standardised, more: NDArray[np.float32]) -> Standardised:
    """The same coordinates with further raw rows ``[E, D]`` at the end: they change no scaling and no axis."""
    turned = (torch.from_numpy(np.ascontiguousarray(more)) - data.mean) @ data.rotation
    return replace(data, rows=torch.cat([data.rows, turned]))


def to_raw(data: Standardised, solved: Solved) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight ``[K, D]`` and bias ``[K]`` of the first head, for raw features."""
    weight = (data.rotation.double() @ solved.weight[0].double()).T
    bias = solved.bias[0].double() - weight @ data.mean.double()
    return weight.float().contiguous().numpy(), bias.float().numpy()


def mean_probs(
    rows: Tensor, weight: Tensor, bias: Tensor, held: NDArray[np.int64], num_views: int
) -> NDArray[np.float32]:
    """Mean probability over the views of the pictures ``held``, ``[P, held, K]``; ``rows`` are views x pictures."""
    num_pictures = len(rows) // num_views
    views = [rows[torch.from_numpy(held + view * num_pictures)] for view in range(num_views)]
    probs = [(torch.einsum("md,pdk->pmk", chosen, weight) + bias[:, None]).softmax(-1) for chosen in views]
    return np.asarray(torch.stack(probs).mean(0).numpy(), dtype=np.float32)


def solve(
    data: Standardised,
    labels: Tensor,
    masks: Tensor,
    penalties: Tensor,
    *,
    num_classes: int,
    tolerance: float,
    listen: Listener,
) -> Solved:
    """Solve problem p, with rows weighted by ``masks[:, p]`` (0 leaves out), as many at once as the budget allows.

    Args:
        data: M rows.
        labels: ``[M]`` class indices.
        masks: ``[M, P]``, not negative; only their proportions matter, since the loss is a mean.
        penalties: ``[P]``.
        num_classes: K.
        tolerance: norm of the gradient at which a problem is solved.
        listen: hears of the step ``head``.
    """
    step = max(1, _LOGITS_BUDGET // max(1, 4 * len(labels) * num_classes))
    parts = []
    for at in range(0, len(penalties), step):
        some = penalties[at : at + step]
        weights = masks[:, at : at + step]
        parts.append(_lbfgs(data, labels, weights / weights.sum(0), some, num_classes, tolerance))
        listen(StepAdvanced(step="head", count=len(some)))
    return Solved(
        weight=torch.cat([p.weight for p in parts]),
        bias=torch.cat([p.bias for p in parts]),
        iterations=max(p.iterations for p in parts),
        converged=all(p.converged for p in parts),
    )


def _lbfgs(
    data: Standardised,
    labels: Tensor,
    weights: Tensor,
    penalties: Tensor,
    num_classes: int,
    tolerance: float,
) -> Solved:
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
    return Solved(
        weight=z[:, :num_axes] * scale[:, :, None],
        bias=z[:, num_axes] * bias_scale,
        iterations=done_at,
        converged=converged,
    )
