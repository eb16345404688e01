"""The small copies of a picture that the data layer looks at: the reduced one, its digest, its luma plane.

They are made once, in the scan. What is looked at never exceeds ``LOOK_SIDE``, so that a look costs the same for a
thumbnail and for a photo of 50 megapixels.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.data.preprocess import reduce_to

LOOK_SIDE = 320  # px of the shorter side; measures and digests are made of pictures reduced to it
PLANE_SIDE = 64  # planes are squares whatever the picture's shape: quarter turns stay quarter turns


def luma_plane(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of a picture ``[H, W, 3]``, resampled to ``[64, 64]`` uint8."""
    luma = Image.fromarray(picture).convert("L")
    return np.frombuffer(plane_bytes(luma), np.uint8).reshape(PLANE_SIDE, PLANE_SIDE)


def plane_bytes(luma: Image.Image) -> bytes:
    """The rows of `luma_plane`, 4,096 bytes, for the luma (mode "L") of a picture that Pillow holds."""
    return luma.resize((PLANE_SIDE, PLANE_SIDE), Image.Resampling.BILINEAR).tobytes()


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """What tells pictures apart by their pixels: SHA-256 in hex of a decoded picture ``[H, W, 3]``.

    It covers height, width and all RGB bytes of the picture reduced to ``LOOK_SIDE``; a smaller picture is covered as
    it is. So pictures have one digest when they are equal at the size that is looked at; hashing all pixels of a
    photo would take half as long as decoding it.
    """
    look = np.ascontiguousarray(reduce_to(image, LOOK_SIDE))
    return look_digest(look.data, height=image.shape[0], width=image.shape[1]).hex()


def look_digest(look: bytes | memoryview, *, height: int, width: int) -> bytes:
    """The 32 bytes of `pixel_digest`: of a picture of that height and width, and its rows as they were reduced."""
    digest = hashlib.sha256(b"(%d, %d, 3)" % (height, width))
    digest.update(look)
    return digest.digest()
