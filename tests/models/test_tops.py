"""The layers between features and the last linear one."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from budwood.models.build import ModelSpec, attach_head, open_backbone
from budwood.models.tops import build_top

TINY = ModelSpec(backbone="test_efficientnet", pretrained=False)


def test_stack_is_built_in_the_order_of_its_words() -> None:
    stack, width = build_top(("batchnorm", "dense 64", "dropout 0.3", "dense 16"), num_features=100)
    kinds = [nn.BatchNorm1d, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU]
    assert [type(layer) for layer in stack] == kinds
    assert (stack[1].in_features, stack[1].out_features, stack[4].in_features, width) == (100, 64, 64, 16)
    assert stack[3].p == 0.3
    assert stack(torch.randn(4, 100)).shape == (4, 16)


def test_no_words_build_nothing() -> None:
    stack, width = build_top((), num_features=7)
    assert (len(stack), width) == (0, 7)


@pytest.mark.parametrize(
    "wrong", ["dens 256", "dense", "dense -3", "dropout 1.0", "dropout 30", "batch norm", "", "dense 0"]
)
def test_wrong_word_is_answered_with_the_right_ones(wrong: str) -> None:
    with pytest.raises(ValidationError, match=rf'top takes .*found "{wrong}"'):
        ModelSpec(top=("dense 8", wrong))


def test_classifier_with_a_top_learns_through_it() -> None:
    spec = TINY.model_copy(update={"top": ("dense 32", "batchnorm"), "dropout": 0.0})
    model = attach_head(open_backbone(spec), num_classes=3, spec=spec).train()
    assert model.head.weight.abs().sum() > 0  # zeros would let no gradient through to the top
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.top.parameters())
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"backbone", "top", "head"}


def test_forward_is_classify_of_features() -> None:
    spec = TINY.model_copy(update={"top": ("dense 32",)})
    model = attach_head(open_backbone(spec), num_classes=3, spec=spec).eval()
    images = torch.randn(2, 3, 32, 32)
    features = model.features(images)
    assert features.shape == (2, 256)
    assert torch.equal(model.classify(features), model(images))


def test_first_weights_depend_on_the_seed_only() -> None:
    spec = TINY.model_copy(update={"top": ("dense 32",)})
    backbone = open_backbone(spec)

    def weights(seed: int) -> torch.Tensor:
        torch.rand(1)  # whatever ran before
        return attach_head(backbone, num_classes=3, spec=spec, seed=seed).top[0].weight

    state = torch.get_rng_state()
    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))
    torch.set_rng_state(state)
    torch.rand(1)
    expected = torch.rand(3)
    torch.set_rng_state(state)
    weights(1)
    assert torch.equal(torch.rand(3), expected)  # the global generator is left as it is


def test_input_dropout_acts_on_single_numbers_of_the_picture_in_training_only() -> None:
    spec = ModelSpec(backbone="softmax", size=16, input_dropout=0.5)
    model = attach_head(open_backbone(spec), num_classes=3, spec=spec)
    images = torch.ones(1, 3, 16, 16)
    assert torch.equal(model.eval().features(images), images.flatten(1))
    seen = model.train().features(images)
    assert set(seen.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (seen == 0).float().mean() < 0.6
