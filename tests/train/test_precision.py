"""Depthwise convolutions under autocast: the ordinary gradients, whatever precision each of them is computed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from budwood.models.build import Classifier
from budwood.train import precision
from budwood.train.precision import speed_up_depthwise

Tiny = Callable[..., Classifier]


def conv(kind: type[nn.Conv2d] = nn.Conv2d, *, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    torch.manual_seed(0)
    padding = 0 if kind is Conv2dSame else kernel // 2
    return kind(6, 6, kernel, stride=stride, padding=padding, groups=6, bias=bias)


def gradients(layer: nn.Conv2d, images: torch.Tensor, *, autocast: bool) -> list[torch.Tensor]:
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = layer(images)
    out.float().square().sum().backward()
    return [out.detach().float(), images.grad, *[p.grad for p in layer.parameters()]]  # type: ignore[list-item]


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(conv(), id="3x3"),
        pytest.param(conv(bias=True), id="bias"),
        pytest.param(conv(kernel=5), id="5x5"),
        pytest.param(conv(stride=2), id="stride"),
        pytest.param(conv(kernel=5, stride=2, bias=True), id="5x5, stride, bias"),
        pytest.param(conv(Conv2dSame, stride=2), id="padded as TensorFlow does"),
        pytest.param(conv(Conv2dSame, kernel=5, stride=2), id="5x5, padded as TensorFlow does"),
    ],
)
def test_gradients_are_the_float32_ones_but_for_rounding(layer: nn.Conv2d) -> None:
    images = torch.randn(4, 6, 9, 9, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)
    fast = speed_up_depthwise(layer)
    assert type(fast) is not type(layer)
    exact, found = gradients(layer, images, autocast=False), gradients(fast, images, autocast=True)
    for one, other in zip(exact, found, strict=True):
        assert one.shape == other.shape
        assert float((one - other).norm() / one.norm()) < 0.01
    assert fast.weight.grad is not None
    assert fast.weight.grad.dtype == torch.float32


def test_the_output_stays_in_bfloat16_and_channels_last() -> None:
    images = torch.randn(2, 6, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = speed_up_depthwise(conv())(images)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_a_frozen_convolution_passes_gradients_on_and_gets_none() -> None:
    layer = speed_up_depthwise(conv()).requires_grad_(False)
    images = torch.randn(2, 6, 8, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(images).float().sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is None


def test_without_autocast_and_in_bfloat16_copies_it_is_the_ordinary_convolution() -> None:
    layer, images = conv(kernel=5), torch.randn(2, 6, 8, 8)
    fast = speed_up_depthwise(layer)
    assert torch.equal(fast(images), layer(images))
    assert torch.equal(fast.bfloat16()(images), layer.bfloat16()(images.bfloat16()))


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(nn.Conv2d(6, 6, 3), id="not depthwise"),
        pytest.param(nn.Conv2d(6, 6, 3, groups=2), id="grouped"),
        pytest.param(nn.Conv2d(6, 6, 3, groups=6, padding_mode="reflect", padding=1), id="reflecting border"),
        pytest.param(nn.Conv2d(6, 6, 3, groups=6, padding="same"), id="padding in words"),
    ],
)
def test_other_convolutions_are_left_alone(layer: nn.Conv2d) -> None:
    assert type(speed_up_depthwise(layer)) is nn.Conv2d


def test_a_model_is_copied_and_a_second_copy_changes_nothing_more(tiny: Tiny) -> None:
    model = tiny("test_convnext")
    once = speed_up_depthwise(model)
    twice = speed_up_depthwise(once)
    fast = [type(m) for m in once.modules() if type(m) in precision._CLASSES.values()]
    assert fast
    assert [type(m) for m in twice.modules() if type(m) in precision._CLASSES.values()] == fast
    assert not any(type(m) in precision._CLASSES.values() for m in model.modules())
    assert once.state_dict().keys() == model.state_dict().keys()
