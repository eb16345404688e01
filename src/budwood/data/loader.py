"""Pixels + indices + a callable -> batches, in an order and with draws that no worker count changes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from budwood.data.records import Batch
from budwood.seeding import order_generator, record_key

if TYPE_CHECKING:
    import torch

# (pixels [B, S, S, 3] uint8, record keys [B], epoch) -> images [B, 3, S, S]
Transform = Callable[[NDArray[np.uint8], Sequence[int], int], "torch.Tensor"]


@dataclass(frozen=True, kw_only=True)
class PixelSet:
    """The pictures of one part: pixels ``[N, S, S, 3]`` uint8 of the whole catalog, and which rows belong here."""

    pixels: NDArray[np.uint8]
    targets: NDArray[np.int64]
    paths: tuple[str, ...]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices of the rows."""
        return np.asarray(self.targets[self.rows])


def epoch_order(size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of ``size`` pictures in one epoch."""
    return order_generator(seed, epoch).permutation(size)


def num_batches(size: int, batch_size: int) -> int:
    """Batches of one epoch; a last batch of one picture is joined to the one before (BatchNorm needs two)."""
    full, rest = divmod(size, batch_size)
    return max(1, full + (rest > 1)) if size else 0


def batches(
    part: PixelSet, transform: Transform, *, batch_size: int, seed: int, epoch: int, workers: int = 0
) -> Iterator[Batch]:
    """Shuffled batches of one epoch, `num_batches` of them.

    Args:
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for. The stream is the same.
    """
    order = part.rows[epoch_order(len(part), seed=seed, epoch=epoch)]
    edges = [number * batch_size for number in range(num_batches(len(order), batch_size))]
    chunks = [order[at:end] for at, end in itertools.pairwise([*edges, len(order)])]

    def make(rows: NDArray[np.int64]) -> Batch:
        import torch

        paths = tuple(part.paths[i] for i in rows)
        images = transform(part.pixels[rows], [record_key(p) for p in paths], epoch)
        return Batch(images=images, targets=torch.from_numpy(part.targets[rows]), paths=paths)

    if not workers:
        yield from map(make, chunks)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Batch]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(make, chunk))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
