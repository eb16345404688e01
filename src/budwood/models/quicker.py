"""Activations and paddings of a network, replaced by others that give the same bits in less time.

Measured on a CPU with bfloat16 (`docs/speed.md`): torch's ReLU and ReLU6 took half of the time of lite0's features, and
an eighth of a training step. Nothing here is for GPUs or for float32.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn
from torch.nn import functional

# The bits of bfloat16 numbers, read as whole numbers, are in the order of the numbers from zero on, and all negative
# numbers are below; so a clamp of whole numbers does, which torch carries out four times as fast.
_SIX = int(torch.tensor(6.0, dtype=torch.bfloat16).view(torch.int16))
Module = TypeVar("Module", bound=nn.Module)


class _Clamp(torch.autograd.Function):
    """Clamp bfloat16 numbers to 0 and, if ``six``, to 6; the gradient is torch's own."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, six: bool, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(images)
        clamped = _clamped(images, _SIX if six else None, inplace=inplace)
        ctx.save_for_backward(clamped)
        ctx.six = six
        return clamped

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (clamped,), (grad,) = ctx.saved_tensors, grads
        if ctx.six:
            return torch.ops.aten.hardtanh_backward(grad, clamped, 0.0, 6.0), None, None
        return torch.ops.aten.threshold_backward(grad, clamped, 0.0), None, None


class QuickReLU(nn.ReLU):
    """`nn.ReLU` of bfloat16 numbers; a NaN may become 0, though not its gradient in the layers before."""

    def forward(self, images: Tensor) -> Tensor:
        return _quick(images, six=False, inplace=self.inplace) if _is_quick(images) else super().forward(images)


class QuickReLU6(nn.ReLU6):
    """`nn.ReLU6` of bfloat16 numbers; a NaN becomes 0 or 6, though not its gradient in the layers before."""

    def forward(self, images: Tensor) -> Tensor:
        return _quick(images, six=True, inplace=self.inplace) if _is_quick(images) else super().forward(images)


class QuickConv2dSame(Conv2dSame):
    """timm's convolution with TensorFlow's padding, which does not write the inside of the padded maps twice."""

    def forward(self, images: Tensor) -> Tensor:
        kernel, height, width = self.weight.shape[-2:], images.shape[-2], images.shape[-1]
        high = get_same_padding(height, kernel[0], self.stride[0], self.dilation[0])
        wide = get_same_padding(width, kernel[1], self.stride[1], self.dilation[1])
        top, left = high // 2, wide // 2
        padded = torch.empty(
            (*images.shape[:2], height + high, width + wide),
            dtype=images.dtype,
            device=images.device,
            memory_format=torch.channels_last,
        )
        padded[:, :, top : top + height, left : left + width] = images
        padded[:, :, :top] = padded[:, :, top + height :] = 0
        padded[..., :left] = padded[..., left + width :] = 0
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


_ACTIVATIONS: dict[type[nn.Module], type[nn.Module]] = {nn.ReLU: QuickReLU, nn.ReLU6: QuickReLU6}


def quicken(network: Module) -> Module:
    """Change a network that is run in inference mode, in bfloat16 on the CPU; returns it.

    A network whose weights are not all finite stays as it is: its features are not numbers, and have to be seen so.
    """
    return _changed(network, {**_ACTIVATIONS, Conv2dSame: QuickConv2dSame})


def quicken_activations(network: Module) -> Module:
    """Change a network that is trained in bfloat16 on the CPU; returns it.

    A NaN on the way may not reach the loss; it does reach the gradients of the weights before the activation, which are
    therefore to be looked at, too. A network whose weights are not all finite stays as it is.
    """
    return _changed(network, _ACTIVATIONS)


def _changed(network: Module, quicker: dict[type[nn.Module], type[nn.Module]]) -> Module:
    values = [value for value in network.state_dict().values() if value.is_floating_point()]
    if all(bool(torch.isfinite(value).all()) for value in values):
        for module in network.modules():
            module.__class__ = quicker.get(type(module), type(module))
    return network


def _is_quick(images: Tensor) -> bool:
    return images.dtype == torch.bfloat16 and images.device.type == "cpu"


def _quick(images: Tensor, *, six: bool, inplace: bool) -> Tensor:
    if torch.is_grad_enabled() and images.requires_grad:
        clamped: Tensor = _Clamp.apply(images, six, inplace)
        return clamped
    return _clamped(images, _SIX if six else None, inplace=inplace)


def _clamped(images: Tensor, most: int | None, *, inplace: bool) -> Tensor:
    bits: Any = images.view(torch.int16)
    if inplace:
        bits.clamp_(0, most)
        return images
    clamped: Tensor = bits.clamp(0, most).view(torch.bfloat16)
    return clamped
