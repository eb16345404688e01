"""So that rare classes are not overlooked: weights, draws, repeats, synthetic rows, shifted logits, as pure functions.

They take class indices and arrays and know no network. All are given by how many pictures each class *should* have had
(`wanted_counts`): the number of the commonest class, or part of the way there. What each is worth on one's own pictures
is measured by `compare_balance`; none of them adds what a rare class lacks most, which is other pictures.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from budwood.errors import UsageError

Method = Literal[
    "none",
    "class_weights",
    "weighted_sampler",
    "oversampling",
    "class_augmentation",
    "smote",
    "logit_adjustment",
]
# Cui et al. try .9 to .9999; at .999 a class of 1,000 pictures counts as 632 different ones.
EFFECTIVE_BETA = 0.999
_SMOTE_NEIGHBOURS = 5  # of the paper, and imbalanced-learn's default


class BalanceSpec(BaseModel):
    """How rare classes are balanced in training.

    method: "class_weights" lets each picture count by the inverse frequency of its class; "weighted_sampler" draws
        pictures so, with replacement; "oversampling" repeats rare ones; "class_augmentation" shows rare classes in more
        views; "smote" interpolates between features of a rare class; "logit_adjustment" shifts the answers.
    strength: exponent of the inverse frequency: 0 changes nothing, 1 makes all classes count alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "none"
    strength: float = Field(default=1.0, ge=0, le=1)


def class_counts(targets: NDArray[np.int64], *, num_classes: int) -> NDArray[np.int64]:
    """Pictures of each class ``[K]``."""
    return np.bincount(targets, minlength=num_classes)


def wanted_counts(counts: NDArray[np.int64], *, strength: float) -> NDArray[np.float64]:
    """How many pictures each class should have had, ``[K]``: ``n * (largest / n) ** strength``; 0 stays 0."""
    counts = np.asarray(counts, dtype=np.float64)
    ratio = np.divide(counts.max(initial=0), counts, out=np.ones_like(counts), where=counts > 0)
    return np.asarray(counts * ratio**strength, dtype=np.float64)


def class_weights(counts: NDArray[np.int64], *, strength: float) -> NDArray[np.float64]:
    """What a picture of each class counts, ``[K]``: ``n ** -strength``, on average over the pictures 1; 0 if absent.

    With strength 1 these are scikit-learn's ``class_weight="balanced"``.
    """
    return _mean_one(
        np.divide(wanted_counts(counts, strength=strength), counts, where=counts > 0, out=_zeros(counts)), counts
    )


def effective_number_weights(counts: NDArray[np.int64], *, beta: float = EFFECTIVE_BETA) -> NDArray[np.float64]:
    """What a picture of each class counts, ``[K]``: one over the effective number of its class's pictures.

    Reference: Y. Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019.
    """
    effective = (1 - beta ** np.asarray(counts, dtype=np.float64)) / (1 - beta)
    return _mean_one(np.divide(1, effective, where=counts > 0, out=_zeros(counts)), counts)


def sampled_indices(
    targets: NDArray[np.int64], *, num_classes: int, strength: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """N pictures drawn with replacement, each with the odds of its class's weight: one epoch of a weighted sampler."""
    weights = class_weights(class_counts(targets, num_classes=num_classes), strength=strength)[targets]
    return generator.choice(len(targets), size=len(targets), p=weights / weights.sum()).astype(np.int64)


def oversampling_indices(
    targets: NDArray[np.int64], *, num_classes: int, strength: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Every picture once, and those of rare classes again until each class has its wanted number.

    Within a class, no picture is repeated a second time before all were repeated once.
    """
    counts = class_counts(targets, num_classes=num_classes)
    wanted = np.rint(wanted_counts(counts, strength=strength)).astype(np.int64)
    chosen = [np.arange(len(targets))]
    for k in np.flatnonzero(wanted > counts):
        own = np.flatnonzero(targets == k)
        whole, rest = divmod(int(wanted[k] - counts[k]), len(own))
        chosen += [np.tile(own, whole), generator.choice(own, size=rest, replace=False)]
    return np.concatenate(chosen).astype(np.int64)


def smote(
    rows: NDArray[np.float32], targets: NDArray[np.int64], *, wanted: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Synthetic rows between a row and one of its five nearest of the same class, by imbalanced-learn.

    On features this fills the space between pictures. On raw pixels a point between two pictures is no picture: both
    shine through, which no camera sees; see docs/balance.md.

    Args:
        rows: ``[N, D]``, features or flattened pixels; near is Euclidean, so scale the columns alike first.
        targets: ``[N]`` class indices.
        wanted: ``[K]`` rows that each class should have; a class with one row has no neighbour and gets none.
        seed: fixes the draw.

    Returns:
        Only the new rows ``[E, D]`` and their classes ``[E]``, class after class.

    Raises:
        UsageError: imbalanced-learn is not installed.

    Reference: N. V. Chawla et al., SMOTE: synthetic minority over-sampling technique, JAIR 16 (2002).
    """
    made, labels = [np.empty((0, rows.shape[1]), dtype=np.float32)], [np.empty(0, dtype=np.int64)]
    for k in range(len(wanted)):
        own = rows[targets == k]
        missing = round(float(wanted[k])) - len(own)
        if missing > 0 and len(own) > 1:
            made.append(_interpolated(own, missing, seed=seed + k))
            labels.append(np.full(missing, k, dtype=np.int64))
    return np.concatenate(made), np.concatenate(labels)


def check_smote() -> None:
    """Refuse early where SMOTE cannot be had.

    Raises:
        UsageError: imbalanced-learn is not installed.
    """
    try:
        import imblearn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "SMOTE needs imbalanced-learn, which is not installed: pip install 'budwood[balance]',"
            " or choose another way to balance"
        ) from error


def logit_offsets(counts: NDArray[np.int64], *, strength: float) -> NDArray[np.float64]:
    """What is added to the logits of an answer, ``[K]``: minus ``strength`` times the log of the class's share.

    The answer then is the most probable class where all classes are equally common. In a deep network the same may be
    done in training instead, by adding the opposite to the logits of the loss; for a linear head with a free bias both
    are one: the bias takes the offset up, and nothing else changes. Absent classes count as one picture.

    Reference: A. K. Menon et al., Long-tail learning via logit adjustment, ICLR 2021.
    """
    present = np.maximum(np.asarray(counts, dtype=np.float64), 1)
    return np.asarray(-strength * np.log(present / present.sum()), dtype=np.float64)


def _interpolated(own: NDArray[np.float32], number: int, *, seed: int) -> NDArray[np.float32]:
    check_smote()
    from imblearn.over_sampling import SMOTE

    # One class at a time, beside a row that stands for all others: SMOTE looks at one class anyhow, and raw pixels of
    # all pictures would not fit into memory as floats.
    rows = np.concatenate([own, np.zeros_like(own[:1])])
    labels = np.array([1] * len(own) + [0])
    neighbours = min(_SMOTE_NEIGHBOURS, len(own) - 1)
    sampler = SMOTE(sampling_strategy={1: len(own) + number}, k_neighbors=neighbours, random_state=seed % 2**32)
    drawn, _ = sampler.fit_resample(rows, labels)
    return np.asarray(drawn[len(rows) :], dtype=np.float32)


def _mean_one(weights: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(weights * (counts.sum() / max(float((weights * counts).sum()), 1e-300)), dtype=np.float64)


def _zeros(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.zeros(len(counts), dtype=np.float64)
