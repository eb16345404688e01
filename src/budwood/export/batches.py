"""Decoded pictures in batches that one tensor can hold, for runtimes that take any size; and what no picture is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import MAX_ASPECT

BATCH_SIZE = 32


def equal_batches(images: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Pictures that follow one another and are of equal size, at most 32 of them: ``[B, H, W, 3]`` uint8.

    Raises:
        ValueError: an image has another form or type, or is a strip (longer than 100 times its width).
    """
    batch: list[NDArray[np.uint8]] = []
    for image in images:
        refuse_odd(image)
        if batch and (len(batch) == BATCH_SIZE or image.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(image)
    if batch:
        yield np.stack(batch)


def refuse_odd(image: NDArray[np.uint8]) -> None:
    """Raise ValueError where an array is no picture ``[H, W, 3]`` uint8, or is longer than 100 times its width."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"a picture has shape {image.shape} and type {image.dtype}; expected [H, W, 3] uint8")
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(f"a picture of {width} x {height} pixels is a strip; at most 1 : {MAX_ASPECT} is allowed")
