"""`Balancing`: how rare classes count while a network takes gradient steps.

The same methods as for the solved head (`balanced_heads.py`), as far as they make sense for pictures: repeats are drawn
and augmented anew, so that "oversampling" and "class_augmentation" are one here; there is no SMOTE between pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from budwood.augment.balance import (
    BalanceSpec,
    class_counts,
    class_weights,
    logit_offsets,
    oversampling_indices,
    sampled_indices,
)
from budwood.data.loader import epoch_order
from budwood.seeding import named_generator, order_generator
from budwood.train.step import Loss

_REPEATING = ("oversampling", "class_augmentation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """Order and loss of an epoch under a `BalanceSpec`; ``num_classes`` are K."""

    num_classes: int
    spec: BalanceSpec = field(default_factory=BalanceSpec)

    def epoch_size(self, labels: NDArray[np.int64]) -> int:
        """Pictures of one epoch, repeats counted."""
        return len(self._repeated(labels, epoch=0, seed=0)) if self.spec.method in _REPEATING else len(labels)

    def order(self, labels: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Positions in the order in which an epoch shows them."""
        if self.spec.method == "weighted_sampler":
            return sampled_indices(
                labels,
                num_classes=self.num_classes,
                strength=self.spec.strength,
                generator=order_generator(seed, epoch),
            )
        if self.spec.method in _REPEATING:
            repeated = self._repeated(labels, epoch=epoch, seed=seed)
            return np.asarray(repeated[epoch_order(len(repeated), seed=seed, epoch=epoch)])
        return epoch_order(len(labels), seed=seed, epoch=epoch)

    def loss(self, labels: NDArray[np.int64], *, smoothing: float) -> Loss:
        """The loss of the training part with these labels."""
        counts = class_counts(labels, num_classes=self.num_classes)
        weights = offsets = None
        if self.spec.method == "class_weights":
            weights = torch.from_numpy(class_weights(counts, strength=self.spec.strength)).float()
        elif self.spec.method == "logit_adjustment":
            # The opposite of what would be added to an answer: the network learns to answer without it.
            offsets = torch.from_numpy(-logit_offsets(counts, strength=self.spec.strength)).float()
        return Loss(smoothing=smoothing, weights=weights, offsets=offsets)

    def _repeated(self, labels: NDArray[np.int64], *, epoch: int, seed: int) -> NDArray[np.int64]:
        return oversampling_indices(
            labels,
            num_classes=self.num_classes,
            strength=self.spec.strength,
            generator=named_generator(seed, f"oversampling {epoch}"),
        )
