"""Versions of a part's pictures, and the rows of a pool that one training uses, as `feed.ActivationFeed` takes them.

Which version a picture shows in an epoch is the feed's matter; what a network makes of it is kept in `boundary.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budwood.data.loader import PixelSet, Transform
from budwood.data.preprocess import Preprocess
from budwood.seeding import record_key
from budwood.train.border_views import PixelViews
from budwood.train.boundary import Pictures
from budwood.train.feed import Kept


def pictures_of(
    part: PixelSet,
    digests: Sequence[str],
    *,
    transform: Transform,
    preprocess: Preprocess,
    num_views: int,
    views_key: str,
) -> Pictures:
    """The plain pictures of a part and ``num_views - 1`` draws of ``transform``.

    Args:
        digests: pixel digests in the part's order. views_key: a text that differs whenever the draws would.
    """
    records = [record_key(part.paths[i]) for i in part.rows]
    label_of = dict(zip(records, part.labels.tolist(), strict=True))
    views = PixelViews(
        pixels=part.pixels,
        rows=part.rows,
        records=records,
        preprocess=preprocess,
        transform=_Labelled(transform, label_of),
    )
    # The plain pictures are the same, whatever is drawn besides.
    key = views_key if num_views > 1 else "plain"
    return Pictures(digests=digests, make_view=views, num_views=num_views, views_key=key)


@dataclass(frozen=True, slots=True)
class PixelVersions:
    """The versions that are kept of pictures, made from pixels each time: what a network with nothing frozen takes."""

    pictures: Pictures

    @property
    def num_views(self) -> int:
        """V."""
        return self.pictures.num_views

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Pictures ``[B, 3, S, S]`` of rows in the given versions."""
        made = {int(view): self.pictures.make_view(int(view), rows[views == view]) for view in np.unique(views)}
        first = next(iter(made.values()))
        out = torch.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
        for view, images in made.items():
            out[torch.from_numpy(views == view)] = images
        return out


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Some rows of what is kept: position i is row ``rows[i]``."""

    kept: Kept
    rows: NDArray[np.int64]

    @property
    def num_views(self) -> int:
        """V."""
        return self.kept.num_views

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """What is kept of the chosen rows ``[B, ...]`` in the given versions."""
        return self.kept.batch(self.rows[rows], views)


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A transform that looks up the pictures' classes itself."""

    transform: Transform
    label_of: dict[int, int]

    def __call__(
        self, pixels: NDArray[np.uint8], records: Sequence[int], epoch: int, *, targets: NDArray[np.int64] | None = None
    ) -> Tensor:
        known = np.array([self.label_of[record] for record in records], dtype=np.int64)
        return self.transform(pixels, records, epoch, targets=known)
