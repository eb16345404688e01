"""The small grey copy of a picture that near-duplicates are searched in: made once, in the scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PLANE_SIDE = 64  # planes are squares whatever the picture's shape: quarter turns stay quarter turns


def luma_plane(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of a picture ``[H, W, 3]``, resampled to ``[64, 64]`` uint8."""
    luma = Image.fromarray(picture).convert("L")
    return np.asarray(luma.resize((PLANE_SIDE, PLANE_SIDE), Image.Resampling.BILINEAR))
