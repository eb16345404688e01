"""What a stage trains, at which rate, in which mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from budwood.models.blocks import blocks_of
from budwood.models.build import Classifier, ModelSpec, attach_head, open_backbone
from budwood.train.freezing import freeze, parameter_groups, train_mode
from budwood.train.stages import Stage, TrainSpec

Tiny = Callable[..., Classifier]
NAMES = ("test_efficientnet", "test_resnet", "test_convnext", "test_vit")


@pytest.mark.parametrize("name", NAMES)
def test_exactly_the_last_blocks_and_the_head_get_gradients(tiny: Tiny, name: str) -> None:
    model = tiny(name)
    blocks = blocks_of(model.backbone)
    for count in range(1, len(blocks) + 2):
        freeze(model, Stage(trains=count))
        trained = {n for n, p in model.backbone.named_parameters() if p.requires_grad}
        assert trained == {n for block in blocks[max(0, len(blocks) - count) :] for n in block.parameters}
        assert all(p.requires_grad for p in model.head.parameters())


def test_all_trains_all_and_head_trains_the_head_whatever_was_frozen_before(tiny: Tiny) -> None:
    model = tiny()
    freeze(model, Stage(trains="head"))
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    freeze(model, Stage(trains="all"))
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_batch_norm_is_in_training_mode_exactly_where_its_weights_train(tiny: Tiny, name: str) -> None:
    model = tiny(name).eval()
    freeze(model, Stage(trains=2))
    train_mode(model)
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    modes = [m.training for m in norms]
    assert modes == [m.weight.requires_grad for m in norms]
    assert {True, False} == set(modes)
    assert model.head.training
    assert model.dropout.training


def test_whole_network_is_in_training_mode_when_all_of_it_trains(tiny: Tiny) -> None:
    model = tiny().eval()
    freeze(model, Stage(trains="all"))
    train_mode(model)
    assert all(module.training for module in model.modules())


def test_dropout_of_a_frozen_block_is_off(tiny: Tiny) -> None:
    model = tiny("test_vit", drop_path=0.5)
    freeze(model, Stage(trains=1))
    train_mode(model)
    drops = {n: m.training for n, m in model.backbone.named_modules() if n.startswith("blocks.") and "drop" in n}
    assert drops
    assert {n for n, on in drops.items() if on} == {n for n in drops if n.startswith("blocks.5.")}


def test_dropout_without_a_block_of_its_own_is_off_before_the_first_trained_layer() -> None:
    spec = ModelSpec(backbone="cifar_cnn", size=32, dropout=0.5)
    model = attach_head(open_backbone(spec), num_classes=3, spec=spec)
    drops = [m for m in model.backbone.modules() if isinstance(m, nn.Dropout)]
    assert drops
    freeze(model, Stage(trains="head"))
    train_mode(model)
    assert not any(m.training for m in drops)
    freeze(model, Stage(trains="all"))
    train_mode(model)
    assert all(m.training for m in drops)


@pytest.mark.parametrize(
    ("stage", "rates"),
    [
        pytest.param(Stage(trains="all"), (0.1, 0.1), id="the run's"),
        pytest.param(Stage(trains="all", lr=0.5), (0.5, 0.5), id="the stage's"),
        pytest.param(Stage(trains="all", head_lr=0.7), (0.1, 0.7), id="but a rate of its own counts"),
        pytest.param(Stage(lr=0.5), (0.5, 0.5), id="of a head alone"),
    ],
)
def test_the_head_can_have_whatever_rate_the_backbone_has(stage: Stage, rates: tuple[float, float]) -> None:
    settings = TrainSpec(lr=0.1, head_lr="lr").settings(stage)
    assert (settings.lr, settings.head_lr) == rates


@pytest.mark.parametrize("stage", [Stage(trains="all"), Stage(trains=1), Stage(trains=2, lr=0.5, head_lr=0.7)], ids=str)
def test_each_trained_parameter_is_in_one_group_at_its_rate(tiny: Tiny, stage: Stage) -> None:
    model, spec = tiny(), TrainSpec(lr=0.1, head_lr=0.2, weight_decay=0.03)
    freeze(model, stage)
    groups = parameter_groups(model, spec, spec.settings(stage))
    placed = [id(p) for group in groups for p in group["params"]]  # type: ignore[attr-defined]
    assert sorted(placed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    head = {id(p) for p in model.head.parameters()}
    for group in groups:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            expected = (stage.head_lr or 0.2) if id(parameter) in head else (stage.lr or 0.1)
            assert group["lr"] == group["base_lr"] == expected
            assert group["weight_decay"] == (0.0 if parameter.ndim < 2 else 0.03)


def test_groups_are_what_adamw_takes(tiny: Tiny) -> None:
    model = tiny()
    stage = Stage(trains="all")
    freeze(model, stage)
    optimizer = torch.optim.AdamW(parameter_groups(model, TrainSpec(), TrainSpec().settings(stage)))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    "values",
    [
        {"trains": 0},
        {"trains": -1},
        {"epochs": 0},
        {"lr": 0.0},
        {"head_lr": -1.0},
        {"rate": 1.0},
        {"frozen": "half"},
        {"frozen": "9/3"},
        {"frozen": "1/3", "trains": 2},
        {"trains": "all", "solve": True},
        {"optimizer": "newton"},
        {"batch_size": 1},
    ],
    ids=str,
)
def test_wrong_stage_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Stage.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"stages": []},
        {"stages": [{"trains": "all"}, {"trains": "head", "solve": True}]},
        {"batch_size": 1},
        {"label_smoothing": 1.0},
        {"ema": 1.0},
        {"patience": 0},
        {"views": 9},
        {"schedule": "zigzag"},
    ],
    ids=str,
)
def test_wrong_plan_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainSpec.model_validate(values)


def test_epochs_of_the_head_stage_do_not_count() -> None:
    spec = TrainSpec(stages=(Stage(), Stage(trains=2, epochs=3), Stage(trains="all", epochs=5)))
    assert spec.num_epochs == 8
    assert [stage.title for stage in spec.stages] == [
        "head on frozen features",
        "fine-tuning of the last 2 blocks",
        "fine-tuning of the whole network",
    ]
