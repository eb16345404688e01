"""CutMix and MixUp of a whole batch; labels are mixed in the same proportion. Keyed by (seed, epoch, step).

Which picture is mixed with which is drawn for the batch, so a batch of other pictures is mixed in another way. Classes
have no settings of their own here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from budwood.augment.spec import AugmentSpec


def mix_batch(
    images: Tensor, targets: Tensor, *, spec: AugmentSpec, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix a share of the batches.

    Args:
        images: ``[B, 3, S, S]``. targets: ``[B, K]`` float32, rows sum to 1.
        spec: with which probability this batch is mixed in which way, and how much of it.
        generator: of this step (`seeding.batch_generator`).

    Returns:
        Images and targets of the same shapes, new tensors where mixed; rows of targets still sum to 1.
    """
    choice = generator.random()
    if choice < spec.cutmix:
        return _cutmix(images, targets, spec, generator)
    if choice < spec.cutmix + spec.mixup:
        return _mixup(images, targets, spec, generator)
    return images, targets


def _cutmix(
    images: Tensor, targets: Tensor, spec: AugmentSpec, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A box of each picture is replaced by its partner's; the area decides the labels.

    Reference: S. Yun et al., CutMix: regularization strategy to train strong classifiers with localizable features,
    ICCV 2019.
    """
    height, width = images.shape[2:]
    partner = torch.from_numpy(generator.permutation(len(images)))
    low, high = spec.cutmix_area
    area = low + (high - low) * float(generator.beta(spec.cutmix_beta, spec.cutmix_beta))
    # The width makes up for what rounding the height has cost, so the area is met to half a column.
    box_height = min(height, max(1, round(height * area**0.5)))
    box_width = min(width, round(area * height * width / box_height))
    top = int(generator.integers(0, height - box_height + 1))
    left = int(generator.integers(0, width - box_width + 1))
    mixed = images.clone()
    box = np.s_[:, :, top : top + box_height, left : left + box_width]
    mixed[box] = images[box][partner]
    share = box_height * box_width / (height * width)
    return mixed, targets * (1 - share) + targets[partner] * share


def _mixup(images: Tensor, targets: Tensor, spec: AugmentSpec, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A convex sum of each picture and its partner.

    Reference: H. Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018.
    """
    partner = torch.from_numpy(generator.permutation(len(images)))
    share = float(generator.beta(spec.mixup_beta, spec.mixup_beta))
    return images * (1 - share) + images[partner] * share, targets * (1 - share) + targets[partner] * share
