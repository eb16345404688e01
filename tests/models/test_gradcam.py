"""Grad-CAM: the same as others compute, where a planted subject is, on any layout, and without a trace in the model."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from budwood.errors import UsageError
from budwood.models.build import Classifier, ModelSpec, build_empty
from budwood.models.gradcam import GradCam, enlarged, gradcam, overlay, spatial_layer


def built(name: str, size: int) -> Classifier:
    """A network of random weights whose new head says something."""
    torch.manual_seed(0)
    model = build_empty(ModelSpec(backbone=name, pretrained=False, size=size), num_classes=3, size=size)
    nn.init.normal_(model.head.weight)
    return model.eval()


def images(number: int, size: int) -> Tensor:
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(1))


def headed(backbone: nn.Module, width: int) -> Classifier:
    return Classifier(backbone, num_features=width, num_classes=2, dropout=0.0).eval()


class Colours(nn.Module):
    """One map for each colour channel, averaged over places: class 0 is as likely as the picture is red."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 4, stride=4, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            for channel in range(3):
                self.conv.weight[channel, channel] = 1 / 16
        self.act = nn.ReLU()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.act(self.conv(pictures)).mean((2, 3))


def red_or_blue() -> Classifier:
    model = headed(Colours(), 3)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]))
    return model


@pytest.fixture(scope="module")
def swin() -> Classifier:
    """A small transformer whose maps have the channels last."""
    from timm.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    body = SwinTransformer(
        img_size=32, patch_size=4, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), num_classes=0
    )
    return headed(body, 32)


def test_the_map_is_where_the_class_is() -> None:
    pictures = torch.zeros(1, 3, 32, 32)
    pictures[0, 0, 4:12, 20:28] = 1.0  # red
    pictures[0, 2, 20:28, 4:12] = 1.0  # blue
    red, blue = (gradcam(red_or_blue(), pictures, classes=[k])[0] for k in (0, 1))
    assert np.unravel_index(red.argmax(), red.shape)[0] < 16 <= np.unravel_index(red.argmax(), red.shape)[1]
    assert np.unravel_index(blue.argmax(), blue.shape)[0] >= 16 > np.unravel_index(blue.argmax(), blue.shape)[1]
    assert red[20:28, 4:12].max() == 0
    assert red.max() == blue.max() == 1


def test_without_classes_it_is_the_answer_that_is_explained() -> None:
    pictures = torch.zeros(1, 3, 32, 32)
    pictures[0, 2] = 1.0
    assert np.array_equal(gradcam(red_or_blue(), pictures), gradcam(red_or_blue(), pictures, classes=[1]))
    assert gradcam(red_or_blue(), pictures, classes=[0]).max() == 0, "nothing speaks for red"


@pytest.mark.parametrize(
    ("name", "size", "layout", "side", "prefixes"),
    [
        ("test_efficientnet", 64, "NCHW", 2, 0),
        ("test_resnet", 64, "NCHW", 2, 0),
        ("test_convnext", 64, "NCHW", 2, 0),
        ("test_vit", 160, "tokens", 10, 1),
    ],
)
def test_the_last_layer_with_places_is_found(name: str, size: int, layout: str, side: int, prefixes: int) -> None:
    found = spatial_layer(built(name, size), size=size)
    assert (found.layout, found.side, found.prefixes) == (layout, side, prefixes)


def test_behind_the_last_attention_only_the_class_token_counts_so_the_norm_before_it_is_taken() -> None:
    assert spatial_layer(built("test_vit", 160), size=160).name == "backbone.blocks.5.norm1"


def test_channels_may_come_last(swin: Classifier) -> None:
    explainer = GradCam(swin, size=32)
    assert (explainer.layer.layout, explainer.layer.side) == ("NHWC", 4)
    assert explainer(images(2, 32), classes=[0, 1]).shape == (2, 32, 32)


@pytest.mark.parametrize(("name", "size"), [("test_efficientnet", 64), ("test_resnet", 64), ("test_vit", 160)])
def test_equal_to_captum(name: str, size: int) -> None:
    captum = pytest.importorskip("captum.attr")
    model, pictures = built(name, size), images(3, size)
    explainer = GradCam(model, size=size)
    mine = explainer.logits_and_maps(pictures, classes=[0, 1, 2])[1]
    layer = model.get_submodule(explainer.layer.name)
    if explainer.layer.layout == "tokens":
        other = captum.LayerGradientXActivation(model, layer)
        found = other.attribute(pictures, target=[0, 1, 2])
        activation = captum.LayerActivation(model, layer).attribute(pictures)
        gradient = torch.where(activation != 0, found / activation, torch.zeros(()))
        weights = explainer.layer.maps(gradient).mean((2, 3), keepdim=True)
        expected = (weights * explainer.layer.maps(activation)).sum(1).clamp_min(0)
    else:
        expected = captum.LayerGradCam(model, layer).attribute(pictures, target=[0, 1, 2], relu_attributions=True)[:, 0]
    expected = expected.detach()
    assert expected.max() > 0
    assert torch.allclose(mine, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


def test_the_model_is_left_as_it_was() -> None:
    model = built("test_resnet", 64).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradcam(model, images(2, 64))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_hooks and module.training for module in model.modules())


def test_it_can_be_asked_in_inference_mode_and_leaves_gradients_as_they_were() -> None:
    model, pictures = built("test_resnet", 64), images(1, 64)
    expected = gradcam(model, pictures, classes=[1])
    with torch.inference_mode():
        assert np.array_equal(gradcam(model, pictures.clone(), classes=[1]), expected)
    with torch.no_grad():
        gradcam(model, pictures)
        assert not torch.is_grad_enabled()


def test_threads_that_ask_at_once_get_their_own_maps() -> None:
    explainer = GradCam(built("test_efficientnet", 64), size=64)
    batches = [images(i + 1, 64)[-1:] for i in range(8)]
    expected = [explainer(batch, classes=[i % 3]) for i, batch in enumerate(batches)]
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        for _ in range(3):
            found[number] = explainer(batches[number], classes=[number % 3])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], expected[i]) for i in range(8))


def test_what_lies_before_the_layer_leaves_no_graph() -> None:
    model = built("test_resnet", 64)
    explainer = GradCam(model, size=64)
    grown: list[bool] = []
    explainer._model.get_submodule("backbone.conv1").register_forward_hook(
        lambda module, args, output: grown.append(output.requires_grad)
    )
    explainer(images(1, 64))
    assert grown == [False]


def test_a_network_without_places_says_so() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with pytest.raises(UsageError, match="dense layers alone have none"):
        gradcam(headed(flat, 4), images(1, 32))


def test_a_map_of_nothing_stays_nothing() -> None:
    assert enlarged(torch.zeros(1, 2, 2), size=8).max() == 0


def test_the_overlay_keeps_what_spoke_and_greys_the_rest() -> None:
    picture = np.full((16, 16, 3), (200, 40, 40), np.uint8)
    heat = np.zeros((16, 16), np.float32)
    heat[4:12, 4:12] = 1.0
    shown = overlay(picture, heat)
    assert (shown[7, 7] == picture[7, 7]).all()
    assert shown[0, 0].std() == 0
    assert shown[0, 0, 0] < 60
    with pytest.raises(ValueError, match="enlarge"):
        overlay(picture, heat[:8])
