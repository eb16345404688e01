"""The small copies of a picture that the data layer looks at: the reduced one, its digest, its luma plane.

They are made once, in the scan. What is looked at never exceeds ``LOOK_SIDE``, so that a look costs the same for a
thumbnail and for a photo of 50 megapixels. Worker processes load this module, so numpy is imported where it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from PIL import Image

from budwood.data.preprocess import reduce_to

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOK_SIDE = 320  # px of the shorter side; measures and digests are made of pictures reduced to it
PLANE_SIDE = 64  # planes are squares whatever the picture's shape: quarter turns stay quarter turns
_MERGED_PIXELS = 2**20  # lumas of larger pictures are not merged, since that takes four bytes a pixel


def luma_plane(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of a picture ``[H, W, 3]``, resampled to ``[64, 64]`` uint8."""
    import numpy as np

    luma = Image.fromarray(picture).convert("L")
    return np.frombuffer(_resampled(luma), np.uint8).reshape(PLANE_SIDE, PLANE_SIDE)


def plane_bytes(lumas: Sequence[Image.Image]) -> list[bytes]:
    """The rows of `luma_plane`, 4,096 bytes for each luma (mode "L") of a picture that Pillow holds.

    Four of one size are resampled as the channels of one picture: the same numbers in two thirds of the time.
    """
    planes: list[bytes] = []
    for (width, height), same in groupby(lumas, key=attrgetter("size")):
        left = list(same)
        while len(left) >= 4 and width * height <= _MERGED_PIXELS:
            mixed = _resampled(Image.merge("CMYK", left[:4]))  # not RGBA: its colours would be weighted by A
            planes += [mixed[channel::4] for channel in range(4)]
            left = left[4:]
        planes += map(_resampled, left)
    return planes


def _resampled(picture: Image.Image) -> bytes:
    return picture.resize((PLANE_SIDE, PLANE_SIDE), Image.Resampling.BILINEAR).tobytes()


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """What tells pictures apart by their pixels: SHA-256 in hex of a decoded picture ``[H, W, 3]``.

    It covers height, width and all RGB bytes of the picture reduced to ``LOOK_SIDE``; a smaller picture is covered as
    it is. So pictures have one digest when they are equal at the size that is looked at; hashing all pixels of a
    photo would take half as long as decoding it.
    """
    import numpy as np

    look = np.ascontiguousarray(reduce_to(image, LOOK_SIDE))
    return look_digest(look.data, height=image.shape[0], width=image.shape[1]).hex()


def look_digest(look: bytes | memoryview, *, height: int, width: int) -> bytes:
    """The 32 bytes of `pixel_digest`: of a picture of that height and width, and its rows as they were reduced."""
    digest = hashlib.sha256(b"(%d, %d, 3)" % (height, width))
    digest.update(look)
    return digest.digest()
