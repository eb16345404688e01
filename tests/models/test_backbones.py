"""Where weights come from: the right tensors, or an error that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from budwood.errors import BackboneError
from budwood.files import sha256_file
from budwood.models.backbones import check_name, load_backbone, packaged_file
from budwood.models.hub import PACKAGED

State = dict[str, Tensor]
_PARTS = {
    False: {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"},
    True: {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    },
}
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}


def renamed(state: State, stages: list[int]) -> State:
    """The published tensors under timm's names, matched by what they are called (``_blocks.7._bn0``)."""
    places = [f"blocks.{stage}.{block}" for stage, count in enumerate(stages) for block in range(count)]
    expands = {name.split(".")[1] for name in state if "_expand_conv" in name}
    out = {}
    for name, value in state.items():
        inner = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
        if inner:
            number, part, leaf = inner.groups()
            out[f"{places[int(number)]}.{_PARTS[number in expands][part]}.{leaf}"] = value
        elif not name.startswith("_fc"):
            part, leaf = name.split(".")
            out[f"{_OUTER[part]}.{leaf}"] = value
    return out


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_tensors_stand_where_their_names_say(name: str) -> None:
    backbone = load_backbone(name)
    published = torch.load(packaged_file(name), map_location="cpu", weights_only=True)
    expected = renamed(published, [len(stage) for stage in backbone.module.blocks])
    own = backbone.module.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[key], expected[key]) for key in own)
    assert backbone.num_features == 1280
    assert backbone.preprocess.size == PACKAGED[name].size
    assert backbone.preprocess.mean == (127 / 255,) * 3
    assert backbone.preprocess.std == (128 / 255,) * 3
    assert backbone.digest == sha256_file(packaged_file(name))
    assert "packaged ImageNet weights" in backbone.source
    assert not backbone.module.training


def test_packaged_features_are_those_of_the_published_network() -> None:
    published = torch.load(packaged_file("lite0"), map_location="cpu", weights_only=True)
    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = renamed(published, [len(stage) for stage in plain.blocks])
    plain.load_state_dict(
        {**state, "classifier.weight": published["_fc.weight"], "classifier.bias": published["_fc.bias"]}
    )
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain.forward_head(plain.forward_features(images), pre_logits=True)
        torch.testing.assert_close(load_backbone("lite0").module(images), expected)


@pytest.mark.parametrize("name", ["lite0", "test_vit", "mobilenet_v3_small", "resnet18"])
def test_random_weights_say_so(name: str) -> None:
    backbone = load_backbone(name, pretrained=False)
    assert backbone.source == "random weights"
    with torch.no_grad():
        size = backbone.preprocess.size
        assert backbone.module(torch.zeros(2, 3, size, size)).shape == (2, backbone.num_features)


def test_stochastic_depth_reaches_the_network_and_is_no_obstacle_where_unknown() -> None:
    module = load_backbone("test_resnet", pretrained=False, drop_path=0.3).module
    assert max(getattr(m, "drop_prob", 0) for m in module.modules()) == pytest.approx(0.3)
    load_backbone("ghostnet_050", pretrained=False, drop_path=0.3)


SOURCES: dict[str, Callable[[], nn.Module]] = {
    "lite0": lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
    "test_efficientnet": lambda: timm.create_model("test_efficientnet", pretrained=False),
    "resnet18": lambda: timm.create_model("resnet18", pretrained=False),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(weights=None),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", SOURCES)
def test_local_file_is_loaded_to_the_last_tensor(tmp_path: Path, name: str, suffix: str) -> None:
    state = SOURCES[name]().state_dict()
    file = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    backbone = load_backbone(name, weights=file)
    own = backbone.module.state_dict()
    assert {key.rpartition(".")[0] for key in state.keys() - own.keys()} <= {"classifier", "fc", "classifier.3"}
    assert all(torch.equal(own[key], state[key]) for key in own)
    assert backbone.source == f"local file mine{suffix}"
    assert backbone.digest == sha256_file(file)


def test_classifier_of_a_local_file_may_have_any_number_of_classes(tmp_path: Path) -> None:
    file = tmp_path / "eight.pth"
    torch.save(torchvision.models.mobilenet_v3_small(weights=None, num_classes=8).state_dict(), file)
    assert load_backbone("mobilenet_v3_small", weights=file).num_features == 1024
    torch.save(timm.create_model("test_resnet", num_classes=8).state_dict(), file)
    assert load_backbone("test_resnet", weights=file).num_features == 96


@pytest.mark.parametrize("content", ["junk", "other network", "half a network", "no tensors"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["lite0", "test_efficientnet", "mobilenet_v3_small"])
def test_wrong_file_is_an_error(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, suffix: str, content: str
) -> None:
    file = tmp_path / f"wrong{suffix}"
    state = timm.create_model("test_convnext", pretrained=False).state_dict()
    if content == "half a network":
        whole = SOURCES[name]().state_dict()
        state = {key: whole[key] for key in list(whole)[: len(whole) // 2]}
    elif content == "no tensors":
        state = {}
    if content == "junk":
        file.write_bytes(b"junk" * 100)
    elif suffix == ".pth":
        torch.save(state, file)
    else:
        save_file(state, file)
    with pytest.raises(BackboneError, match=r"wrong|test_efficientnet"):
        load_backbone(name, weights=file)


def test_weights_of_a_deeper_sister_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "lite2.safetensors"
    save_file(timm.create_model("tf_efficientnet_lite2", pretrained=False).state_dict(), file)
    with pytest.raises(BackboneError, match=r"lite2\.safetensors does not fit"):
        load_backbone("lite0", weights=file)


def test_weights_of_a_sister_that_holds_more_blocks_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "lite1.safetensors"
    save_file(timm.create_model("tf_efficientnet_lite1", pretrained=False).state_dict(), file)
    with pytest.raises(BackboneError):
        load_backbone("lite0", weights=file)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"none\.pth does not exist"):
        load_backbone("lite0", weights=tmp_path / "none.pth")


@pytest.mark.parametrize(("wrong", "near"), [("litt0", "lite0"), ("resnt50", "resnet50"), ("googlnet", "googlenet")])
@pytest.mark.parametrize("ask", [check_name, load_backbone])
def test_unknown_name_is_answered_with_near_ones(ask: Callable[[str], object], wrong: str, near: str) -> None:
    with pytest.raises(BackboneError, match=f'no backbone is called "{wrong}".*did you mean.*{near}'):
        ask(wrong)


@pytest.mark.parametrize("name", ["lite0", "resnet50", "resnet50.a1_in1k", "mobilenet_v3_small", "hf-hub:owner/name"])
def test_known_names_pass_the_check(name: str) -> None:
    check_name(name)


def test_network_without_a_linear_classifier_is_refused_in_words() -> None:
    with pytest.raises(BackboneError, match="ends in no linear layer"):
        load_backbone("squeezenet1_0", pretrained=False)


@pytest.mark.parametrize("name", ["resnet18", "hf-hub:timm/resnet18.a1_in1k"])
def test_offline_hub_is_an_error_that_names_the_way_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    with pytest.raises(BackboneError, match=rf"weights of {name} cannot be had.*lite0.*model\.weights"):
        load_backbone(name)


def test_unknown_tag_is_a_backbone_error() -> None:
    with pytest.raises(BackboneError, match="nosuch"):
        load_backbone("resnet18.nosuch")


def test_googlenet_of_torchvision_is_quiet() -> None:
    assert load_backbone("googlenet", pretrained=False).num_features == 1024
