"""`Feed`: what the training loop reads of one part: pictures from pixels, or activations that were kept.

The loop asks for positions and an epoch; what a picture looks like in that epoch is keyed by (seed, epoch, record), so
no batch, worker or resume changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budwood.data.loader import PixelSet, Transform, prepared
from budwood.data.preprocess import Preprocess
from budwood.seeding import record_key
from budwood.train.boundary import views_of


class Feed(Protocol):
    """N inputs with labels.

    ``mixable`` says whether inputs are pictures, which CutMix and MixUp may mix.
    """

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices ``[N]``."""

    @property
    def mixable(self) -> bool: ...

    def drawn(self, positions: NDArray[np.int64], repeats: NDArray[np.int64], epoch: int) -> Tensor:
        """Inputs ``[B, ...]`` as training sees them; ``repeats`` counts how often each came before in this epoch."""

    def plain(self, positions: NDArray[np.int64]) -> Tensor:
        """Inputs ``[B, ...]`` as evaluation sees them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: inputs ``[B, ...]``, class indices ``[B]``, its number in the epoch."""

    inputs: Tensor
    targets: Tensor
    number: int


@dataclass(frozen=True, kw_only=True)
class PixelFeed:
    """Pictures of a part: augmented by ``transform`` for training, only normalised for evaluation."""

    part: PixelSet
    transform: Transform
    preprocess: Preprocess

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices ``[N]``."""
        return self.part.labels

    @property
    def mixable(self) -> bool:
        """Pictures can be mixed."""
        return True

    def drawn(self, positions: NDArray[np.int64], repeats: NDArray[np.int64], epoch: int) -> Tensor:
        """Augmented pictures ``[B, 3, S, S]``."""
        rows = self.part.rows[positions]
        keys = [_key(self.part.paths[i], n) for i, n in zip(rows, repeats, strict=True)]
        return self.transform(self.part.pixels[rows], keys, epoch, targets=self.part.targets[rows])

    def plain(self, positions: NDArray[np.int64]) -> Tensor:
        """Pictures as they are, ``[B, 3, S, S]``."""
        pixels = np.ascontiguousarray(self.part.pixels[self.part.rows[positions]])
        return self.preprocess.normalise(torch.from_numpy(pixels))


class Kept(Protocol):
    """Activations that were computed before, of V versions of N pictures; version 0 shows the picture as it is."""

    @property
    def num_views(self) -> int: ...

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Activations ``[B, ...]`` float32 of rows in the given versions."""


@dataclass(frozen=True, kw_only=True)
class ActivationFeed:
    """Activations at the border of a frozen start: in each epoch each picture shows one of its kept versions."""

    kept: Kept
    part: PixelSet

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices ``[N]``."""
        return self.part.labels

    @property
    def mixable(self) -> bool:
        """What CutMix does to a picture cannot be done to what a network made of it."""
        return False

    def drawn(self, positions: NDArray[np.int64], repeats: NDArray[np.int64], epoch: int) -> Tensor:
        """Activations of the version whose turn it is for each picture in this epoch."""
        paths = (self.part.paths[i] for i in self.part.rows[positions])
        keys = [_key(path, n) for path, n in zip(paths, repeats, strict=True)]
        return self.kept.batch(positions, views_of(epoch, keys, num_views=self.kept.num_views))

    def plain(self, positions: NDArray[np.int64]) -> Tensor:
        """Activations of the pictures as they are."""
        return self.kept.batch(positions, np.zeros(len(positions), dtype=np.int64))


def drawn_batches(
    feed: Feed, order: NDArray[np.int64], *, batch_size: int, epoch: int, first: int = 0, workers: int = 0
) -> Iterator[Batch]:
    """The batches of one epoch from number ``first`` on.

    Args:
        order: positions in the order in which they come, some perhaps more than once.
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for. The stream is the same.
    """
    repeats = _repeats(order)
    labels = feed.labels

    def make(number: int, chunk: NDArray[np.int64]) -> Batch:
        inputs = feed.drawn(order[chunk], repeats[chunk], epoch)
        return Batch(inputs, torch.from_numpy(labels[order[chunk]]), number)

    return prepared(make, len(order), batch_size=batch_size, first=first, workers=workers)


def plain_batches(feed: Feed, positions: Sequence[int] | NDArray[np.int64], *, batch_size: int) -> Iterator[Tensor]:
    """Inputs of the positions in order, as evaluation sees them."""
    chosen = np.asarray(positions, dtype=np.int64)
    for at in range(0, len(chosen), batch_size):
        yield feed.plain(chosen[at : at + batch_size])


def _repeats(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry came before in ``order``."""
    if len(np.unique(order)) == len(order):
        return np.zeros(len(order), dtype=np.int64)
    seen: dict[int, int] = {}
    out = np.zeros(len(order), dtype=np.int64)
    for i, position in enumerate(order.tolist()):
        out[i] = seen.get(position, 0)
        seen[position] = int(out[i]) + 1
    return out


def _key(path: str, repeat: int) -> int:
    """The key of a picture's draws; a repeat in the same epoch is drawn anew."""
    return record_key(f"{path}\0{repeat}" if repeat else path)
