"""The blocks of a backbone, for every kind of network that Budwood takes."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from budwood.models.backbones import load_backbone
from budwood.models.blocks import blocks_of, frozen_parameters

TIMM = (*timm.list_models("test_*"), "lite0", "resnet18")
TORCHVISION = ("mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5")


def torchvision_resnet18() -> nn.Module:
    module = torchvision.models.resnet18(weights=None)
    module.fc = nn.Identity()
    return module


def build(name: str) -> nn.Module:
    return torchvision_resnet18() if name == "torchvision resnet18" else load_backbone(name, pretrained=False).module


@pytest.mark.parametrize("name", [*TIMM, *TORCHVISION, "torchvision resnet18"])
def test_each_parameter_is_in_exactly_one_block_in_the_order_of_depth(name: str) -> None:
    module = build(name)
    blocks = blocks_of(module)
    placed = [parameter for block in blocks for parameter in block.parameters]
    sizes = {n: p.numel() for n, p in module.named_parameters()}
    assert sorted(placed) == sorted(sizes)
    assert [b.num_parameters for b in blocks] == [sum(sizes[n] for n in b.parameters) for b in blocks]
    assert len(blocks) > 3
    assert all(block.name for block in blocks)
    number = {parameter: i for i, block in enumerate(blocks) for parameter in block.parameters}
    order = [number[parameter] for parameter in parameters_as_they_are_used(module)]
    assert order[0] == 0
    assert order[-1] == len(blocks) - 1
    assert order == sorted(order)


def parameters_as_they_are_used(module: nn.Module) -> list[str]:
    """One parameter of each layer, in the order in which a picture meets the layers."""
    used: list[str] = []
    handles = []
    for name, layer in module.named_modules():
        own = [n for n, _ in layer.named_parameters(recurse=False)]
        if own and not list(layer.children()):
            first = f"{name}.{own[0]}"
            handles.append(layer.register_forward_hook(lambda *_, first=first: used.append(first)))
    size = getattr(module, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
    with torch.no_grad():
        module.eval()(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    return used


def test_deep_layers_of_a_torchvision_transformer_are_blocks_of_their_own() -> None:
    module = torchvision.models.VisionTransformer(32, 16, num_layers=4, num_heads=2, hidden_dim=8, mlp_dim=8)
    module.heads = nn.Identity()
    assert len(blocks_of(module)) >= 5


def test_network_of_ones_own_is_cut_at_its_children() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), nn.Flatten())
    assert [(b.name, b.parameters) for b in blocks_of(module)] == [
        ("0", ("0.weight", "0.bias")),
        ("1", ("1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias")),  # a last BatchNorm alone is no block
    ]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "mobilenet_v3_small"])
def test_frozen_parameters_are_those_of_all_blocks_but_the_last(name: str) -> None:
    module = build(name)
    blocks = blocks_of(module)
    assert frozen_parameters(module, trained_blocks=None) == set()
    assert frozen_parameters(module, trained_blocks=0) == {n for n, _ in module.named_parameters()}
    for count in (1, 2, len(blocks), len(blocks) + 5):
        kept = blocks[: max(0, len(blocks) - count)]
        assert frozen_parameters(module, trained_blocks=count) == {n for b in kept for n in b.parameters}
