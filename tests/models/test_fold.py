"""BatchNorm folding: the same answers, or no folding at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from budwood.models.backbones import load_backbone
from budwood.models.fold import fold_batch_norm


def lived_in(module: nn.Module) -> nn.Module:
    """Give every BatchNorm the statistics and weights of a trained one."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.3, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            with torch.no_grad():
                norm.weight.uniform_(0.5, 1.5, generator=generator)
                norm.bias.normal_(0, 0.3, generator=generator)
    return module.eval()


def num_norms(module: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


def relative_difference(first: nn.Module, second: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        one, other = first(images), second(images)
    return float((one - other).abs().max() / one.abs().max())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{
        name: lambda name=name: timm.create_model(name, num_classes=0)
        for name in ("test_resnet", "test_efficientnet", "test_byobnet", "test_convnext", "test_mambaout")
    },
    "resnet18 of torchvision": lambda: torchvision.models.resnet18(weights=None),
    "mobilenet_v3 of torchvision": lambda: torchvision.models.mobilenet_v3_small(weights=None),
}


@pytest.mark.parametrize("example", ["zeros", "noise"])
@pytest.mark.parametrize("name", NETWORKS)
def test_folded_network_answers_alike_without_batch_norm(name: str, example: str) -> None:
    torch.manual_seed(0)
    module = lived_in(NETWORKS[name]())
    images = torch.randn(3, 3, 64, 64)
    folded = fold_batch_norm(module, torch.zeros(2, 3, 64, 64) if example == "zeros" else images)
    assert num_norms(folded) == 0
    assert relative_difference(module, folded, images) < 1e-4


def test_packaged_network_is_folded_whole_and_answers_alike() -> None:
    module = load_backbone("lite0").module
    assert num_norms(module) == 49
    folded = fold_batch_norm(module, torch.zeros(2, 3, 64, 64))
    assert num_norms(folded) == 0
    assert relative_difference(module, folded, torch.randn(2, 3, 96, 96)) < 1e-4


def test_given_network_is_left_as_it_was() -> None:
    module = lived_in(timm.create_model("test_resnet", num_classes=0)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    folded = fold_batch_norm(module, torch.randn(2, 3, 32, 32))
    assert module.training
    assert not folded.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in [*module.modules(), *folded.modules()])


class Twice(nn.Module):
    """One convolution before two BatchNorms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return (self.first(self.conv(images)).relu() + self.second(self.conv(images.flip(3)))).mean((2, 3))


class OneForTwo(Twice):
    """One output of a convolution into two BatchNorms."""

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        return (self.first(out).relu() + self.second(out)).mean((2, 3))


class Beside(Twice):
    """A convolution's output is also used as it is."""

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        return (self.first(out) * out).mean((2, 3))


class Shared(Twice):
    """Two convolutions before one BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return (self.first(self.conv(images)).relu() + self.first(self.other(images))).mean((2, 3))


class InPlace(Twice):
    """An activation that changes the convolution's output where it lies."""

    def forward(self, images: Tensor) -> Tensor:
        return self.first(nn.functional.relu_(self.conv(images))).mean((2, 3))


@pytest.mark.parametrize("network", [Twice, OneForTwo, Beside, Shared, InPlace])
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "fresh"])
@pytest.mark.parametrize("example", ["zeros", "noise"])
def test_unusual_wiring_is_never_folded_wrongly(
    request: pytest.FixtureRequest, network: type[Twice], trained: bool, example: str
) -> None:
    torch.manual_seed(0)
    module = network()
    nn.init.zeros_(module.conv.bias)  # as in most networks, there is none before a BatchNorm
    if trained:
        lived_in(module)
    else:
        module.first.running_var.fill_(4.0)  # a first epoch's statistics
    images = torch.randn(2, 3, 12, 12)
    folded = fold_batch_norm(module.eval(), torch.zeros_like(images) if example == "zeros" else images)
    assert relative_difference(module, folded, torch.randn(2, 3, 12, 12)) < 1e-4
