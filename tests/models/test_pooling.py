"""How the last maps become features."""

from __future__ import annotations

import pytest
import torch

from budwood.errors import BackboneError
from budwood.models.backbones import load_backbone
from budwood.models.blocks import blocks_of
from budwood.models.build import ModelSpec, attach_head, build_empty, choose_preprocess, classifier_state, open_backbone

CONVOLUTIONAL = ("lite0", "test_resnet", "test_convnext", "test_efficientnet", "vgg16", "googlenet")


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_poolings_look_at_the_same_maps(name: str) -> None:
    features = {}
    for pool in ("avg", "max", "flatten"):
        torch.manual_seed(0)
        backbone = load_backbone(name, pretrained=False, pool=pool, size=64)
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            features[pool] = backbone.module(images)
        assert features[pool].shape == (2, backbone.num_features)
        assert backbone.fixed_size == (64 if pool == "flatten" else None)
        assert len(blocks_of(backbone.module)) > 3
    assert features["avg"].shape == features["max"].shape
    assert not torch.equal(features["avg"], features["max"])
    if name in ("lite0", "test_resnet", "vgg16", "googlenet", "test_efficientnet"):  # no layer after the pooling
        maps = features["flatten"].view(2, features["avg"].shape[1], -1)
        torch.testing.assert_close(maps.mean(2), features["avg"], rtol=1e-4, atol=0)
        torch.testing.assert_close(maps.amax(2), features["max"])


def test_features_of_another_pooling_are_kept_under_other_words() -> None:
    sources = {pool: load_backbone("lite0", pool=pool, size=64).source for pool in ("avg", "max", "flatten")}
    assert len(set(sources.values())) == 3


@pytest.mark.parametrize("name", ["test_vit", "shufflenet_v2_x0_5"])
def test_network_without_a_pooling_layer_says_so(name: str) -> None:
    with pytest.raises(BackboneError, match=r'model\.pool can only be avg .* found "max"'):
        load_backbone(name, pretrained=False, pool="max")


def test_network_with_layers_after_its_pooling_cannot_flatten() -> None:
    with pytest.raises(BackboneError, match=r"mobilenet_v3_small cannot be built .* with this model\.pool"):
        load_backbone("mobilenet_v3_small", pretrained=False, pool="flatten", size=64)


def test_flattened_network_keeps_its_side_whatever_the_pictures() -> None:
    spec = ModelSpec(backbone="test_resnet", pretrained=False, pool="flatten", size=96)
    backbone = open_backbone(spec)
    native, fixed = backbone.preprocess, backbone.fixed_size
    assert (fixed, native.size) == (96, 96)
    assert choose_preprocess(spec, native, shorter_side=40, fixed_size=fixed).size == 96
    made = attach_head(backbone, num_classes=2, spec=spec)
    build_empty(spec, num_classes=2, size=96).load_state_dict(classifier_state(made), strict=True)


def test_transformer_is_built_for_the_asked_side() -> None:
    native = load_backbone("test_vit", pretrained=False)
    assert native.fixed_size == 160
    other = open_backbone(ModelSpec(backbone="test_vit", pretrained=False, size=96))
    assert (other.fixed_size, other.preprocess.size) == (96, 96)
    assert other.module(torch.zeros(1, 3, 96, 96)).shape == (1, native.num_features)


def test_other_networks_take_any_side() -> None:
    backbone = load_backbone("test_resnet", pretrained=False, size=64)
    assert (backbone.fixed_size, backbone.preprocess.size) == (None, 160)
