"""The tables of a network, against what is known of it and against other ways to count."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from budwood.models.backbones import load_backbone, outline_backbone
from budwood.models.blocks import blocks_of
from budwood.models.build import num_parameters
from budwood.models.meter import measure
from budwood.models.summary import block_table, summarise

KINDS = ("lite0", "test_convnext", "test_vit", "test_coatnet", "googlenet", "homemade_skip")
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "vgg16", "vit_b_16", "test_vit3")]


@pytest.mark.parametrize("name", [*KINDS, *LARGE])
def test_rows_add_up_to_the_network(name: str) -> None:
    backbone = outline_backbone(name)
    module, size = backbone.module, backbone.preprocess.size
    rows, blocks = summarise(module, size=size), block_table(module, size)
    assert sum(row.parameters for row in rows) == num_parameters(module)
    assert sum(row.parameters for row in blocks) == num_parameters(module)
    assert sum(row.macs for row in rows) == sum(row.macs for row in blocks)
    assert [row.name for row in blocks] == [block.name for block in blocks_of(module)]
    assert blocks[-1].share == pytest.approx(1)
    assert [row.share for row in blocks] == sorted(row.share for row in blocks)
    assert [row.layers for row in blocks] == sorted({row.layers for row in blocks})
    assert blocks[0].border_bytes == 3 * size * size * 2


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_coatnet", "mobilenet_v3_small"])
def test_multiply_accumulates_are_those_that_pytorch_counts_on_real_numbers(name: str) -> None:
    backbone = load_backbone(name, pretrained=False)
    size = backbone.preprocess.size
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        backbone.module(torch.zeros(1, 3, size, size))
    assert sum(row.macs for row in summarise(backbone.module, size=size)) * 2 == counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("resnet50", 23_508_032, 4.09),
        ("vgg16", 14_714_688, 15.35),
        pytest.param("convnext_large", 196_230_336, 34.4, marks=pytest.mark.slow),
    ],
)
def test_known_networks_have_their_known_numbers(name: str, parameters: int, gmacs: float) -> None:
    rows = summarise(outline_backbone(name).module, size=224)
    assert sum(row.parameters for row in rows) == parameters
    assert sum(row.macs for row in rows) / 1e9 == pytest.approx(gmacs, rel=3e-3)


def fields(module: nn.Module, size: int, kind: str) -> list[int | None]:
    return [row.receptive_field for row in summarise(module, size=size) if row.kind == kind]


def test_receptive_fields_of_vgg16_are_the_published_ones() -> None:
    module = outline_backbone("vgg16").module
    assert fields(module, 224, "MaxPool2d") == [6, 16, 44, 100, 212]
    assert fields(module, 224, "Conv2d")[-1] == 196


def test_receptive_field_of_resnet50_is_the_published_one() -> None:
    # Araujo, Norris, Sim 2019, https://distill.pub/2019/computing-receptive-fields: 483 for ResNet-50 v1, whose stride
    # stands in the first convolution of a block; timm's is v1.5 with the stride in the 3x3: 427.
    module = outline_backbone("resnet50").module
    assert [f for f in fields(module, 224, "ReLU") if f][-1] == 427


def test_receptive_field_is_what_gradients_reach() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.Conv2d(4, 4, 3, dilation=2), nn.AvgPool2d(3, 2), nn.Conv2d(4, 1, 3)
    )
    images = torch.randn(1, 3, 96, 96, requires_grad=True)
    out = module(images)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    reached = images.grad[0].abs().sum(0).nonzero()
    side = int((reached.max(0).values - reached.min(0).values + 1).max())
    assert summarise(module, size=96)[-1].receptive_field == side


def test_branches_have_the_wider_field_and_pooling_ends_it() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow, self.after = nn.Conv2d(3, 2, 7, padding=3), nn.Conv2d(3, 2, 1), nn.Conv2d(4, 2, 3)
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.pool(self.after(torch.cat([self.wide(images), self.narrow(images)], 1)))

    rows = {row.name: row.receptive_field for row in summarise(Branches(), size=32)}
    assert rows == {"wide": 7, "narrow": 1, "after": 9, "pool": None}


def test_linear_layer_over_a_flattened_map_sees_everything_but_one_a_place_does_not() -> None:
    class Flattens(nn.Sequential):
        pass

    flat = Flattens(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 30 * 30, 5))
    assert summarise(flat, size=32)[-1].receptive_field is None
    block = [row for row in summarise(outline_backbone("test_convnext").module, size=160) if row.kind == "Linear"]
    assert block[0].receptive_field == 7 * 4 + 4 - 4  # a 7x7 kernel on a stem of 4 px


def test_memory_is_that_of_the_outputs_and_nothing_for_work_in_place() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.ReLU(), nn.Flatten())
    rows = summarise(module, size=16)
    assert [row.activation_bytes for row in rows] == [8 * 16 * 16 * 4, 0, 8 * 16 * 16 * 4, 0]


def test_measuring_changes_nothing() -> None:
    module = torchvision.models.resnet18(weights=None).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    measure(module, size=64)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_layer_used_twice_stands_once_with_the_work_of_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(images))

    (row,) = summarise(Twice(), size=8)
    assert (row.parameters, row.macs) == (9, 2 * 9 * 64)


def test_border_is_what_a_cache_would_keep() -> None:
    rows = {row.name: row for row in block_table(outline_backbone("resnet50").module, 224)}
    assert rows["layer4.0"].border_bytes == 1024 * 14 * 14 * 2
    assert rows["layer3.0"].border_bytes == 512 * 28 * 28 * 2
    assert math.isclose(rows["layer4.2"].share, 1)


def test_weights_whose_module_is_never_called_stand_with_the_module_around_it() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)  # it uses its out_proj without calling it

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.attention = nn.Conv2d(3, 8, 4, stride=4), attention

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    rows = {row.name: row for row in summarise(Attends(), size=8)}
    assert rows["attention"].parameters == num_parameters(attention)
    assert rows["attention"].macs > 0
