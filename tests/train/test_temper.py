"""The factor between the two phases."""

from __future__ import annotations

import copy

import numpy as np
import torch

from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.models.build import ModelSpec, attach_head, open_backbone
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.feed import PixelFeed
from budwood.train.stage_input import StageInput
from budwood.train.stages import Stage, TrainSpec
from budwood.train.temper import tempered_scale

CALM = AugmentSpec(rotation=0, flip="none", scale=(1, 1), shift=0, brightness=0, contrast=0, saturation=0, cutmix=0)


def stage_input(labels: np.ndarray) -> StageInput:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (len(labels), 32, 32, 3), dtype=np.uint8)
    preprocess = Preprocess(size=32)
    part = PixelSet(
        pixels=pixels, targets=labels, paths=tuple(f"{i}.jpg" for i in range(len(labels))), rows=np.arange(len(labels))
    )
    return StageInput(
        train=PixelFeed(part=part, transform=Augment(CALM, preprocess, seed=0), preprocess=preprocess),
        val=None,
        augment=CALM,
        spec=TrainSpec(batch_size=8, label_smoothing=0),
        stage=Stage(trains="all", epochs=1),
        device=Device(),
        seed=0,
        balancing=Balancing(num_classes=2),
    )


def random_head(size: float) -> torch.nn.Module:
    spec = ModelSpec(backbone="test_efficientnet", pretrained=False, size=32, dropout=0, drop_path=0)
    model = attach_head(open_backbone(spec), num_classes=2, dropout=0)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.head.weight, std=size)
    return model


def test_a_head_that_knows_nothing_is_made_unsure() -> None:
    labels = np.random.default_rng(1).integers(0, 2, 64)
    assert tempered_scale(random_head(50.0), stage_input(labels)) == 0.02


def test_a_head_that_is_right_keeps_its_confidence() -> None:
    model = random_head(1.0)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([3.0, -3.0]))
    assert tempered_scale(model, stage_input(np.zeros(64, dtype=np.int64))) == 1.0


def test_the_model_is_not_changed() -> None:
    model = random_head(1.0)
    before = copy.deepcopy(model.state_dict())
    tempered_scale(model, stage_input(np.zeros(64, dtype=np.int64)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
