"""`Opinion`: what a packaged network thinks of the pictures, as arrays. It is computed above this layer and handed in.

Every probability is out-of-fold: the head that made it never saw the picture, nor a near-duplicate of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """Row i belongs to ``paths[i]``; column k of the probabilities to ``classes[k]``.

    features: ``[N, D]`` float32, frozen features of the upright picture. probs: ``[N, K]`` float32, rows sum to 1.
    folds: ``[N]`` int64, which fold a picture was left out with; pictures that belong together share one.
    border_probs: as ``probs``, from heads that were shown the pictures with their middle blanked out; None: not asked.
    border_colours: ``[N, C]`` float32, the plain colours around that middle, without a network; None: not asked.
    backbone: the network's name, for the evidence.
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    features: NDArray[np.float32]
    probs: NDArray[np.float32]
    folds: NDArray[np.int64]
    border_probs: NDArray[np.float32] | None = None
    border_colours: NDArray[np.float32] | None = None
    backbone: str = ""

    def __post_init__(self) -> None:
        rows, columns = len(self.paths), len(self.classes)
        for name in ("probs", "border_probs"):
            values = getattr(self, name)
            if values is not None and values.shape != (rows, columns):
                raise ValueError(f"{name} is {values.shape}, expected ({rows}, {columns})")
        for name in ("features", "folds", "border_colours"):
            values = getattr(self, name)
            if values is not None and len(values) != rows:
                raise ValueError(f"{name} has {len(values)} rows, expected {rows}")
