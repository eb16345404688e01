"""CutMix and MixUp of a whole batch; labels are mixed in the same proportion. Keyed by (seed, epoch, step)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mix_batch(
    images: Tensor, targets: Tensor, *, cutmix: float, mixup: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix a share of the batches.

    Args:
        images: ``[B, 3, S, S]``. targets: ``[B, K]`` float32, rows sum to 1.
        cutmix, mixup: probabilities that this batch is mixed so; together at most 1 is used.

    Returns:
        Images and targets of the same shapes, new tensors where mixed; rows of targets still sum to 1.
    """
    choice = generator.random()
    if choice < cutmix:
        return _cutmix(images, targets, generator)
    if choice < cutmix + mixup:
        return _mixup(images, targets, generator)
    return images, targets


def _cutmix(images: Tensor, targets: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A box of each picture is replaced by its partner's (Yun et al. 2019); the area decides the labels."""
    height, width = images.shape[2:]
    partner = torch.from_numpy(generator.permutation(len(images)))
    side = np.sqrt(1 - generator.random())
    box_height, box_width = round(height * side), round(width * side)
    top = int(generator.integers(0, height - box_height + 1))
    left = int(generator.integers(0, width - box_width + 1))
    mixed = images.clone()
    box = np.s_[:, :, top : top + box_height, left : left + box_width]
    mixed[box] = images[partner][box]
    share = box_height * box_width / (height * width)
    return mixed, targets * (1 - share) + targets[partner] * share


def _mixup(images: Tensor, targets: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A convex sum of each picture and its partner, Beta(0.2, 0.2) (Zhang et al. 2018)."""
    partner = torch.from_numpy(generator.permutation(len(images)))
    share = float(generator.beta(0.2, 0.2))
    return images * (1 - share) + images[partner] * share, targets * (1 - share) + targets[partner] * share
