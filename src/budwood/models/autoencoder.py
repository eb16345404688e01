"""A small convolutional autoencoder: a picture through a narrow code, and back.

It has seen one kind of picture only, so it paints others badly, or so one hopes; training it is `train/autoencode.py`'s
matter. Written plainly; no pretrained weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

HALVINGS = 4


class Autoencoder(nn.Module):
    """Images ``[B, 3, S, S]`` in -1..1 -> the same, repainted from ``code`` numbers a picture.

    Args:
        size: S, a multiple of 16.
        width: channels after the first convolution; doubled twice.
        code: numbers that a picture has to pass through.
    """

    def __init__(self, *, size: int, width: int = 24, code: int = 64) -> None:
        super().__init__()
        if size % 2**HALVINGS:
            raise ValueError(f"size {size}: expected a multiple of {2**HALVINGS}")
        self.side, self.deepest = size // 2**HALVINGS, 4 * width
        channels = [3, width, 2 * width, 4 * width, 4 * width]
        down = [_down(a, b) for a, b in itertools.pairwise(channels)]
        flat = self.deepest * self.side**2
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, code))
        self.widen = nn.Linear(code, flat)
        up = [_up(a, b) for a, b in zip(channels[:1:-1], channels[-2:0:-1], strict=True)]
        self.decoder = nn.Sequential(*up, nn.Upsample(scale_factor=2), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        """The pictures as the code remembers them."""
        maps = self.widen(self.encoder(images)).view(len(images), self.deepest, self.side, self.side)
        out: Tensor = self.decoder(torch.relu(maps))
        return out


def _down(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.1))


def _up(a: int, b: int) -> nn.Sequential:
    # Enlarge, then convolve: transposed convolutions leave a checkerboard, which would count as error everywhere.
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.1)
    )
