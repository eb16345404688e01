"""Settings that change nothing, and drawn pictures: noise for exactness, patches for what eyes would see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.augment.spec import AugmentSpec

CALM: dict[str, Any] = {
    "rotation": 0,
    "flip": "none",
    "scale": (1, 1),
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "cutmix": 0,
}


@pytest.fixture(scope="session")
def calm() -> Callable[..., AugmentSpec]:
    """A spec that changes nothing but what is named."""
    return lambda **changes: AugmentSpec(**(CALM | changes))


@pytest.fixture(scope="session")
def noise() -> NDArray[np.uint8]:
    """Six pictures of 24 px in which no two pixels are alike."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    return pixels


@pytest.fixture(scope="session")
def patches() -> NDArray[np.uint8]:
    """Six pictures of 48 px of large, soft patches in middling colours."""
    small = np.random.default_rng(1).integers(60, 200, (6, 4, 4, 3), dtype=np.uint8)
    pixels = small.repeat(12, axis=1).repeat(12, axis=2)
    pixels.flags.writeable = False
    return pixels
