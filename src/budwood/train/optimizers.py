"""Optimisers by name, and learning rates that fall with depth.

Rates are in the parameter groups and are set anew in every step by the loop (`schedules.py` says by how much).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from budwood.errors import SettingsError

OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerKind:
    """One optimiser: what it does in a line, and the weight decay that suits it.

    Only AdamW takes the decay from the weights themselves. The others add it to the gradient, where momentum and the
    scaling of steps act on it too, so the same number decays more: with a momentum of .9 ten times as much.
    """

    words: str
    weight_decay: float


OPTIMIZERS: dict[str, OptimizerKind] = {
    "adamw": OptimizerKind(words="Adam with decoupled weight decay (Loshchilov and Hutter 2019)", weight_decay=0.05),
    "adam": OptimizerKind(words="steps scaled for each weight (Kingma and Ba 2015)", weight_decay=0.0),
    "sgd": OptimizerKind(words="gradient descent with Nesterov's momentum (Sutskever et al. 2013)", weight_decay=1e-4),
    "rmsprop": OptimizerKind(
        words="the gradient over its running root mean square (Hinton 2012), with momentum",
        weight_decay=0.0,
    ),
}


def make_optimizer(
    name: OptimizerName,
    groups: Sequence[dict[str, Any]],
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
    smoothing: float = 0.9,
) -> torch.optim.Optimizer:
    """The optimiser over parameter groups that carry their own rates, working on all weights of a group at once.

    PyTorch's fused steps are two to six times as fast on a CPU, but go through the memory of weight, gradient and state
    as it lies: channels-last weights with a state read from a file get wrong steps without an error. So only groups
    whose weights all lie in the order of their indices are stepped so.

    Args:
        groups: as PyTorch takes them; one without ``weight_decay`` gets that of its `OptimizerKind`.
        momentum, nesterov: of "sgd"; momentum also of "rmsprop", as EfficientNet was trained. 0 is without.
        betas: of "adam" and "adamw".
        smoothing: of "rmsprop": the share of the old mean square that is kept in each step.

    Raises:
        SettingsError: there is no such optimiser.
    """
    if name not in OPTIMIZERS:
        raise SettingsError(f'there is no optimizer "{name}"; the optimizers are {", ".join(OPTIMIZERS)}')
    made = _made(name, list(groups), momentum=momentum, nesterov=nesterov, betas=betas, smoothing=smoothing)
    for group in made.param_groups:
        if "fused" in group and all(weight.is_contiguous() for weight in group["params"]):
            group.update(fused=True, foreach=False)
    return made


def _made(
    name: OptimizerName,
    groups: list[dict[str, Any]],
    *,
    momentum: float,
    nesterov: bool,
    betas: tuple[float, float],
    smoothing: float,
) -> torch.optim.Optimizer:
    decay = OPTIMIZERS[name].weight_decay
    match name:
        case "adamw":
            return torch.optim.AdamW(groups, betas=betas, weight_decay=decay, foreach=True)
        case "adam":
            return torch.optim.Adam(groups, betas=betas, weight_decay=decay, foreach=True)
        case "sgd":
            steady = nesterov and momentum > 0
            return torch.optim.SGD(groups, momentum=momentum, nesterov=steady, weight_decay=decay, foreach=True)
        case "rmsprop":
            # PyTorch's own smoothing of .99 begins with steps ten times the rate, 1/sqrt(1 - .99).
            return torch.optim.RMSprop(groups, alpha=smoothing, momentum=momentum, weight_decay=decay, foreach=True)


def depth_factors(num_blocks: int, decay: float) -> list[float]:
    """The factor on the rate of each block, from the input on: 1 for the deepest, times ``decay`` for each before it.

    Layer-wise decay of BEiT (Bao et al. 2022), whose head, with a rate of its own here, would be one block more.

    Raises:
        ValueError: ``decay`` is not above 0 and at most 1.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer decay is above 0 and at most 1, found {decay}")
    return [decay ** (num_blocks - 1 - number) for number in range(num_blocks)]
