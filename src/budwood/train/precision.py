"""bfloat16 training on the CPU: quick activations, and gradients of depthwise convolutions in the faster precision.

In bfloat16 the gradient of a depthwise convolution's input takes 12 to 150 times as long as in float32 where it has a
stride, that of its weights 4 to 6 times as long where the kernel is larger than 3 x 3 (`docs/speed.md`): more than all
the rest gains. Nothing here concerns GPUs.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from budwood.models.quicker import quicken_activations

_CLASSES: dict[type[nn.Conv2d], type[nn.Conv2d]] = {}
_LARGEST_KERNEL = 3  # whose weights' gradient is as fast in bfloat16
_IMAGES, _WEIGHT = [True, False, False], [False, True, False]


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of bfloat16 images ``[B, C, H, W]`` with float32 weights ``[C, 1, k, k]``."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, geometry: list[list[int]]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.geometry = geometry
        low = None if bias is None else bias.to(images.dtype)
        stride, padding, dilation = geometry
        return torch.conv2d(images, weight.to(images.dtype), low, stride, padding, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (images, weight), (grad,) = ctx.saved_tensors, grads
        low, rest = weight.to(images.dtype), (None, *ctx.geometry, False, [0, 0], len(weight))
        backward = torch.ops.aten.convolution_backward
        low_images = max(ctx.geometry[0]) == 1  # else their gradient is faster in float32, and so on
        low_weight = max(weight.shape[2:]) <= _LARGEST_KERNEL
        wants_images, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        wide = grad
        if wants_bias or (wants_images and not low_images) or (wants_weight and not low_weight):
            wide = grad.float()
        of_images = of_weight = of_bias = None
        if wants_images and low_images:
            of_images = backward(grad, images, low, *rest, _IMAGES)[0]
        elif wants_images:
            shape = torch.empty_like(images, dtype=torch.float32)  # its values are not read
            of_images = backward(wide, shape, weight, *rest, _IMAGES)[0].to(images.dtype)
        if wants_weight and low_weight:
            of_weight = backward(grad, images, low, *rest, _WEIGHT)[1].to(weight.dtype)
        elif wants_weight:
            of_weight = backward(wide, images.float(), weight, *rest, _WEIGHT)[1]
        if wants_bias:
            of_bias = wide.sum((0, 2, 3))
        return of_images, of_weight, of_bias, None


def _fast_class(base: type[nn.Conv2d]) -> type[nn.Conv2d]:
    if base in _CLASSES:
        return _CLASSES[base]

    def forward(self: Any, images: Tensor) -> Tensor:
        if images.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            out: Tensor = base.forward(self, images.to(self.weight.dtype))  # bfloat16 in a copy made for inference
            return out
        images = images.bfloat16()
        if base is Conv2dSame:
            images = pad_same(images, list(self.weight.shape[-2:]), self.stride, self.dilation)
        geometry = [list(self.stride), list(self.padding), list(self.dilation)]
        with torch.autocast("cpu", enabled=False):
            found: Tensor = _Depthwise.apply(images, self.weight, self.bias, geometry)
            return found

    _CLASSES[base] = type(f"Fast{base.__name__}", (base,), {"forward": forward})
    return _CLASSES[base]


def _is_plain(module: nn.Module) -> bool:
    """Whether a depthwise convolution does nothing but convolve: others have a forward pass of their own."""
    if type(module) is Conv2dSame:
        return True
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


Module = TypeVar("Module", bound=nn.Module)


def speed_up(model: Module) -> Module:
    """A copy of ``model`` that trains fast under autocast; weights keep their names.

    Other depthwise convolutions, and other activations with the same bits (`models/quicker.py`).
    """
    changed = copy.deepcopy(model)
    for module in changed.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and _is_plain(module):
            module.__class__ = _fast_class(type(module))
    return quicken_activations(changed)
