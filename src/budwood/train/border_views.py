"""The views of a part's pictures that are kept at a border: the plain picture, then turns or draws of an augmentation.

A view's draws are keyed by picture and view number, so they are the same whoever asks and whatever ran before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budwood.data.loader import Transform
from budwood.data.preprocess import Preprocess
from budwood.train.features import turned


@dataclass(frozen=True, kw_only=True)
class PixelViews:
    """View 0 is the plain picture; then come ``turns``; each further view is a draw of ``transform``.

    pixels: ``[M, S, S, 3]`` uint8 of the whole catalog. rows: which of them belong to the part, in its order.
    records: the part's keys from `seeding.record_key`. transform: as the training loop uses it, called with the view's
    number as the epoch.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    records: Sequence[int]
    preprocess: Preprocess
    transform: Transform | None = None
    turns: tuple[int, ...] = ()

    def __call__(self, view: int, rows: NDArray[np.int64]) -> Tensor:
        """View ``view`` of some of the part's pictures: ``[B, 3, S, S]`` float32.

        Raises:
            IndexError: there is no such view.
        """
        pixels = np.ascontiguousarray(self.pixels[self.rows[rows]])
        if view == 0:
            return self.preprocess.normalise(torch.from_numpy(pixels))
        if view <= len(self.turns):
            turn = np.ascontiguousarray(turned(pixels, self.turns[view - 1]))
            return self.preprocess.normalise(torch.from_numpy(turn))
        if self.transform is None:
            raise IndexError(f"view {view} was asked for, there are {1 + len(self.turns)} and no augmentation")
        return self.transform(pixels, [self.records[row] for row in rows], view)
