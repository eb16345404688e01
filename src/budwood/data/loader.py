"""The pictures of a part as pixels, the order of an epoch, and batches prepared ahead by threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from budwood.seeding import order_generator

if TYPE_CHECKING:
    import torch

Made = TypeVar("Made")


class Transform(Protocol):
    """Pixels ``[B, S, S, 3]`` uint8, keys of the pictures and an epoch -> images ``[B, 3, S, S]``."""

    def __call__(
        self, pixels: NDArray[np.uint8], records: Sequence[int], epoch: int, *, targets: NDArray[np.int64] | None = None
    ) -> torch.Tensor: ...


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


def prepared(
    make: Callable[[int, NDArray[np.int64]], Made], size: int, *, batch_size: int, first: int = 0, workers: int = 0
) -> Iterator[Made]:
    """``make(number, positions)`` for the batches of ``size`` positions in order, from number ``first`` on.

    Args:
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for. The stream is the same.
    """
    edges = [number * batch_size for number in range(num_batches(size, batch_size))]
    chunks = [np.arange(at, end) for at, end in itertools.pairwise([*edges, size])]
    numbered = list(enumerate(chunks))[first:]
    if not workers:
        for number, chunk in numbered:
            yield make(number, chunk)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Made]] = deque()
        for number, chunk in numbered:
            waiting.append(pool.submit(make, number, chunk))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
