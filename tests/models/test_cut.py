"""A cut network answers as the whole one, trains as the whole one, and is refused where it would not."""

from __future__ import annotations

import copy
import warnings

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from budwood.models.cut import TOLERANCE, CutError, Segment, check_cut, checked_cut, cut


class Headed(nn.Module):
    """A backbone with dropout and a head of zeros, as a classifier begins."""

    def __init__(self, backbone: nn.Module, num_features: int) -> None:
        super().__init__()
        self.backbone, self.top, self.dropout = backbone, nn.Sequential(), nn.Dropout(0.2)
        self.head = nn.Linear(num_features, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.dropout(self.top(self.backbone(images))))
        return out


def small_vit() -> tuple[nn.Module, int]:
    module = torchvision.models.VisionTransformer(64, 16, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=64)
    module.heads = nn.Identity()
    return module, 32


def small_swin() -> tuple[nn.Module, int]:
    module = torchvision.models.SwinTransformer([4, 4], 16, [2, 2, 2], [1, 2, 4], window_size=[4, 4])
    module.head = nn.Identity()
    return module, 64


SMALL = {"small vit": small_vit, "small swin": small_swin}


def build(name: str) -> Headed:
    torch.manual_seed(0)
    if not name.startswith("torchvision "):
        backbone = timm.create_model(name, num_classes=0)
        return Headed(backbone, getattr(backbone, "head_hidden_size", backbone.num_features)).eval()
    name = name.removeprefix("torchvision ")
    if name in SMALL:
        backbone, num_features = SMALL[name]()
        return Headed(backbone, num_features).eval()
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone = torchvision.models.get_model(name, weights=None, **options)
    if options:
        backbone.aux_logits, backbone.AuxLogits, backbone.aux1, backbone.aux2 = False, None, None, None
    return Headed(backbone, 1000).eval()


BORDERS = {
    "tf_efficientnet_lite0": (32, ("blocks.0", "blocks.4", "blocks.4.1", "conv_head")),
    "resnet18": (32, ("layer1", "layer3")),
    "convnext_atto": (32, ("stages.2",)),
    "test_vit": (160, ("blocks.3", "norm")),
    "densenet121": (32, ("features.denseblock2", "features.transition2", "features.norm5")),
    "torchvision googlenet": (64, ("inception4a",)),
    "torchvision resnet18": (32, ("layer2", "layer3.1")),
    "torchvision small swin": (64, ("features.4",)),
    "torchvision small vit": (64, ("encoder.layers.encoder_layer_2",)),
}
SLOW = {
    "resnet50": (32, ("layer3", "layer4.1")),
    "mobilenetv2_100": (32, ("blocks.3",)),
    "legacy_xception": (64, ("block4",)),
    "inception_v3": (96, ("Mixed_6a",)),
    "deit_tiny_patch16_224": (224, ("blocks.8",)),
    "torchvision swin_t": (64, ("features.4",)),
    "torchvision vit_b_32": (224, ("encoder.layers.encoder_layer_10",)),
    "swin_tiny_patch4_window7_224": (224, ("layers.2", "layers.1")),
    "convnext_pico": (64, ("stages.3",)),
    "vgg11_bn": (32, ("features.8",)),
    "vgg16": (32, ("features.10",)),
    "vit_tiny_patch16_224": (224, ("blocks.8",)),
    "torchvision mobilenet_v3_small": (64, ("features.5",)),
    "torchvision densenet121": (64, ("features.denseblock3",)),
    "coatnet_0_224": (224, ("stages.2",)),
    "efficientformerv2_s0": (224, ("stages.2",)),
    "nfnet_f0": (64, ("stages.2",)),
    "mobilevit_s": (64, ("stages.3",)),
    "cait_xxs24_224": (224, ("blocks.6",)),
    "xcit_nano_12_p16_224": (224, ("blocks.6",)),
}
CASES = [pytest.param(name, *case, id=name) for name, case in BORDERS.items()]
CASES += [pytest.param(name, *case, id=name, marks=pytest.mark.slow) for name, case in SLOW.items()]


@pytest.mark.parametrize(("name", "side", "borders"), CASES)
def test_prefix_and_tail_together_answer_as_the_network(name: str, side: int, borders: tuple[str, ...]) -> None:
    model, images = build(name), torch.randn(2, 3, side, side)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
        expected = model(images)
    for border in (*(f"backbone.{border}" for border in borders), "top"):
        parts = cut(model, border, images[:1])
        activation = parts.prefix(images)
        assert activation.shape == (2, *parts.shape)
        with torch.no_grad():
            torch.testing.assert_close(parts.tail(activation), expected, rtol=0, atol=1e-5)
            assert not torch.allclose(parts.tail(activation.flip(0) + 1), expected)  # the activation counts
        assert check_cut(parts, model, images) <= TOLERANCE
        names = {name for name, _ in model.named_parameters()}
        assert parts.tail.used | parts.start.used == names
        assert parts.tail.used.isdisjoint(parts.frozen)


@pytest.fixture
def resnet() -> Headed:
    model = build("test_resnet")
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model


BORDER = "backbone.layer3"
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def freeze(model: Headed) -> None:
    """Train the layers from the border on, the rest in eval."""
    model.train()
    for name, part in model.backbone.named_children():
        if name in ("conv1", "bn1", "layer1", "layer2"):
            part.requires_grad_(False).eval()


def train(model: Headed, forward: nn.Module, inputs: Tensor) -> list[float]:
    """Three steps; the losses."""
    optimizer = torch.optim.SGD([p for p in forward.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for step in range(3):
        torch.manual_seed(step)  # dropout
        loss = nn.functional.cross_entropy(forward(inputs), torch.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_tail_trains_to_the_weights_that_the_whole_network_trains_to(resnet: Headed) -> None:
    other = copy.deepcopy(resnet)
    freeze(resnet)
    freeze(other)
    parts = checked_cut(other, BORDER, IMAGES)
    kept = parts.prefix(IMAGES)
    assert train(resnet, resnet, IMAGES) == train(other, parts.tail, kept)
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in resnet.state_dict().items())
    assert torch.equal(parts.prefix(IMAGES), kept)  # what lies before the border has not moved


def test_parameters_of_the_tail_are_those_from_the_border_on(resnet: Headed) -> None:
    parts = cut(resnet, BORDER, IMAGES)
    names = {name.removeprefix("model.") for name, _ in parts.tail.named_parameters()}
    assert {name.split(".")[1] for name in names if name.startswith("backbone")} == {"layer3", "layer4"}
    assert {"head.weight", "head.bias"} < names
    own = {id(parameter) for parameter in resnet.parameters()}
    assert all(id(parameter) in own for parameter in parts.tail.parameters())
    assert len(list(parts.tail.parameters())) == len(names)


def test_parameters_around_the_border_belong_to_the_side_that_uses_them() -> None:
    parts = cut(build("test_vit"), "backbone.blocks.3", torch.zeros(1, 3, 160, 160))
    assert {"backbone.pos_embed", "backbone.cls_token"} <= parts.start.used & {*parts.frozen}
    assert "backbone.pos_embed" not in parts.tail.used


def test_nothing_stays_on_the_network(resnet: Headed) -> None:
    resnet.train()
    resnet.backbone.layer1.eval()
    modes = [module.training for module in resnet.modules()]
    before = {name: value.clone() for name, value in resnet.state_dict().items()}
    parts = checked_cut(resnet, BORDER, IMAGES)
    kept = parts.prefix(IMAGES)
    wrong = ""
    try:
        parts.tail(kept[:, :, :2])
    except CutError as error:
        wrong = str(error)
    assert "cut it again" in wrong
    assert [module.training for module in resnet.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in resnet.modules())
    assert all(torch.equal(before[name], value) for name, value in resnet.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in resnet.parameters())


def test_copy_of_a_cut_has_weights_of_its_own(resnet: Headed) -> None:
    parts = cut(resnet, BORDER, IMAGES)
    other = copy.deepcopy(parts)
    nn.init.zeros_(resnet.head.weight)
    nn.init.zeros_(resnet.head.bias)
    kept = parts.prefix(IMAGES)
    with torch.no_grad():
        assert not parts.tail(kept).any()
        assert other.tail(kept).any()
    assert not {id(p) for p in parts.tail.parameters()} & {id(p) for p in other.tail.parameters()}


def test_cut_serves_another_copy_of_the_network(resnet: Headed) -> None:
    averaged = copy.deepcopy(resnet)
    nn.init.constant_(averaged.head.bias, 5.0)
    parts = cut(resnet, BORDER, IMAGES)
    with torch.no_grad():
        assert torch.equal(parts.on(averaged).tail(parts.prefix(IMAGES)), averaged(IMAGES))


def test_mode_of_the_tail_is_that_of_the_layers(resnet: Headed) -> None:
    parts = cut(resnet, BORDER, IMAGES)
    parts.tail.train()
    assert resnet.dropout.training
    parts.tail.eval()
    assert not resnet.dropout.training


def test_way_between_two_borders_leads_from_one_to_the_other(resnet: Headed) -> None:
    first, second = cut(resnet, "backbone.layer2", IMAGES), cut(resnet, "backbone.layer4", IMAGES)
    between = first.to(second)
    assert isinstance(between, Segment)
    with torch.no_grad():
        assert torch.equal(between(first.prefix(IMAGES)), second.prefix(IMAGES))


def test_way_back_between_two_borders_is_refused(resnet: Headed) -> None:
    first, second = cut(resnet, "backbone.layer2", IMAGES), cut(resnet, "backbone.layer4", IMAGES)
    with pytest.raises(CutError, match=r"backbone\.layer2 lies before backbone\.layer4"):
        second.to(first)(second.prefix(IMAGES))


class KeptInEval(nn.Module):
    """A layer that keeps what it makes of its parameter while in eval mode, as LeViT's attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.kept = nn.Parameter(torch.ones(3)), None

    def train(self, mode: bool = True) -> nn.Module:
        self.kept = None if mode else self.kept
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training and self.kept is None:
            self.kept = 2 * self.bias
        return inputs + (2 * self.bias if self.training else self.kept)


def test_parameter_hidden_in_eval_mode_is_trained_all_the_same() -> None:
    model = Headed(nn.Sequential(nn.Flatten(), nn.Linear(12, 3), KeptInEval()), 3)
    parts = cut(model, "backbone.1", torch.zeros(1, 3, 2, 2))
    assert "backbone.2.bias" in parts.tail.used
    assert model.backbone[2].kept is None


class Wired(nn.Module):
    """Three layers; the subclasses join them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))


class PastTheBorder(Wired):
    """The first layer's output also passes the border."""

    def forward(self, images: Tensor) -> Tensor:
        out = self.first(images)
        return (self.third(self.second(out)) + out).mean((2, 3))


class WeakPastTheBorder(PastTheBorder):
    """So little of it that a new network hides it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3, 1, 1), 1e-7))

    def forward(self, images: Tensor) -> Tensor:
        out = self.first(images)
        return (self.third(self.second(out)) + self.scale * out).mean((2, 3))


class ImagesPastTheBorder(Wired):
    """The picture itself is used once more at the end."""

    def forward(self, images: Tensor) -> Tensor:
        return (self.third(self.second(self.first(images))) + images).mean((2, 3))


class Twice(Wired):
    """The border is used twice."""

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.second(self.first(images))).mean((2, 3))


class Never(Wired):
    """The border is not used."""

    def forward(self, images: Tensor) -> Tensor:
        return self.third(self.first(images)).mean((2, 3))


class SharedWeights(Wired):
    """One layer before and after the border."""

    def forward(self, images: Tensor) -> Tensor:
        return self.first(self.second(self.first(images))).mean((2, 3))


class PicturesMixed(Wired):
    """Pictures are folded into the rows of others before the border."""

    def forward(self, images: Tensor) -> Tensor:
        out = self.first(images)
        out = self.second(out.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1))
        return self.third(out).mean((2, 3)).view(len(images), -1)


class DropoutBefore(Wired):
    """Dropout on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.third(self.second(self.first(self.input_dropout(images)))).mean((2, 3))


class TwoTensors(Wired):
    """The border takes two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Bilinear(8, 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        out = self.first(images)
        return self.second(out, images).mean((2, 3))


REFUSED: dict[type[Wired], str] = {
    PastTheBorder: "answers differently",
    WeakPastTheBorder: "answers differently",
    ImagesPastTheBorder: "answers differently",
    Twice: "used 2 times",
    Never: "never called",
    SharedWeights: r"first\.(weight|bias) is used before and after",
    PicturesMixed: "not one row of numbers a picture",
    DropoutBefore: "draws anew",
    TwoTensors: "takes 2 tensors",
}


@pytest.mark.parametrize("network", REFUSED, ids=[network.__name__ for network in REFUSED])
def test_network_that_cannot_be_cut_is_refused_with_the_reason(network: type[Wired]) -> None:
    torch.manual_seed(0)
    with pytest.raises(CutError, match=REFUSED[network]):
        checked_cut(network(), "second", torch.zeros(1, 3, 8, 8))


def test_unknown_border_is_refused(resnet: Headed) -> None:
    with pytest.raises(CutError, match=r'"backbone\.block9" is no part of the network'):
        cut(resnet, "backbone.block9", IMAGES)


def test_head_of_zeros_does_not_hide_a_wrong_cut() -> None:
    torch.manual_seed(0)
    model = Headed(PastTheBorder(), 3)
    nn.init.zeros_(model.head.bias)
    with pytest.raises(CutError, match="answers differently"):
        checked_cut(model, "backbone.second", torch.zeros(1, 3, 8, 8))


class OncePerStage(Wired):
    """One activation module before and after the border, as torchvision's networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.first(self.relu(images + 0)))
        return self.relu(self.third(self.relu(self.second(out)))).mean((2, 3))


def test_activation_module_used_on_both_sides_works_after_the_border() -> None:
    torch.manual_seed(0)
    model, images = OncePerStage(), torch.randn(2, 3, 8, 8)
    parts = checked_cut(model, "second", images)
    with torch.no_grad():
        assert torch.equal(parts.tail(parts.prefix(images)), model(images))
