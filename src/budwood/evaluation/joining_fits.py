"""Weights for joining models, fitted to labelled probabilities: on a simplex, greedily, and by stacking.

Each function fits on all that it is handed; what the fit is worth on other pictures is `joining.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.ensemble import FLOOR, Combine, combine, softmax, stacked
from budwood.seeding import named_generator

Table = NDArray[np.float32]
Labels = NDArray[np.int64]

GREEDY_ROUNDS = 30
# How strongly stacking is held to the mean, from hardly free to free: per picture, on log-probabilities.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 5
# Held to the mean as it is, the layer needs no more: log loss is known to some thousandths with a thousand pictures.
_ENOUGH = {"maxiter": 100, "ftol": 1e-6}
_LIGHTEST = 0.005  # a member with less weight is left out: it costs as much time as any other


def losses(probs: NDArray[np.float32], targets: Labels) -> NDArray[np.float64]:
    """The log loss of each picture ``[N]``; no probability counts for less than `ensemble.FLOOR`."""
    own = probs[np.arange(len(targets)), targets].astype(np.float64)
    return np.asarray(-np.log(np.maximum(own, FLOOR)))


def right_class(tables: Table, targets: Labels) -> NDArray[np.float64]:
    """The members' probabilities of the true class, ``[M, N]``."""
    return tables[:, np.arange(len(targets)), targets].astype(np.float64)


def fit_weights(tables: Table, targets: Labels) -> Combine:
    """The weighted mean of probabilities ``[M, N, K]`` with the least log loss; convex, so there is one answer.

    Reference: M. J. van der Laan, E. C. Polley, A. E. Hubbard, Super Learner, Statistical Applications in Genetics and
    Molecular Biology 6 (2007).

    Raises:
        DataError: the solver finds no weights.
    """
    from scipy.optimize import minimize

    own = np.maximum(right_class(tables, targets), FLOOR)
    members = len(own)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        joined = np.maximum(weights @ own, FLOOR)
        return float(-np.log(joined).mean()), -(own / joined).mean(axis=1)

    found = minimize(
        loss,
        np.full(members, 1 / members),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-9, "maxiter": 300},
    )
    if not np.isfinite(found.x).all():
        raise DataError(f"no weights for the members were found ({found.message}); join them by their mean")
    weights = np.clip(found.x, 0, None)
    weights[weights < _LIGHTEST * weights.sum()] = 0.0
    return _weighted(weights)


def fit_greedy(tables: Table, targets: Labels, *, rounds: int = GREEDY_ROUNDS) -> Combine:
    """Add members one by one, each as often as it helps: the bag's mean with the least log loss on the way is taken.

    Reference: R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, Ensemble selection from libraries of models,
    ICML 2004.
    """
    own = right_class(tables, targets)
    counts, total = np.zeros(len(own)), np.zeros(own.shape[1])
    best, best_loss = counts, np.inf
    for size in range(1, rounds + 1):
        mean_losses = -np.log(np.maximum((total + own) / size, FLOOR)).mean(axis=1)
        chosen = int(mean_losses.argmin())
        counts = counts + (np.arange(len(own)) == chosen)
        total = total + own[chosen]
        if mean_losses[chosen] < best_loss - 1e-9:
            best, best_loss = counts, float(mean_losses[chosen])
    return _weighted(best)


def fit_stacking(tables: Table, targets: Labels, *, seed: int, penalties: tuple[float, ...] = PENALTIES) -> Combine:
    """A softmax of a linear layer on log-probabilities ``[M, N, K]``, held to the mean of their logarithms.

    What is penalised is the square of the difference from that mean, so few pictures give the mean, and not chance. The
    strength is chosen in five folds.

    Reference: D. H. Wolpert, Stacked generalization, Neural Networks 5 (1992).
    """
    best = _best_penalty(_held_paths(tables, targets, penalties, seed=seed), targets)
    return _solve(tables, targets, penalties[: best + 1])[-1]


def stacking_out_of_fold(tables: Table, targets: Labels, *, seed: int) -> NDArray[np.float32]:
    """Stacked answers ``[N, K]``, each by a fit on the other folds.

    The strength is the one that did best in these very folds: one of five, which flatters little, and choosing it anew
    inside each fold would take six times as long.
    """
    paths = _held_paths(tables, targets, PENALTIES, seed=seed)
    return np.asarray(paths[_best_penalty(paths, targets)])


def _held_paths(tables: Table, targets: Labels, penalties: tuple[float, ...], *, seed: int) -> NDArray[np.float32]:
    """Out-of-fold answers ``[P, N, K]`` with each strength."""
    folds = folds_of(targets, seed=seed)
    out = np.empty((len(penalties), *tables.shape[1:]), dtype=np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        for number, how in enumerate(_solve(tables[:, ~held], targets[~held], penalties)):
            out[number, held] = combine(tables[:, held], how)
    return out


def _best_penalty(paths: NDArray[np.float32], targets: Labels) -> int:
    return int(np.argmin([losses(path, targets).mean() for path in paths]))


def folds_of(targets: Labels, *, seed: int) -> NDArray[np.int64]:
    """A fold for each picture, every class spread over all of them."""
    generator = named_generator(seed, "joining folds")
    order = generator.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    folds = np.empty(len(targets), dtype=np.int64)
    folds[order] = np.arange(len(targets)) % FOLDS
    return folds


def out_of_fold(
    tables: Table, targets: Labels, fit: Callable[[Table, Labels], Combine], *, seed: int
) -> NDArray[np.float32]:
    """Joined answers ``[N, K]``, each by a fit on the other folds."""
    folds = folds_of(targets, seed=seed)
    out = np.empty(tables.shape[1:], dtype=np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        out[held] = combine(tables[:, held], fit(tables[:, ~held], targets[~held]))
    return out


def _solve(tables: Table, targets: Labels, penalties: tuple[float, ...]) -> list[Combine]:
    """One stacking for each strength, in their order; each solution is where the next begins."""
    from scipy.optimize import minimize

    members, pictures, classes = tables.shape
    inputs = stacked(tables)
    mean = np.tile(np.eye(classes) / members, (1, members))  # [K, M * K]: the mean of logarithms
    truth = np.eye(classes)[targets]

    def loss(flat: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.float64]]:
        away, shift = flat[:-classes].reshape(mean.shape), flat[-classes:]
        probs = softmax(inputs @ (mean + away).T + shift)
        error = (probs - truth) / pictures
        own = np.maximum(probs[np.arange(pictures), targets], 1e-300)
        value = -np.log(own).mean() + penalty / 2 * (np.square(away).sum() + np.square(shift).sum())
        slope = np.concatenate([(error.T @ inputs + penalty * away).ravel(), error.sum(axis=0) + penalty * shift])
        return float(value), slope

    flat, found = np.zeros(mean.size + classes), []
    for penalty in penalties:
        flat = minimize(loss, flat, args=(penalty,), jac=True, method="L-BFGS-B", options=_ENOUGH).x
        coef = mean + flat[:-classes].reshape(mean.shape)
        found.append(
            Combine(
                method="stacking",
                coef=tuple(tuple(map(float, row)) for row in coef),
                intercept=tuple(map(float, flat[-classes:])),
            )
        )
    return found


def _weighted(weights: NDArray[np.float64]) -> Combine:
    shares = weights / weights.sum()
    return Combine(method="weighted", weights=tuple(float(w) for w in shares))
