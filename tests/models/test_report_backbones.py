"""Every pretrained backbone of the five reports can be had, with the preprocessing of its weights."""

from __future__ import annotations

import pytest
import torch

from budwood.models.backbones import load_backbone, outline_backbone
from budwood.models.blocks import blocks_of
from budwood.models.build import num_parameters

HALF = (0.5, 0.5, 0.5)
IMAGENET = (0.485, 0.456, 0.406)
# name: millions of parameters without classifier, native side, mean. The MobileNet of report A3 is Keras's first one.
BACKBONES = {
    "resnet50": (23.508, 224, IMAGENET),
    "resnetv2_50": (23.500, 224, HALF),
    "vgg16": (14.715, 224, IMAGENET),
    "vgg19": (20.024, 224, IMAGENET),
    "legacy_xception": (20.807, 299, HALF),
    "inception_v3": (21.786, 299, HALF),
    "mobilenetv2_100": (2.224, 224, IMAGENET),
    "mobilenetv1_100": (3.207, 224, HALF),
    "tf_efficientnet_b7": (63.787, 600, IMAGENET),
    "efficientnet_b2": (7.701, 256, IMAGENET),
    "tf_efficientnetv2_b0": (5.859, 192, IMAGENET),
    "tf_efficientnetv2_b3": (12.821, 240, HALF),
    "convnext_base": (87.566, 224, IMAGENET),
    "convnext_large": (196.230, 224, IMAGENET),
    "convnext_xlarge": (348.148, 224, IMAGENET),
    "googlenet": (5.600, 224, IMAGENET),
}


# Of each family the one that takes the least time to outline; the others with -m slow.
SOME = {"resnet50", "resnetv2_50", "vgg16", "legacy_xception", "inception_v3", "mobilenetv2_100"}
SOME |= {"tf_efficientnetv2_b0", "convnext_base", "googlenet"}


@pytest.mark.parametrize("name", [n if n in SOME else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES])
def test_backbone_of_a_report_is_built_with_its_own_preprocessing(name: str) -> None:
    backbone = outline_backbone(name)
    millions, side, mean = BACKBONES[name]
    assert num_parameters(backbone.module) / 1e6 == pytest.approx(millions, abs=6e-4)
    assert backbone.preprocess.size == side
    assert backbone.preprocess.mean == mean
    assert backbone.untrained
    assert len(blocks_of(backbone.module)) >= 5
    with torch.device("meta"):
        assert backbone.module(torch.zeros(2, 3, 96, 96)).shape == (2, backbone.num_features)


def test_outline_of_a_network_that_computes_its_own_shapes_is_built_for_real() -> None:
    assert outline_backbone("regnet_y_400mf").num_features == 440


@pytest.mark.parametrize("name", ["vgg16", pytest.param("vgg19", marks=pytest.mark.slow)])
def test_vgg_comes_without_its_dense_layers_as_in_keras(name: str) -> None:
    assert load_backbone(name, pretrained=False).num_features == 512
    assert outline_backbone(name).module.num_features == 512
