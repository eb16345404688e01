"""Small networks to be trained from scratch, as five student reports describe them, each without its last linear layer.

That layer is `build.Classifier`'s head. Where a report leaves a number open, the docstring says what was taken. All
layers before a ReLU start as He et al. (2015, arXiv:1502.01852) advise. ``dropout`` is ``model.dropout``; that before
the last layer is in `build.Classifier`. ResNet-50 and VGG16 are timm's, see `from_timm`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from budwood.errors import BackboneError
from budwood.models.nets import SCRATCH
from budwood.models.tops import dense, he_start

Layers = OrderedDict[str, nn.Module]


class Net(nn.Sequential):
    """A chain of named layers for pictures of one side: ``[B, 3, input_side, input_side]`` -> ``[B, D]``."""

    def __init__(self, layers: Layers, *, input_side: int) -> None:
        super().__init__(layers)
        self.input_side = input_side


class ZeroInput(nn.Module):
    """Black pictures in the place of any: what a network can do that learns nothing from pixels."""

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, S, S]`` -> zeros of the same shape."""
        return torch.zeros_like(images)


class SkipBlock(nn.Module):
    """``pool(relu(convolutions(x) + project(x)))``; the projection is a 1x1 convolution with BatchNorm."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv_1, self.norm_1 = conv(inputs, filters, bias=False), nn.BatchNorm2d(filters)
        self.conv_2, self.norm_2 = conv(filters, filters, bias=False), nn.BatchNorm2d(filters)
        self.project = nn.Sequential(nn.Conv2d(inputs, filters, 1, bias=False), nn.BatchNorm2d(filters))
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, inputs, H, W]`` -> ``[B, filters, H // 2, W // 2]``."""
        inner = self.relu(self.norm_1(self.conv_1(maps)))
        out: Tensor = self.pool(self.relu(self.norm_2(self.conv_2(inner)) + self.project(maps)))
        return out


def conv(inputs: int, filters: int, *, kernel: int = 3, padding: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that starts right for a ReLU; 3x3 of unchanged size unless said otherwise."""
    layer = nn.Conv2d(inputs, filters, kernel, padding=padding, bias=bias)
    he_start(layer)
    return layer


def conv_pool(inputs: int, filters: int, *, kernel: int = 3, padding: int = 1) -> nn.Sequential:
    """Convolution, ReLU, 2x2 max pooling."""
    layers = (
        ("conv", conv(inputs, filters, kernel=kernel, padding=padding)),
        ("relu", nn.ReLU()),
        ("pool", nn.MaxPool2d(2)),
    )
    return nn.Sequential(Layers(layers))


def softmax(size: int, dropout: float) -> Layers:
    """Report A3's baseline: the pixels themselves; with the head a softmax regression."""
    return Layers(flatten=nn.Flatten())


def zero_input(size: int, dropout: float) -> Layers:
    """Report A3's input-independent baseline: softmax regression on all-zero input."""
    return Layers(zero=ZeroInput(), flatten=nn.Flatten())


def mlp255(size: int, dropout: float) -> Layers:
    """Report A4's baseline: 255 hidden units. The report names no activation; ReLU is taken.

    68,851,023 parameters for 3 classes at 300 px.
    """
    return Layers(flatten=nn.Flatten(), dense_1=nn.Sequential(*dense(3 * size * size, 255)))


def cifar_cnn(size: int, dropout: float) -> Layers:
    """Report A4's CNN: that of PyTorch's CIFAR-10 tutorial with two dropouts (one of them before the head).

    9,966,691 parameters for 3 classes at 300 px. The report gives no dropout rate.
    """
    side = ((size - 4) // 2 - 4) // 2
    return Layers(
        block_1=conv_pool(3, 6, kernel=5, padding=0),
        block_2=conv_pool(6, 16, kernel=5, padding=0),
        dropout=nn.Dropout(dropout),
        flatten=nn.Flatten(),
        dense_1=nn.Sequential(*dense(16 * side * side, 120)),
        dense_2=nn.Sequential(*dense(120, 84)),
    )


def vanilla(size: int, dropout: float) -> Layers:
    """Report A2's first try: 3 x (convolution, pool, ReLU), flatten, dense 128, dropout.

    The report gives no filters; 3x3 of 32-64-128 are taken.
    """
    layers = Layers()
    for number, (inputs, filters) in enumerate(((3, 32), (32, 64), (64, 128)), start=1):
        parts = (("conv", conv(inputs, filters)), ("pool", nn.MaxPool2d(2)), ("relu", nn.ReLU()))
        layers[f"block_{number}"] = nn.Sequential(Layers(parts))
    layers["flatten"] = nn.Flatten()
    layers["dense_1"] = nn.Sequential(*dense(128 * (size // 8) ** 2, 128))
    return layers


def four_block(size: int, dropout: float) -> Layers:
    """Report A0's CNN: 4 blocks of 16-32-64-128 filters of 3x3, then 3 dense layers alternated with dropout.

    The report gives no units; 128 and 64 are taken, and the head as the third.
    """
    layers = _conv_blocks(16, 32, 64, 128)
    layers["flatten"] = nn.Flatten()
    layers["dense_1"] = nn.Sequential(*dense(128 * (size // 16) ** 2, 128))
    layers["dropout"] = nn.Dropout(dropout)
    layers["dense_2"] = nn.Sequential(*dense(128, 64))
    return layers


def homemade(size: int, dropout: float) -> Layers:
    """Report A2's homemade CNN: several convolutions in a block, BatchNorm and ReLU before the pooling, dense layers.

    The report's figure of it is lost; blocks of two convolutions with 32-64-128-256 filters and dense 256 are taken.
    """
    layers = Layers()
    for number, (inputs, filters) in enumerate(_HOMEMADE, start=1):
        layers[f"block_{number}"] = nn.Sequential(
            Layers(
                conv_1=conv(inputs, filters, bias=False),
                norm_1=nn.BatchNorm2d(filters),
                relu_1=nn.ReLU(),
                conv_2=conv(filters, filters, bias=False),
                norm_2=nn.BatchNorm2d(filters),
                relu_2=nn.ReLU(),
                pool=nn.MaxPool2d(2),
            )
        )
    return _homemade_end(layers, size)


def homemade_skip(size: int, dropout: float) -> Layers:
    """`homemade` with the skip connections that report A2 tried and gave up."""
    blocks = ((f"block_{n}", SkipBlock(inputs, filters)) for n, (inputs, filters) in enumerate(_HOMEMADE, start=1))
    return _homemade_end(Layers(blocks), size)


def six_conv(size: int, dropout: float) -> Layers:
    """Report A3's net: 6 x (3x3 convolution, ReLU, 2x2 max pooling), flatten.

    "Doubled with each convolution going from 16 up to 256" makes five numbers for six layers: 16-32-64-128-256-256.
    """
    layers = _conv_blocks(16, 32, 64, 128, 256, 256)
    layers["flatten"] = nn.Flatten()
    return layers


_HOMEMADE = ((3, 32), (32, 64), (64, 128), (128, 256))


def _conv_blocks(*filters: int) -> Layers:
    inputs = (3, *filters[:-1])
    pairs = enumerate(zip(inputs, filters, strict=True), start=1)
    return Layers((f"block_{number}", conv_pool(before, after)) for number, (before, after) in pairs)


def _homemade_end(layers: Layers, size: int) -> Layers:
    layers["flatten"] = nn.Flatten()
    layers["dense_1"] = nn.Sequential(*dense(256 * (size // 16) ** 2, 256))
    return layers


BUILDERS: dict[str, Callable[[int, float], Layers]] = {
    "softmax": softmax,
    "zero_input": zero_input,
    "mlp255": mlp255,
    "cifar_cnn": cifar_cnn,
    "vanilla": vanilla,
    "four_block": four_block,
    "homemade": homemade,
    "homemade_skip": homemade_skip,
    "six_conv": six_conv,
}


def build_net(name: str, *, size: int, dropout: float) -> Net:
    """The net ``name`` for pictures of ``size`` pixels, with random weights from torch's global generator.

    Raises:
        BackboneError: the pictures are too small for its poolings.
    """
    least = SCRATCH[name].least
    if size < least:
        raise BackboneError(f"{name} needs pictures of at least {least} px, found {size}: --set model.size={least}")
    return Net(BUILDERS[name](size, dropout), input_side=size)
