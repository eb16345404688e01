"""bfloat16 training on the CPU, with depthwise convolutions kept in float32.

The depthwise backward pass in bfloat16 takes four times as long as in float32, more than all the rest gains.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_CLASSES: dict[type[nn.Conv2d], type[nn.Conv2d]] = {}


def _float32_class(base: type[nn.Conv2d]) -> type[nn.Conv2d]:
    if base in _CLASSES:
        return _CLASSES[base]

    def forward(self: Any, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            out: Tensor = base.forward(self, images.to(self.weight.dtype))  # float32, but in a copy made for inference
            return out

    _CLASSES[base] = type(f"Float32{base.__name__}", (base,), {"forward": forward})
    return _CLASSES[base]


Module = TypeVar("Module", bound=nn.Module)


def keep_depthwise_float32(model: Module) -> Module:
    """A copy of ``model`` whose depthwise convolutions leave autocast; names of the weights stay the same."""
    changed = copy.deepcopy(model)
    for module in changed.modules():
        if type(module) in _CLASSES.values():
            continue
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels:
            module.__class__ = _float32_class(type(module))
    return changed
