"""The faults planted in the herbarium: how many, what they do to a file, and how the truth names them.

Which file gets which fault is decided in `draw.py`; finding faults is the audit's work, not this module's.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # [H, W, 3], RGB
Generator = np.random.Generator
FaultKind = Literal["unreadable", "exact_duplicate", "near_duplicate", "wrong_label", "odd_size", "over_dark"]

NUM_IN_480: dict[FaultKind, int] = {
    "unreadable": 6,
    "exact_duplicate": 8,
    "near_duplicate": 20,
    "wrong_label": 12,
    "odd_size": 5,
    "over_dark": 6,
}
HOWS: dict[FaultKind, tuple[str, ...]] = {
    "unreadable": ("truncated", "empty", "text", "garbage", "truncated", "truncated"),
    "exact_duplicate": ("same_label", "other_label", "same_label"),
    "near_duplicate": ("flip", "quarter_turn", "crop", "recompress") * 4
    + ("flip+crop", "quarter_turn+recompress", "crop+recompress", "flip+quarter_turn"),
    "wrong_label": ("moved",),
    "odd_size": ("wide", "tiny", "tall", "large", "thumbnail"),
    "over_dark": ("underexposed",),
}
ODD_SIZES: dict[str, tuple[float, float]] = {  # width and height against the usual side
    "wide": (1.875, 0.5),
    "tiny": (0.4, 0.4),
    "tall": (0.5, 1.75),
    "large": (2.25, 2.25),
    "thumbnail": (0.25, 0.25),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One planted fault. ``of`` is a copy's original, ``true`` the species of a wrong label; else empty."""

    kind: FaultKind
    how: str
    path: str
    of: str = ""
    true: str = ""

    def as_truth(self) -> dict[str, str]:
        """The entry in ``truth.json``: only the fields that say something."""
        return {key: value for key, value in asdict(self).items() if value}


def count_faults(num_pictures: int) -> dict[FaultKind, int]:
    """How many faults of each kind ``num_pictures`` files hold: in proportion, at least one of each."""
    return {kind: max(1, round(count * num_pictures / 480)) for kind, count in NUM_IN_480.items()}


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """The picture as JPEG bytes; equal pixels and quality give equal bytes with the same Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def break_file(data: bytes, how: str, generator: Generator) -> bytes:
    """Make a JPEG file unreadable in the way that ``how`` names (see ``HOWS["unreadable"]``)."""
    if how == "truncated":
        return data[: int(len(data) * generator.uniform(0.3, 0.7))]
    if how == "text":
        return b"<html><body><h1>404 Not Found</h1>The picture has moved.</body></html>\n"
    return generator.bytes(len(data)) if how == "garbage" else b""


def copy_changed(data: bytes, how: str, generator: Generator) -> bytes:
    """A near-duplicate of the JPEG ``data``: its pixels changed by each step of ``how``, joined by ``+``."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    quality = int(generator.integers(85, 93))
    for step in how.split("+"):
        if step == "recompress":
            quality = int(generator.integers(25, 61))
        else:
            pixels = np.ascontiguousarray(CHANGES[step](pixels, generator))
    return encode_jpeg(pixels, quality)


def darken(pixels: Pixels, generator: Generator) -> Pixels:
    """Underexpose by about four stops."""
    return np.asarray(pixels * generator.uniform(0.05, 0.09) + 0.5, np.uint8)


def cut_middle(pixels: Pixels, width: int, height: int) -> Pixels:
    """The middle ``[height, width, 3]`` of a picture that is at least as large."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _flip(pixels: Pixels, generator: Generator) -> Pixels:
    return np.flip(pixels, axis=int(generator.integers(2)))


def _quarter_turn(pixels: Pixels, generator: Generator) -> Pixels:
    return np.rot90(pixels, k=int(generator.choice([1, 3])))


def _crop(pixels: Pixels, generator: Generator) -> Pixels:
    """Keep 75-92 % of each side."""
    height, width = (round(side * generator.uniform(0.75, 0.92)) for side in pixels.shape[:2])
    top = int(generator.integers(pixels.shape[0] - height + 1))
    left = int(generator.integers(pixels.shape[1] - width + 1))
    return pixels[top : top + height, left : left + width]


CHANGES: dict[str, Callable[[Pixels, Generator], Pixels]] = {
    "flip": _flip,
    "quarter_turn": _quarter_turn,
    "crop": _crop,
}
