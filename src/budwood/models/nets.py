"""The networks that are trained from scratch: their names, input sides and where they come from.

A list that is read without torch. How each is built stands in `scratch`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchNet:
    """What is known of a net before it is built.

    size: the side of its input in pixels unless ``model.size`` says otherwise. least: the smallest side that it can be
    built for. fixed: its weights' shapes depend on the side, so it is built for one side and stays with it. words: what
    it is. weights_of: the timm network whose published weights fit it, if there is one.
    """

    size: int
    least: int
    fixed: bool = True
    words: str
    weights_of: str = ""


SCRATCH: dict[str, ScratchNet] = {
    "softmax": ScratchNet(size=96, least=16, words="pixels, one linear layer"),
    "zero_input": ScratchNet(size=96, least=16, words="softmax that sees black pictures only: the floor"),
    "mlp255": ScratchNet(size=300, least=16, words="pixels, 255 hidden units"),
    "cifar_cnn": ScratchNet(size=300, least=16, words="the CNN of PyTorch's CIFAR-10 tutorial"),
    "vanilla": ScratchNet(size=96, least=16, words="3 x (convolution, pool), dense 128"),
    "four_block": ScratchNet(size=96, least=16, words="4 x (convolution, pool) of 16-128 filters, dense 128-64"),
    "homemade": ScratchNet(size=96, least=16, words="4 blocks of two convolutions with BatchNorm, dense 256"),
    "homemade_skip": ScratchNet(size=96, least=16, words="homemade with skip connections"),
    "six_conv": ScratchNet(size=96, least=64, words="6 x (convolution, pool) of 16-256 filters"),
    "resnet50_scratch": ScratchNet(size=96, least=32, fixed=False, words="ResNet-50 with random weights"),
    "vgg16_no_last_pool": ScratchNet(
        size=224, least=32, fixed=False, words="VGG16 without its last pool", weights_of="vgg16"
    ),
}
