"""Optimisers by name, and learning rates that fall with depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop"]


def make_optimizer(
    name: OptimizerName, groups: Sequence[dict[str, Any]], *, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """The optimiser over parameter groups that carry their own rates."""
    if name == "sgd":
        return torch.optim.SGD(list(groups), lr=1e-3, momentum=momentum, nesterov=momentum > 0, foreach=True)
    if name == "rmsprop":
        return torch.optim.RMSprop(list(groups), momentum=momentum, foreach=True)
    if name == "adam":
        return torch.optim.Adam(list(groups), foreach=True)
    return torch.optim.AdamW(list(groups), foreach=True)


def depth_factors(num_blocks: int, decay: float) -> list[float]:
    """Each block's factor on the rate: 1 for the deepest, times ``decay`` for each block before it."""
    return [decay ** (num_blocks - 1 - number) for number in range(num_blocks)]
