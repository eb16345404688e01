"""The blocks of a backbone, for every kind of network that Budwood takes."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from budwood.errors import SettingsError
from budwood.models.backbones import load_backbone, outline_backbone
from budwood.models.blocks import (
    blocks_of,
    describe_share,
    frozen_parameters,
    frozen_share,
    layers_before,
    trained_from,
)

TIMM = (*timm.list_models("test_*"), "lite0", "resnet18", "vgg11_bn", "densenet121", "regnetx_002", "legacy_xception")
TORCHVISION = ("mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "googlenet")
SCRATCH = ("four_block", "homemade_skip")


def torchvision_resnet18() -> nn.Module:
    module = torchvision.models.resnet18(weights=None)
    module.fc = nn.Identity()
    return module


def build(name: str) -> nn.Module:
    return torchvision_resnet18() if name == "torchvision resnet18" else load_backbone(name, pretrained=False).module


@pytest.fixture(scope="module", params=[*TIMM, *TORCHVISION, *SCRATCH, "torchvision resnet18"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    """One untrained network of every kind, built once for all that is asked of it."""
    return build(request.param).eval()


def test_each_parameter_is_in_exactly_one_block_in_the_order_of_depth(network: nn.Module) -> None:
    module = network
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
    with torch.no_grad():
        module.eval()(noise(module, 0))
    for handle in handles:
        handle.remove()
    return used


def noise(module: nn.Module, seed: int) -> torch.Tensor:
    cfg = getattr(module, "pretrained_cfg", {})
    least = 160 if cfg.get("fixed_input_size") else 64
    size = getattr(module, "input_side", least)
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_what_enters_a_block_decides_all_that_comes_after(network: nn.Module) -> None:
    module = network
    for part in module.modules():  # noise through a hundred untrained layers fades away
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.fill_(0.5)
    kept: dict[str, list[Any]] = {block.module: [] for block in blocks_of(module)}
    handles = [
        module.get_submodule(border).register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs))
        for border, seen in kept.items()
    ]
    with torch.no_grad():
        expected = module(noise(module, 0))
    for handle in handles:
        handle.remove()
    for border, seen in kept.items():
        assert len(seen) == 1, f"{border} is used {len(seen)} times"
        handle = module.get_submodule(border).register_forward_pre_hook(lambda *_, seen=seen: seen[0])
        with torch.no_grad():
            got = module(noise(module, 1))
        handle.remove()
        assert torch.equal(got, expected), border


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


@pytest.mark.parametrize("name", ["vgg11_bn", "vgg16", "vgg16_no_last_pool"])
def test_blocks_of_vgg_end_at_poolings(name: str) -> None:
    module = outline_backbone(name).module
    for block in blocks_of(module)[1:]:
        number = int(block.module.removeprefix("features."))
        assert isinstance(module.get_submodule(f"features.{number - 1}"), nn.MaxPool2d)
    assert len(blocks_of(module)) == 5


def test_residual_units_are_blocks() -> None:
    names = [block.module for block in blocks_of(outline_backbone("resnet50").module)]
    assert names[:3] == ["conv1", "layer1.0", "layer1.1"]
    assert len(names) == 1 + 3 + 4 + 6 + 3


def test_parallel_branches_are_one_block() -> None:
    names = [block.module for block in blocks_of(outline_backbone("googlenet").module)]
    assert names[3:6] == ["inception3a", "inception3b", "inception4a"]
    assert len(names) == 12


def test_network_without_parameters_has_no_blocks() -> None:
    module = outline_backbone("softmax").module
    assert blocks_of(module) == ()
    assert [trained_from(module, trains) for trains in ("all", "head", 3)] == [0, 0, 0]
    assert frozen_share(module, "1/2") == 0


@pytest.mark.parametrize(
    ("trains", "first"),
    [
        *(("all", 0), ("head", 17), (1, 16), (3, 14), (17, 0), (99, 0)),
        *(("conv1", 0), ("conv1 + bn1", 0), ("layer2", 4), ("layer4", 14), ("layer4.1", 15)),
    ],
)
def test_first_trained_block_is_found_by_number_and_by_name(trains: str | int, first: int) -> None:
    assert trained_from(outline_backbone("resnet50").module, trains) == first


@pytest.mark.parametrize("wrong", ["layer9", "layer", "lay", "", "4.0"])
def test_unknown_block_is_answered_with_the_names(wrong: str) -> None:
    with pytest.raises(SettingsError, match=rf'found "{wrong}"; the blocks are: conv1, layer1\.0, .*layer4\.2'):
        trained_from(outline_backbone("resnet50").module, wrong)


def test_90_of_296_layers_of_convnext_large_are_frozen_as_in_report_a1() -> None:
    module = outline_backbone("convnext_large").module
    first = frozen_share(module, "90/296")
    frozen = sum(block.num_parameters for block in blocks_of(module)[:first])
    reported = 29_828_544 - 2 * 1536  # less the statistics of the BatchNorm above, which Keras counts as parameters
    assert frozen - reported == 768  # Keras's 90th layer stands before the last scale of that block
    assert describe_share(module, "90/296") == (
        "90 of 296 layers (30%) -> blocks 1-12 of 37 frozen, up to stages.2.blocks.4, 94 of 297 layers here (32%)"
    )


@pytest.mark.parametrize(("layers", "blocks"), [(6, 2), (8, 2), (10, 3), (12, 3), (0, 0), (19, 5)])
def test_frozen_layers_of_vgg16_in_report_a2_are_the_nearest_poolings(layers: int, blocks: int) -> None:
    assert frozen_share(outline_backbone("vgg16").module, f"{layers}/19") == blocks


def test_stochastic_depth_moves_no_border() -> None:
    still, dropped = (load_backbone("test_convnext", pretrained=False, drop_path=rate).module for rate in (0.0, 0.5))
    assert layers_before(still) == layers_before(dropped)


@pytest.mark.parametrize("wrong", ["90", "90/", "300/296", "1/0", "a/b", "-1/3", "0.3"])
def test_wrong_share_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match=rf'such as "90/296" .*found "{wrong}"'):
        frozen_share(outline_backbone("softmax").module, wrong)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "mobilenet_v3_small"])
def test_frozen_parameters_are_those_of_all_blocks_but_the_last(name: str) -> None:
    module = build(name)
    blocks = blocks_of(module)
    assert frozen_parameters(module, trained_blocks=None) == set()
    assert frozen_parameters(module, trained_blocks=0) == {n for n, _ in module.named_parameters()}
    for count in (1, 2, len(blocks), len(blocks) + 5):
        kept = blocks[: max(0, len(blocks) - count)]
        assert frozen_parameters(module, trained_blocks=count) == {n for b in kept for n in b.parameters}
