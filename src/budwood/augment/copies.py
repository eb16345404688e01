"""Changed copies of training pictures, made once and kept as files: how many of each, and what is done to them.

Flips come first, as they lose nothing; then random turns and magnifications on top of each flip. Pictures keep their
size; what a turn uncovers is filled by reflection. A copy adds no information that its original lacks: it belongs into
the same part, which `multiplication.py` sees to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from budwood.seeding import named_generator, picture_generator, record_key

Flips = Literal["both", "horizontal", "none"]
# (mirrored, upside down) in the order in which copies take them; the first is the picture as it is.
_FLIPS: dict[Flips, tuple[tuple[bool, bool], ...]] = {
    "both": ((False, False), (True, False), (False, True), (True, True)),
    "horizontal": ((False, False), (True, False)),
    "none": ((False, False),),
}
_FLIP_WORDS = {
    (False, False): "",
    (True, False): "mirrored",
    (False, True): "upside down",
    (True, True): "half a turn",
}
_FILTER_REACH = 3  # pixels beyond the border that the bicubic filter looks at, and one for rounding


class CopySpec(BaseModel):
    """What copies may be.

    flips: "both" also turns pictures upside down; "horizontal" only mirrors; "none" where left and right matter.
    rotation: largest turn in degrees either way.
    scale: smallest and largest magnification.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flips: Flips = "both"
    rotation: float = Field(default=15, ge=0, le=180)
    scale: tuple[float, float] = (1.0, 1.25)

    @model_validator(mode="after")
    def _possible(self) -> CopySpec:
        low, high = self.scale
        if not 0.5 <= low <= high <= 4:
            raise ValueError(f"scale takes the smallest and the largest magnification, 0.5 to 4 (found {low}, {high})")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is done to one picture: flips, then a turn by ``angle`` degrees and a magnification by ``scale``."""

    mirrored: bool
    upside_down: bool
    angle: float = 0.0
    scale: float = 1.0

    @property
    def words(self) -> str:
        """Such as ``mirrored, turned by -7.4 degrees, magnified 1.12 times``."""
        said = [_FLIP_WORDS[self.mirrored, self.upside_down]]
        if self.angle or self.scale != 1:
            said += [f"turned by {self.angle:.1f} degrees", f"magnified {self.scale:.2f} times"]
        return ", ".join(word for word in said if word)


def change_of(path: str, number: int, *, spec: CopySpec, seed: int) -> Change:
    """What copy ``number`` (1, 2, ...) of the picture ``path`` is; it hangs on nothing else."""
    flips = _FLIPS[spec.flips]
    mirrored, upside_down = flips[number % len(flips)]
    if number < len(flips):
        return Change(mirrored=mirrored, upside_down=upside_down)
    turn, size = picture_generator(seed, number, record_key(path)).random(2)
    low, high = spec.scale
    return Change(
        mirrored=mirrored,
        upside_down=upside_down,
        angle=spec.rotation * (2 * float(turn) - 1),
        scale=math.exp(math.log(low) + float(size) * math.log(high / low)),
    )


def changed(image: NDArray[np.uint8], change: Change) -> NDArray[np.uint8]:
    """Carry out a change: ``[H, W, 3]`` uint8 in, the same shape out."""
    image = image[:, ::-1] if change.mirrored else image
    image = image[::-1] if change.upside_down else image
    if not change.angle and change.scale == 1:
        return np.ascontiguousarray(image)
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(change.angle)), math.sin(math.radians(change.angle))
    across = _margin(width, (width * abs(cos) + height * abs(sin)) / change.scale)
    down = _margin(height, (width * abs(sin) + height * abs(cos)) / change.scale)
    padded = np.pad(image, ((down, down), (across, across), (0, 0)), mode="symmetric")
    a, b = cos / change.scale, sin / change.scale
    # Pillow asks where each output pixel's centre comes from; the two middles belong together.
    right = across + width / 2 - a * width / 2 - b * height / 2
    below = down + height / 2 + b * width / 2 - a * height / 2
    matrix = (a, b, right, -b, a, below)
    made = Image.fromarray(padded).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(made)


def shares(counts: NDArray[np.int64], *, total: int, balanced: bool) -> NDArray[np.int64]:
    """How many pictures each class is to have, ``[K]``: ``total`` in all, none fewer than it has.

    Args:
        counts: ``[K]`` pictures that each class has; classes without any stay so.
        total: at least the sum of ``counts``.
        balanced: equal shares, as far as no class has more already; else each class keeps its share.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if total < counts.sum():
        raise ValueError(f"{total} pictures in all, but there are {counts.sum()} already")
    if not balanced:
        return _rounded(counts * (total / max(1, counts.sum())), counts, total)
    open_ = counts > 0
    wished = counts.astype(np.float64)
    while open_.any():
        level = (total - counts[~open_].sum()) / open_.sum()
        above = open_ & (counts > level)
        if not above.any():
            wished[open_] = level
            break
        open_ &= ~above  # these keep what they have, and the others share the rest
    return _rounded(wished, counts, total)


def copies_of_each(paths: Sequence[str], *, share: int, seed: int) -> NDArray[np.int64]:
    """Copies of each picture of one class so that there are ``share`` in all: equally many, or one more by lot."""
    each, more = divmod(share - len(paths), len(paths))
    numbers = np.full(len(paths), each, dtype=np.int64)
    lots = np.array([named_generator(seed, f"copies/{path}").random() for path in paths])
    numbers[np.argsort(lots, kind="stable")[:more]] += 1
    return numbers


def _margin(side: int, needed: float) -> int:
    return max(0, math.ceil((needed - side) / 2)) + _FILTER_REACH


def _rounded(wished: NDArray[np.float64], least: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Whole numbers that add up to ``total``: rounded down, then one more where most was cut off."""
    whole = np.maximum(np.floor(wished + 1e-9).astype(np.int64), least)
    cut = np.where(least > 0, wished - whole, -np.inf)
    whole[np.argsort(-cut, kind="stable")[: total - int(whole.sum())]] += 1
    return whole
