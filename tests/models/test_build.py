"""A classifier from a spec; the working size from the pictures."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from budwood.data.preprocess import Preprocess
from budwood.models.build import (
    ModelSpec,
    attach_head,
    build_empty,
    choose_preprocess,
    classifier_state,
    clone_state,
    num_parameters,
    open_backbone,
)

NATIVE = Preprocess(size=224, crop_fraction=0.875, mean=(0.5, 0.4, 0.3), interpolation="bilinear")
TINY = ModelSpec(backbone="test_efficientnet", pretrained=False)


def test_new_head_finds_all_classes_equally_likely() -> None:
    model = attach_head(open_backbone(TINY), num_classes=4, dropout=0.5).eval()
    probs = model(torch.randn(3, 3, 32, 32)).softmax(1)
    torch.testing.assert_close(probs, torch.full((3, 4), 0.25))


def test_dropout_acts_in_training_only() -> None:
    model = attach_head(open_backbone(TINY), num_classes=4, dropout=0.5).eval()
    torch.nn.init.normal_(model.head.weight)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(images), model(images))
    model.dropout.train()
    assert not torch.equal(model(images), model(images))


def test_empty_network_has_the_tensors_of_the_spec() -> None:
    spec = ModelSpec(backbone="lite0", weights="/nowhere/weights.pth")
    model = build_empty(spec, num_classes=3)
    again = build_empty(spec, num_classes=3)
    assert model.state_dict().keys() == again.state_dict().keys()
    assert model.head.weight.shape == (3, 1280)


def test_state_is_a_float32_copy() -> None:
    model = attach_head(open_backbone(TINY), num_classes=2, dropout=0).to(memory_format=torch.channels_last)
    for copied in (classifier_state(model), clone_state(model)):
        before = copied["head.bias"].clone()
        with torch.no_grad():
            model.head.bias += 1
        assert torch.equal(copied["head.bias"], before)
    half = classifier_state(model.to(torch.bfloat16))
    assert {value.dtype for value in half.values()} == {torch.float32, torch.int64}
    assert all(value.is_contiguous() for value in half.values())


def test_parameters_are_counted_without_buffers() -> None:
    assert num_parameters(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))) == 24


@pytest.mark.parametrize(
    ("shorter_side", "growth", "size"),
    [(1000, 1.5, 224), (96, 1.0, 96), (96, 1.5, 144), (10, 2.0, 64), (150, 2.0, 224)],
)
def test_size_follows_the_pictures_up_to_the_native_one(shorter_side: int, growth: float, size: int) -> None:
    chosen = choose_preprocess(ModelSpec(growth=growth), NATIVE, shorter_side=shorter_side)
    assert chosen.size == pytest.approx(size, abs=16)
    assert chosen.size % 32 == 0
    assert chosen.size <= NATIVE.size
    assert (chosen.mean, chosen.interpolation) == (NATIVE.mean, NATIVE.interpolation)
    assert chosen.crop_fraction == 1.0


def test_fixed_size_and_crop_are_taken_as_given() -> None:
    chosen = choose_preprocess(ModelSpec(size=400, crop_fraction=0.9), NATIVE, shorter_side=50)
    assert (chosen.size, chosen.crop_fraction) == (400, 0.9)
    assert chosen.store_side >= 400


@pytest.mark.parametrize(
    "values", [{"size": 8}, {"size": 2000}, {"dropout": 1.0}, {"crop_fraction": 0.1}, {"growth": 0.5}, {"name": "x"}]
)
def test_wrong_spec_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(values)


def test_spec_and_tensors_of_an_earlier_bundle_still_fit() -> None:
    earlier = {
        "backbone": "test_efficientnet",
        "pretrained": True,
        "weights": "",
        "size": None,
        "growth": 1.667,
        "crop_fraction": None,
        "dropout": 0.2,
        "drop_path": 0.1,
    }
    model = build_empty(ModelSpec.model_validate(earlier), num_classes=3, size=64)
    assert {name.split(".")[0] for name in model.state_dict()} == {"backbone", "head"}
    assert model.dropout.p == 0.2


def test_network_that_takes_one_side_gets_it_whatever_the_pictures() -> None:
    chosen = choose_preprocess(ModelSpec(), NATIVE, shorter_side=50, fixed_size=224)
    assert chosen.size == 224
