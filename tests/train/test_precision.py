"""Faster layers under autocast: the ordinary gradients, whatever precision each of them is computed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from budwood.models.build import Classifier
from budwood.train import precision
from budwood.train.precision import speed_up

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
    fast = speed_up(layer)
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
        out = speed_up(conv())(images)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_a_frozen_convolution_passes_gradients_on_and_gets_none() -> None:
    layer = speed_up(conv()).requires_grad_(False)
    images = torch.randn(2, 6, 8, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(images).float().sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is None


def test_without_autocast_and_in_bfloat16_copies_it_is_the_ordinary_convolution() -> None:
    layer, images = conv(kernel=5), torch.randn(2, 6, 8, 8)
    fast = speed_up(layer)
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
    assert type(speed_up(layer)) is nn.Conv2d


def test_a_model_is_copied_and_a_second_copy_changes_nothing_more(tiny: Tiny) -> None:
    model = tiny("test_convnext")
    once = speed_up(model)
    twice = speed_up(once)
    fast = [type(m) for m in once.modules() if type(m) in precision._CLASSES.values()]
    assert fast
    assert [type(m) for m in twice.modules() if type(m) in precision._CLASSES.values()] == fast
    assert not any(type(m) in precision._CLASSES.values() for m in model.modules())
    assert once.state_dict().keys() == model.state_dict().keys()


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [
        [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), kind(inplace=True)]
        for a, b, kind in ((3, 4, nn.ReLU6), (4, 4, nn.ReLU), (4, 4, nn.ReLU6))
    ]
    layers: list[nn.Module] = [layer for block in blocks for layer in block]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 36, 2))


def step_gradients(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Of every weight, after a step under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(network(images).float(), torch.tensor([0, 1, 0, 1]))
    loss.backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def test_a_network_with_quick_activations_has_the_same_step_gradients() -> None:
    images = torch.randn(4, 3, 6, 6)
    network = small_network()
    wanted, found = step_gradients(network, images), step_gradients(speed_up(small_network()), images)
    assert set(wanted) == set(found) == {name for name, _ in network.named_parameters()}
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize("place", ["images", "0.weight", "1.weight", "3.weight", "4.bias", "6.weight", "10.weight"])
def test_a_nan_that_an_activation_swallows_shows_in_the_step_gradients(place: str) -> None:
    images, network = torch.randn(4, 3, 6, 6), speed_up(small_network())
    values = images if place == "images" else network.get_parameter(place).data
    values.view(-1)[0] = float("nan")
    found = step_gradients(network, images)
    assert not torch.isfinite(nn.utils.get_total_norm(found.values()))
