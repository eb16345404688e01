"""Quicker activations and paddings give the bits that torch's and timm's give."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from budwood.models.quicker import QuickReLU6, quicken, quicken_activations


def every_bfloat16() -> Tensor:
    """All 65,536 of them but those that are not numbers, ``[1, 1, N, 1]``."""
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return numbers[~numbers.isnan()].view(1, 1, -1, 1)


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
def test_every_number_is_clamped_as_torch_does(kind: type[nn.ReLU | nn.ReLU6], inplace: bool) -> None:
    numbers = every_bfloat16()
    given = numbers.clone()
    with torch.inference_mode():
        found = quicken(kind(inplace=inplace))(given)
        assert torch.equal(found, kind()(numbers))
    assert (found is given) is inplace
    assert torch.equal(given, found if inplace else numbers)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "dilation"), [(8, 3, 2, 1), (7, 3, 2, 1), (8, 5, 2, 1), (9, 5, 3, 2), (5, 1, 2, 1)]
)
def test_paddings_are_those_of_timm(side: int, kernel: int, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    plain = Conv2dSame(6, 6, kernel, stride=stride, dilation=dilation, groups=6, bias=True).to(torch.bfloat16)
    images = torch.randn(2, 6, side, side + 1, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        wanted = plain(images)
        quick = quicken(copy.deepcopy(plain))
        assert type(quick) is not Conv2dSame
        assert torch.equal(quick(images), wanted)


def test_what_is_no_number_stays_visible() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6())
    network[0].weight.data[0] = float("nan")  # type: ignore[union-attr, operator]
    with torch.inference_mode():
        found = quicken(network.to(torch.bfloat16))(torch.ones(1, 3, 2, 2, dtype=torch.bfloat16))
    assert found.isnan().any()


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
def test_gradients_are_those_of_torch(kind: type[nn.ReLU | nn.ReLU6], inplace: bool) -> None:
    numbers = every_bfloat16()
    below = torch.linspace(-2, 2, numbers.numel(), dtype=torch.bfloat16).view_as(numbers)
    results = []
    for activation in (kind(), quicken_activations(kind(inplace=inplace))):
        given = numbers.clone().requires_grad_()
        found = activation(given * 1)
        found.backward(below)
        assert given.grad is not None
        results.append((found.detach(), given.grad))
    (wanted, wanted_grad), (found, grad) = results
    assert torch.equal(found, wanted)
    assert torch.equal(grad, wanted_grad)


def test_float32_is_left_to_torch() -> None:
    quick = quicken(nn.ReLU6())
    assert type(quick) is QuickReLU6
    images = torch.tensor([float("nan"), 7.0, -1.0], requires_grad=True)
    quick(images).sum().backward()
    assert quick(images.detach())[0].isnan()
    assert images.grad is not None
    assert images.grad.tolist()[1:] == [0, 0]
