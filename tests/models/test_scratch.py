"""Nets from scratch: what holds for every one of them, and what the reports say of single ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from budwood.errors import BackboneError
from budwood.models.backbones import load_backbone
from budwood.models.blocks import blocks_of
from budwood.models.build import (
    Classifier,
    ModelSpec,
    attach_head,
    build_empty,
    classifier_state,
    num_parameters,
    open_backbone,
)
from budwood.models.nets import SCRATCH
from budwood.models.scratch import BUILDERS
from budwood.models.summary import summarise

SMALL = sorted(BUILDERS)
# As small as the poolings allow, to be quick.
SIDES = {name: net.least for name, net in SCRATCH.items()}


def classifier(name: str, *, num_classes: int = 3, dropout: float = 0.0) -> Classifier:
    torch.manual_seed(0)
    spec = ModelSpec(backbone=name, pretrained=False, size=SIDES[name], dropout=dropout)
    return attach_head(open_backbone(spec), num_classes=num_classes, spec=spec)


def pictures(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Noise that is bright in the channel of its class."""
    targets = torch.arange(count) % 3
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1)) / 2
    images[torch.arange(count), targets] += 1
    return images, targets


def test_every_net_of_the_list_has_a_builder() -> None:
    others = {"resnet50_scratch", "vgg16_no_last_pool"}  # timm's, see from_timm
    assert set(BUILDERS) == set(SCRATCH) - others
    assert len(SCRATCH) >= 11


@pytest.mark.parametrize("name", sorted(SCRATCH))
def test_net_answers_with_a_number_a_class_and_says_that_it_is_untrained(name: str) -> None:
    backbone = load_backbone(name, pretrained=False, size=SIDES[name])
    assert backbone.untrained
    assert backbone.preprocess.mean == (0.485, 0.456, 0.406)
    assert backbone.fixed_size == (SIDES[name] if SCRATCH[name].fixed else None)
    model = attach_head(backbone, num_classes=5).eval()
    images = torch.randn(2, 3, SIDES[name], SIDES[name])
    assert model(images).shape == (2, 5)
    torch.testing.assert_close(model(images).softmax(1), torch.full((2, 5), 0.2))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_net_from_scratch_needs_no_wish_for_random_weights(name: str) -> None:
    assert "from scratch" in load_backbone(name, pretrained=True, size=SIDES[name]).source


@pytest.mark.parametrize("name", sorted(SCRATCH))
def test_summary_and_blocks_count_every_parameter(name: str) -> None:
    module = load_backbone(name, pretrained=False, size=SIDES[name]).module
    total = num_parameters(module)
    assert sum(row.parameters for row in summarise(module, size=SIDES[name])) == total
    assert sum(block.num_parameters for block in blocks_of(module)) == total


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"zero_input"}))
def test_one_batch_is_learnt_to_the_last_picture(name: str) -> None:
    model = classifier(name).train()
    images, targets = pictures(12, SIDES[name])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model.train()(images), targets).backward()
        optimizer.step()
        right = (model.eval()(images).argmax(1) == targets).float().mean()
        if right == 1:
            break
    assert right == 1


def test_zero_input_answers_every_picture_alike_and_learns_the_majority() -> None:
    model = classifier("zero_input").train()
    images, _ = pictures(12, SIDES["zero_input"])
    targets = torch.tensor([2] * 8 + [0] * 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
    logits = model.eval()(images)
    assert torch.equal(logits, logits[:1].expand_as(logits))
    assert logits[0].argmax() == 2


@pytest.mark.parametrize(
    ("name", "size", "num_classes", "parameters"),
    [
        ("mlp255", 300, 3, 68_851_023),  # report A4
        ("cifar_cnn", 300, 3, 9_966_691),  # report A4
        ("softmax", 96, 8, 3 * 96 * 96 * 8 + 8),
        ("zero_input", 96, 8, 3 * 96 * 96 * 8 + 8),
        ("six_conv", 96, 8, 982_688 + 256 * 8 + 8),
        ("resnet50_scratch", 96, 8, 23_508_032 + 2048 * 8 + 8),
    ],
)
def test_parameters_are_those_of_the_report(name: str, size: int, num_classes: int, parameters: int) -> None:
    with torch.device("meta"):
        model = attach_head(load_backbone(name, pretrained=False, size=size), num_classes=num_classes)
    assert num_parameters(model) == parameters


def test_cifar_cnn_has_the_shapes_of_report_a4() -> None:
    with torch.device("meta"):
        module = load_backbone("cifar_cnn", size=300).module
    rows = [row for row in summarise(module, size=300) if row.kind in ("Conv2d", "MaxPool2d", "Linear")]
    assert [(row.shape, row.parameters) for row in rows] == [
        ((6, 296, 296), 456),
        ((6, 148, 148), 0),
        ((16, 144, 144), 2416),
        ((16, 72, 72), 0),
        ((120,), 9_953_400),
        ((84,), 10_164),
    ]


def test_filters_are_those_of_the_reports() -> None:
    def filters(name: str) -> list[int]:
        module = load_backbone(name, size=SIDES[name]).module
        return [part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d)]

    assert filters("four_block") == [16, 32, 64, 128]
    assert filters("six_conv") == [16, 32, 64, 128, 256, 256]
    assert len(filters("vanilla")) == 3
    assert len(filters("homemade")) == 8
    assert len(filters("homemade_skip")) == 12  # four of them are the projections


def test_vgg16_without_its_last_pool_sees_less_with_the_same_weights() -> None:
    fields, states = [], []
    for name in ("vgg16", "vgg16_no_last_pool"):
        with torch.device("meta"):
            module = load_backbone(name, pretrained=False).module
        states.append({key: value.shape for key, value in module.state_dict().items()})
        fields.append([row.receptive_field for row in summarise(module, size=224) if row.receptive_field][-1])
        maps = [row.shape for row in summarise(module, size=224) if len(row.shape) == 3 and row.shape[1] > 1]
        fields.append(maps[-1])
    assert fields == [212, (512, 7, 7), 196, (512, 14, 14)]
    assert states[0] == states[1]


def test_dropout_of_the_settings_reaches_a_nets_own_dropout() -> None:
    model = classifier("cifar_cnn", dropout=0.4)
    assert [part.p for part in model.backbone.modules() if isinstance(part, nn.Dropout)] == [0.4]
    assert model.dropout.p == 0.4


def test_picture_smaller_than_the_poolings_is_refused_with_the_least_side() -> None:
    with pytest.raises(BackboneError, match="six_conv needs pictures of at least 64 px, found 32"):
        load_backbone("six_conv", size=32)


def test_net_that_flattens_takes_no_other_pool() -> None:
    with pytest.raises(BackboneError, match="flattens its maps itself"):
        load_backbone("four_block", size=32, pool="max")


@pytest.mark.parametrize("name", ["mlp255", "homemade"])
def test_net_is_rebuilt_for_the_side_that_it_was_made_for(name: str) -> None:
    spec = ModelSpec(backbone=name)
    made = attach_head(open_backbone(spec, 32), num_classes=3, spec=spec)
    again = build_empty(spec, num_classes=3, size=32)
    again.load_state_dict(classifier_state(made), strict=True)
