"""Batched limited-memory BFGS: many small problems minimised at once; those that are solved leave the batch.

Nocedal & Wright, *Numerical Optimization* (2006), algorithm 7.4, with Armijo backtracking. What is minimised is the
caller's matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_HISTORY = 10
_MAX_ITERATIONS = 400

# (points [A, R, K], which problems [A]) -> losses [A], gradients like the points
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def minimise(evaluate: Evaluate, start: Tensor, tolerance: float) -> tuple[Tensor, int, bool]:
    """Minimise each problem from its row of ``start``.

    Args:
        evaluate: losses and gradients of some of the problems.
        start: ``[P, R, K]``.
        tolerance: norm of the gradient at which a problem is solved.

    Returns:
        The points ``[P, R, K]``, the iterations used, and whether all problems ended before their limit.
    """
    result, converged = start.clone(), True
    which = torch.arange(len(start))
    point = start
    loss, grad = evaluate(point, which)
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    iterations = 0
    while iterations < _MAX_ITERATIONS:
        iterations += 1
        direction = -_two_loops(grad, steps, changes)
        slope = (direction * grad).sum((1, 2))
        moved, new_loss, new_grad, stuck = _line_search(evaluate, which, point, loss, grad, direction, slope)
        steps, changes = [*steps, moved - point][-_HISTORY:], [*changes, new_grad - grad][-_HISTORY:]
        point, loss, grad = moved, new_loss, new_grad
        result[which] = point
        small = grad.pow(2).sum((1, 2)).sqrt() <= tolerance
        keep = ~(small | stuck)
        if not bool(keep.any()):
            break
        if not bool(keep.all()):
            which, point, loss, grad = which[keep], point[keep], loss[keep], grad[keep]
            steps, changes = [s[keep] for s in steps], [c[keep] for c in changes]
    else:
        converged = False
    return result, iterations, converged


def _two_loops(grad: Tensor, steps: list[Tensor], changes: list[Tensor]) -> Tensor:
    """The L-BFGS direction H * grad, problem by problem."""
    q = grad
    memory = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        dot = (step * change).sum((1, 2))
        rho = torch.where(dot > 1e-12, 1 / dot.clamp_min(1e-12), torch.zeros_like(dot))
        alpha = rho * (step * q).sum((1, 2))
        q = q - alpha[:, None, None] * change
        memory.append((step, change, rho, alpha))
    if steps:
        dot = (steps[-1] * changes[-1]).sum((1, 2))
        gamma = (dot / changes[-1].pow(2).sum((1, 2)).clamp_min(1e-20)).clamp(1e-3, 1e3)
        q = torch.where(dot[:, None, None] > 1e-12, gamma[:, None, None] * q, q)
    for step, change, rho, alpha in reversed(memory):
        beta = rho * (change * q).sum((1, 2))
        q = q + (alpha - beta)[:, None, None] * step
    return q


def _line_search(
    evaluate: Evaluate,
    which: Tensor,
    point: Tensor,
    loss: Tensor,
    grad: Tensor,
    direction: Tensor,
    slope: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Armijo backtracking from step 1 for each problem; ``stuck`` marks those whose loss no step lowers any more."""
    size = torch.ones(len(which))
    moved, new_loss, new_grad = point.clone(), loss.clone(), grad.clone()
    open_ = torch.ones(len(which), dtype=torch.bool)
    for _ in range(12):
        at = open_.nonzero()[:, 0]
        trial = point[at] + size[at, None, None] * direction[at]
        trial_loss, trial_grad = evaluate(trial, which[at])
        fits = trial_loss <= loss[at] + 1e-4 * size[at] * slope[at]
        good = at[fits]
        moved[good], new_loss[good], new_grad[good] = trial[fits], trial_loss[fits], trial_grad[fits]
        open_[good] = False
        if not bool(open_.any()):
            break
        size[open_] *= 0.5
    return moved, new_loss, new_grad, open_
