"""The layers between a network's features and its last linear layer, from words such as ``"dense 256"``.

The last linear layer itself is no part of a top: `build.Classifier` calls it ``head``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

_WIDEST = 65536
_LAYER = re.compile(r"(dense) +(\d+)|(dropout) +(0?\.\d+|0)|(batchnorm)")


def check_top(layers: Sequence[str]) -> None:
    """Refuse what is no layer.

    Raises:
        ValueError: a layer is none of ``"dense 256"``, ``"dropout 0.3"``, ``"batchnorm"``.
    """
    for layer in layers:
        found = _LAYER.fullmatch(layer)
        if not found:
            raise ValueError(f'top takes "dense 256", "dropout 0.3" or "batchnorm", found "{layer}"')
        if found[1] and not 1 <= int(found[2]) <= _WIDEST:
            raise ValueError(f'top takes dense layers of 1 to {_WIDEST} units, found "{layer}"')


def build_top(layers: Sequence[str], *, num_features: int) -> tuple[nn.Sequential, int]:
    """The stack, and how many features it returns: ``[B, num_features]`` -> ``[B, width]``.

    ``dense 256`` is a linear layer of 256 units and a ReLU, initialised for it (He et al. 2015, arXiv:1502.01852).

    Raises:
        ValueError: as `check_top`.
    """
    check_top(layers)
    stack: list[nn.Module] = []
    width = num_features
    for layer in layers:
        kind, _, value = layer.partition(" ")
        if kind == "dense":
            stack += dense(width, int(value))
            width = int(value)
        else:
            stack.append(nn.BatchNorm1d(width) if kind == "batchnorm" else nn.Dropout(float(value)))
    return nn.Sequential(*stack), width


def dense(inputs: int, units: int) -> tuple[nn.Linear, nn.ReLU]:
    """A linear layer and its ReLU."""
    linear = nn.Linear(inputs, units)
    he_start(linear)
    return linear, nn.ReLU()


def he_start(layer: nn.Linear | nn.Conv2d) -> None:
    """Weights whose outputs keep the variance of the inputs through a ReLU; zero biases."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
