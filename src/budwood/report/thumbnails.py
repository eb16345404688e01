"""Decoded pictures -> small JPEGs for a page. Reads no file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 144  # pixels: some 500 of them keep a page below 3 MB


def thumbnail(pixels: NDArray[np.uint8], *, side: int = SIDE, quality: int = 80) -> bytes:
    """JPEG bytes of a picture ``[H, W, 3]``, its longer side at most ``side``; small pictures are not enlarged."""
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
