"""Numbers of an array -> uint8 pixels: which shapes and ranges are pictures, and what is refused with its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import MAX_PIXELS
from budwood.data.inputs.npz import ArrayInfo, array_rows
from budwood.errors import DataError

MAX_PICTURES = 2_000_000
MAX_IMAGE_BYTES = 20 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelScale:
    """Turns blocks of an array into pixels by a factor; ``note`` says what is worth knowing about it."""

    factor: float = 1.0
    note: str = ""

    def __call__(self, block: NDArray[Any]) -> NDArray[np.uint8]:
        """Pixels ``[b, H, W]`` or ``[b, H, W, 3]`` uint8 of a block ``[b, H, W]``, ``[b, H, W, 1]`` or ``[.., 3]``."""
        if block.ndim == 4 and block.shape[3] == 1:
            block = block[..., 0]
        if block.dtype.kind in "ui":
            return np.ascontiguousarray(block, dtype=np.uint8)
        return np.rint(block.astype(np.float64) * self.factor).astype(np.uint8)


def check_images(info: ArrayInfo) -> None:
    """Refuse a shape or type that holds no pictures, by the header alone.

    Raises:
        DataError: with the line of NumPy that helps, where there is one.
    """
    where, shape = f"{info.file}: {info.name}", info.shape
    if info.dtype.kind not in "uif":
        raise DataError(f"{where} is of type {info.dtype}; pictures are uint8, or other numbers from 0 to 255")
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise DataError(
            f"{where} is {info}: the channels come before the rows. Save {info.name}.transpose(0, 2, 3, 1) instead"
        )
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
        raise DataError(f"{where} has the shape {shape}; [N, H, W, 3], [N, H, W, 1] or [N, H, W] are expected")
    if 0 in shape:
        raise DataError(f"{where} is empty: its shape is {shape}")
    if shape[0] > MAX_PICTURES:
        raise DataError(f"{where} holds {shape[0]} pictures, more than the {MAX_PICTURES} allowed; divide it")
    if info.num_bytes > MAX_IMAGE_BYTES:
        raise DataError(f"{info.file}: {info} is larger than the {MAX_IMAGE_BYTES // 10**9} GB allowed; divide it")
    if shape[1] * shape[2] > MAX_PIXELS:
        raise DataError(
            f"{where} holds pictures of {shape[1]} x {shape[2]} pixels, more than the {MAX_PIXELS // 10**6} megapixels"
            " allowed"
        )


def pixel_scale(info: ArrayInfo) -> PixelScale:
    """How the values of an array become pixels; all of them are looked at first.

    Raises:
        DataError: values are not numbers, or lie outside 0 to 255.
    """
    if info.dtype == np.uint8:
        return PixelScale()
    low, high, odd, outside, whole = np.inf, -np.inf, 0, 0, True
    for block in array_rows(info):
        finite = np.isfinite(block)
        bad = block.size - int(np.count_nonzero(finite))
        odd += bad
        values = block[finite] if bad else block
        if not values.size:
            continue
        least, most = float(values.min()), float(values.max())
        low, high = min(low, least), max(high, most)
        if least < 0 or most > 255:
            outside += int(np.count_nonzero((values < 0) | (values > 255)))
        whole = whole and (info.dtype.kind != "f" or bool((values == np.rint(values)).all()))
    where = f"{info.file}: {info.name}"
    if odd:
        raise DataError(f"{where} holds {odd} values that are NaN or infinite; pictures cannot: repair or drop them")
    if outside:
        raise DataError(
            f"{where} holds values from {low:g} to {high:g}, {outside} of them outside 0 to 255. Scale them first:"
            f' ((x - {low:g}) * (255 / {high - low:g})).round().astype("uint8")'
        )
    if info.dtype.kind == "f" and high <= 1:
        note = f"the values of {info.name} lie within 0 and 1, so 1 was taken as white (255)"
        return PixelScale(factor=255.0, note=note)
    return PixelScale(note="" if whole else f"the values of {info.name} were rounded to whole numbers from 0 to 255")
