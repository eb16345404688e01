"""The two nets of a small conditional GAN: one paints a picture of a class from noise, one tells painted from real.

Sized for a CPU and pictures of 32 to 64 pixels; how they are played against each other is `train/adversarial.py`'s
matter. The discriminator is a projection discriminator with spectral normalisation.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

HALVINGS = 3


class Generator(nn.Module):
    """Noise ``[B, Z]`` and class indices ``[B]`` -> images ``[B, 3, S, S]`` in -1..1.

    The class stands beside the noise, and shifts and scales every layer (H. de Vries et al., Modulating early visual
    processing by language, NeurIPS 2017), over groups of channels instead of the batch, so that a picture does not
    depend on its neighbours.

    Args:
        num_classes: K. size: S, a multiple of 8. noise: Z. width: channels of the last maps.
    """

    def __init__(self, *, num_classes: int, size: int, noise: int, width: int) -> None:
        super().__init__()
        if size % 2**HALVINGS:
            raise ValueError(f"size {size}: expected a multiple of {2**HALVINGS}")
        self.noise, self.side, self.deepest = noise, size // 2**HALVINGS, 4 * width
        # Without the class beside the noise, toy pictures of two colours came out in one colour for 50 epochs.
        self.of_class = nn.Embedding(num_classes, noise)
        self.start = nn.Linear(2 * noise, self.deepest * self.side**2)
        channels = [4 * width, 4 * width, 2 * width, width]
        self.steps = nn.ModuleList(_Enlarge(a, b, num_classes=num_classes) for a, b in itertools.pairwise(channels))
        self.last = _ClassNorm(width, num_classes=num_classes)
        self.paint = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, noise: Tensor, targets: Tensor) -> Tensor:
        """Paint one picture for each row."""
        both = torch.cat([noise, self.of_class(targets)], dim=1)
        maps = self.start(both).view(len(noise), self.deepest, self.side, self.side)
        for step in self.steps:
            maps = step(maps, targets)
        return torch.tanh(self.paint(torch.relu(self.last(maps, targets))))


class Discriminator(nn.Module):
    """Images ``[B, 3, S, S]`` in -1..1 and class indices ``[B]`` -> how real each looks as one of its class, ``[B]``.

    Reference: T. Miyato, M. Koyama, cGANs with projection discriminator, ICLR 2018; spectral normalisation by
    T. Miyato et al., ICLR 2018.
    """

    def __init__(self, *, num_classes: int, width: int) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(channels):
            layers += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
        layers += [spectral_norm(nn.Conv2d(4 * width, 4 * width, 3, padding=1)), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Linear(4 * width, 1))
        self.of_class = spectral_norm(nn.Embedding(num_classes, 4 * width))

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Large for real, small for painted."""
        features = self.layers(images).sum((2, 3))
        out: Tensor = self.score(features).squeeze(1) + (self.of_class(targets) * features).sum(1)
        return out


class _ClassNorm(nn.Module):
    """Normalise groups of channels, then shift and scale them as the class asks."""

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, channels // 8), channels, affine=False)
        self.change = nn.Embedding(num_classes, 2 * channels)
        nn.init.normal_(self.change.weight, std=0.02)

    def forward(self, maps: Tensor, targets: Tensor) -> Tensor:
        scale, shift = self.change(targets)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = self.norm(maps) * (1 + scale) + shift
        return out


class _Enlarge(nn.Module):
    """Twice the side: class norm, ReLU, enlarge, convolve; with a short cut past it."""

    def __init__(self, a: int, b: int, *, num_classes: int) -> None:
        super().__init__()
        self.norm = _ClassNorm(a, num_classes=num_classes)
        self.conv = nn.Conv2d(a, b, 3, padding=1)
        self.past = nn.Conv2d(a, b, 1)
        self.enlarge = nn.Upsample(scale_factor=2)

    def forward(self, maps: Tensor, targets: Tensor) -> Tensor:
        out: Tensor = self.conv(self.enlarge(torch.relu(self.norm(maps, targets)))) + self.enlarge(self.past(maps))
        return out
