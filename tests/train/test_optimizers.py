"""Optimisers take the steps that their papers say, groups keep what they bring, and rates fall with depth."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor

from budwood.errors import SettingsError
from budwood.train.optimizers import OPTIMIZERS, OptimizerName, depth_factors, make_optimizer

RATE = 0.01


def after(name: Any, gradients: list[float], *, start: float = 1.0, decay: float = 0.0, **settings: Any) -> float:
    """A weight that starts at ``start``, after one step for each of ``gradients``."""
    weight = torch.tensor([start], dtype=torch.float64)
    optimizer = make_optimizer(name, [{"params": [weight], "lr": RATE, "weight_decay": decay}], **settings)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return float(weight)


def test_every_name_is_in_the_registry() -> None:
    assert set(OPTIMIZERS) == set(get_args(OptimizerName))
    assert all(kind.words for kind in OPTIMIZERS.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_finds_the_lowest_point_of_a_bowl(name: OptimizerName) -> None:
    weight = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = make_optimizer(name, [{"params": [weight], "lr": RATE, "weight_decay": 0.0}])
    for _ in range(600):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert float(weight.detach().abs().max()) < 0.05


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_works_on_all_weights_of_a_group_at_once(name: OptimizerName) -> None:
    optimizer = make_optimizer(name, [{"params": [torch.zeros(1)], "lr": RATE}])
    assert all(group["foreach"] or group["fused"] for group in optimizer.param_groups)


def test_only_groups_whose_weights_all_lie_in_order_get_fused_steps() -> None:
    plain, moved = torch.zeros(4, 3, 2, 2), torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last)
    groups = make_optimizer("adamw", [{"params": [plain]}, {"params": [torch.zeros(2), moved]}]).param_groups
    assert [bool(group["fused"]) for group in groups] == [True, False]
    assert [group["foreach"] for group in groups] == [False, True]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_steps_are_the_others_but_for_rounding(name: OptimizerName) -> None:
    def trained(*, layout: torch.memory_format) -> Tensor:
        random = torch.Generator().manual_seed(0)
        weight = torch.randn(4, 3, 2, 2, generator=random).to(memory_format=layout)
        optimizer = make_optimizer(name, [{"params": [weight], "lr": RATE, "weight_decay": 0.1}])
        for _ in range(5):
            weight.grad = torch.randn(4, 3, 2, 2, generator=random).to(memory_format=layout)
            optimizer.step()
        return weight

    torch.testing.assert_close(
        trained(layout=torch.contiguous_format), trained(layout=torch.channels_last), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 3, 1, 1), (4, 1, 3, 3)])  # any, pointwise, depthwise
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_that_lies_otherwise_in_memory_gives_the_same_steps(name: OptimizerName, shape: tuple[int]) -> None:
    def trained(*, moved: bool) -> Tensor:
        random = torch.Generator().manual_seed(0)
        weight = torch.randn(shape, generator=random).to(memory_format=torch.channels_last)
        optimizer = make_optimizer(name, [{"params": [weight], "lr": RATE}])
        for _ in range(2):
            weight.grad = torch.randn(shape, generator=random).to(memory_format=torch.channels_last)
            optimizer.step()
            if moved:  # as a checkpoint gives it back
                state = optimizer.state[weight]
                state |= {key: value.contiguous() for key, value in state.items() if torch.is_tensor(value)}
        return weight

    assert torch.equal(trained(moved=True), trained(moved=False))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_keep_their_rate_and_decay_and_others_get_what_suits_the_optimizer(name: OptimizerName) -> None:
    own: dict[str, Any] = {"params": [torch.zeros(1)], "lr": 0.3, "weight_decay": 0.7, "part": "head"}
    optimizer = make_optimizer(name, [own, {"params": [torch.zeros(1)], "lr": 0.1}])
    first, second = optimizer.param_groups
    assert (first["lr"], first["weight_decay"], first["part"]) == (0.3, 0.7, "head")
    assert (second["lr"], second["weight_decay"]) == (0.1, OPTIMIZERS[name].weight_decay)


def test_an_unknown_optimizer_is_answered_with_the_names() -> None:
    unknown: Any = "lion"
    with pytest.raises(SettingsError, match='no optimizer "lion"; the optimizers are adamw, adam, sgd, rmsprop'):
        make_optimizer(unknown, [{"params": [torch.zeros(1)]}])


def test_sgd_takes_nesterovs_steps() -> None:
    velocity, weight = 0.0, 1.0
    for gradient in (1.0, 0.5):
        velocity = 0.9 * velocity + gradient
        weight -= RATE * (gradient + 0.9 * velocity)
    assert after("sgd", [1.0, 0.5]) == pytest.approx(weight)


def test_sgd_without_momentum_is_plain_descent() -> None:
    assert after("sgd", [1.0, 0.5], momentum=0.0) == pytest.approx(1 - RATE * 1.5)


def test_sgd_can_go_by_plain_momentum() -> None:
    assert after("sgd", [1.0, 0.5], nesterov=False) == pytest.approx(1 - RATE * (1 + 0.9 + 0.5))


def test_rmsprop_begins_with_no_giant_step() -> None:
    assert after("rmsprop", [5.0], momentum=0.0) == pytest.approx(1 - RATE / 0.1**0.5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_begins_with_a_step_of_the_rate_whatever_the_gradient(name: OptimizerName) -> None:
    assert [after(name, [gradient]) for gradient in (1e-3, 1e3)] == pytest.approx([1 - RATE] * 2, rel=1e-5)


def test_only_adamw_takes_decay_from_the_weights_themselves() -> None:
    assert after("adamw", [0.0], decay=0.5) == pytest.approx(1 - RATE * 0.5)
    assert after("adam", [0.0], decay=0.5) == pytest.approx(1 - RATE)  # a whole step, however small the decay


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_betas_reach_adam(name: OptimizerName) -> None:
    # Two opposite gradients: without a memory of the first, the second step goes all the way back.
    assert after(name, [1.0, -1.0], betas=(0.0, 0.999)) == pytest.approx(1.0)
    assert after(name, [1.0, -1.0]) < 1 - RATE / 2


def test_the_deepest_block_has_the_whole_rate_and_each_before_it_less() -> None:
    assert depth_factors(4, 0.5) == [0.125, 0.25, 0.5, 1.0]
    assert depth_factors(3, 1.0) == [1.0, 1.0, 1.0]
    assert depth_factors(0, 0.5) == []


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1])
def test_a_decay_that_is_no_share_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        depth_factors(3, decay)


def test_depth_factors_are_those_of_timm_with_the_head_as_one_block_more() -> None:
    model = timm.create_model("test_vit", pretrained=False, num_classes=3)
    scale = {id(p): g["lr_scale"] for g in param_groups_layer_decay(model, layer_decay=0.7) for p in g["params"]}
    stem, *blocks = model.patch_embed, *model.blocks

    def scale_of(parameter: Tensor) -> float:
        return float(scale[id(parameter)])

    theirs = [scale_of(next(iter(part.parameters()))) for part in (stem, *blocks, model.head)]
    assert theirs == pytest.approx(depth_factors(len(theirs), 0.7))
