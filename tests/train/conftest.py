"""Tiny networks and coloured squares: three classes that a network of a few thousand weights can learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from budwood.data.loader import PixelSet
from budwood.models.backbones import load_backbone
from budwood.models.build import Classifier, attach_head

SIDE = 32


@pytest.fixture
def squares() -> Callable[..., PixelSet]:
    """A part of ``size`` noisy squares, 32 px; class k is bright in channel k. Paths start at ``first``."""

    def make(size: int, *, first: int = 0, shuffled: bool = False) -> PixelSet:
        generator = np.random.default_rng(first)
        targets = np.arange(size) % 3
        pixels = generator.integers(0, 150, (size, SIDE, SIDE, 3), dtype=np.uint8)
        for i, target in enumerate(targets):
            pixels[i, :, :, target] += 100
        if shuffled:
            targets = generator.permutation(targets)
        paths = tuple(f"{first + i}.png" for i in range(size))
        return PixelSet(pixels=pixels, targets=targets, paths=paths, rows=np.arange(size))

    return make


@pytest.fixture
def tiny() -> Callable[..., Classifier]:
    """An untrained three-class network, the same at every call."""

    def make(name: str = "test_efficientnet", *, dropout: float = 0.0, drop_path: float = 0.0) -> Classifier:
        torch.manual_seed(0)
        backbone = load_backbone(name, pretrained=False, drop_path=drop_path)
        return attach_head(backbone, num_classes=3, dropout=dropout)

    return make
