"""Random augmentation of decoded pixels: each picture draws for itself, keyed by (seed, epoch, record).

No draw and no pixel depends on the batch that a picture happens to be in, nor on how many threads ask. What is done to
pixels stands in `geometry.py`, `photometric.py` and `hiding.py`; mixing pictures with one another in `mix.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budwood.augment.geometry import Pixels, move_of, moved
from budwood.augment.hiding import Colour, box_of, grid_of, with_box, with_grid
from budwood.augment.opencv import cv2
from budwood.augment.photometric import blurred, colours_of, compressed, quality_of, recoloured, sigma_of
from budwood.augment.spec import AugmentSpec, Flip, PictureSpec
from budwood.data.preprocess import Preprocess
from budwood.seeding import picture_generator

__all__ = ["OPERATIONS", "VERSION", "Augment", "AugmentSpec", "Flip", "Operation", "PictureSpec"]

# Raised whenever equal keys and settings begin to give other pixels: caches of augmented pictures are keyed by it too.
VERSION = 4
NUMBERS = 8  # that each operation may use, 0-1

# (pixels [S, S, 3] uint8, its eight numbers, the picture's settings, what stands for nothing) -> pixels; not in place
Operation = Callable[[Pixels, Sequence[float], PictureSpec, Colour], Pixels]


def _move(pixels: Pixels, numbers: Sequence[float], spec: PictureSpec, fill: Colour) -> Pixels:
    return moved(pixels, move_of(numbers, spec))


def _recolour(pixels: Pixels, numbers: Sequence[float], spec: PictureSpec, fill: Colour) -> Pixels:
    return recoloured(pixels, colours_of(numbers, spec))


def _blur(pixels: Pixels, numbers: Sequence[float], spec: PictureSpec, fill: Colour) -> Pixels:
    sigma = sigma_of(numbers, spec)
    return pixels if sigma is None else blurred(pixels, sigma)


def _compress(pixels: Pixels, numbers: Sequence[float], spec: PictureSpec, fill: Colour) -> Pixels:
    quality = quality_of(numbers, spec)
    return pixels if quality is None else compressed(pixels, quality)


def _hide_grid(pixels: Pixels, numbers: Sequence[float], spec: PictureSpec, fill: Colour) -> Pixels:
    grid = grid_of(numbers, spec, side=len(pixels))
    return pixels if grid is None else with_grid(pixels, grid, fill=fill)


def _hide_box(pixels: Pixels, numbers: Sequence[float], spec: PictureSpec, fill: Colour) -> Pixels:
    box = box_of(numbers, spec, side=len(pixels))
    return pixels if box is None else with_box(pixels, box, fill=fill)


# In the order in which they are carried out. Each has its own numbers, so that settings of one do not change what
# another draws; a new one goes to the end, or all that come after it draw anew.
OPERATIONS: dict[str, Operation] = {
    "move": _move,
    "recolour": _recolour,
    "blur": _blur,
    "jpeg": _compress,
    "gridmask": _hide_grid,
    "cutout": _hide_box,
}


class Augment:
    """Pixels ``[B, S, S, 3]`` uint8 -> network input ``[B, 3, S, S]``, each picture changed by its own draw."""

    def __init__(self, spec: AugmentSpec, preprocess: Preprocess, *, seed: int, classes: Sequence[str] = ()) -> None:
        """Store and check.

        Args:
            spec: resolved settings. preprocess: of the network. seed: of the run.
            classes: their names in the order of the targets; needed where the spec has settings of single classes.

        Raises:
            SettingsError: the spec has settings of a class that is not there.
        """
        specs = {name: spec.for_class(name) for name in spec.classes}
        if any(one.rotation == "auto" or one.flip == "auto" for one in (spec, *specs.values())):
            raise ValueError("resolve the spec first: rotation and flip are still auto")
        if spec.classes and not classes:
            raise ValueError("the spec has settings of single classes: hand in the names of the classes")
        spec.check_classes(classes)
        self.spec = spec
        self.preprocess = preprocess
        self.seed = seed
        self._by_class = tuple(specs.get(name, spec) for name in classes) if spec.classes else ()
        self._fill: Colour = _zero_of(preprocess)
        self._levels = _levels_of(preprocess)

    def __call__(
        self, pixels: Pixels, records: Sequence[int], epoch: int, *, targets: NDArray[np.int64] | None = None
    ) -> Tensor:
        """Augment a batch.

        Args:
            pixels: ``[B, S, S, 3]`` uint8, not changed.
            records: the pictures' keys (`seeding.record_key`).
            epoch: draws anew in each.
            targets: ``[B]`` class indices; needed where the spec has settings of single classes.

        Returns:
            ``[B, 3, S, S]`` float32, channels last.
        """
        images = np.empty(pixels.shape, dtype=np.float32)
        for i, (record, spec) in enumerate(zip(records, self._specs(targets, len(pixels)), strict=True)):
            # A table has the preprocessing's own values of all 256 levels: exact, and in one pass over the pixels.
            cv2.LUT(self._changed(pixels[i], record, epoch, spec), self._levels, dst=images[i])
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def pixels(
        self, pixels: Pixels, records: Sequence[int], epoch: int, *, targets: NDArray[np.int64] | None = None
    ) -> Pixels:
        """The same draws as pixels, for eyes and caches: ``[B, S, S, 3]`` uint8, before the preprocessing."""
        specs = self._specs(targets, len(pixels))
        changed = [self._changed(*one[:2], epoch, one[2]) for one in zip(pixels, records, specs, strict=True)]
        return np.stack(changed) if changed else pixels.copy()

    def _specs(self, targets: NDArray[np.int64] | None, size: int) -> Sequence[PictureSpec]:
        if not self._by_class:
            return [self.spec] * size
        if targets is None:
            raise ValueError("the spec has settings of single classes: hand in the targets of the pictures")
        return [self._by_class[int(k)] for k in targets]

    def _changed(self, pixels: Pixels, record: int, epoch: int, spec: PictureSpec) -> Pixels:
        drawn = picture_generator(self.seed, epoch, record).random(NUMBERS * len(OPERATIONS)).tolist()
        for number, operation in enumerate(OPERATIONS.values()):
            pixels = operation(pixels, drawn[NUMBERS * number : NUMBERS * (number + 1)], spec, self._fill)
        return pixels


def _zero_of(preprocess: Preprocess) -> Colour:
    """The colour that comes nearest to zero in the network's input."""
    red, green, blue = (min(255, max(0, round(255 * mean))) for mean in preprocess.mean)
    return red, green, blue


def _levels_of(preprocess: Preprocess) -> NDArray[np.float32]:
    """What `Preprocess.normalise` makes of each grey level, ``[256, 1, 3]``."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 256, 1, 1).expand(1, 256, 1, 3)
    return np.ascontiguousarray(preprocess.normalise(levels).permute(0, 2, 3, 1)[0].numpy())
