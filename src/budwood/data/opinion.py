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
    border_probs: the same from heads that were shown the pictures with their middle blanked out; None: not asked.
    backbone: the network's name, for the evidence.
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    features: NDArray[np.float32]
    probs: NDArray[np.float32]
    border_probs: NDArray[np.float32] | None = None
    backbone: str = ""

    def __post_init__(self) -> None:
        rows, columns = len(self.paths), len(self.classes)
        for name in ("probs", "border_probs"):
            values = getattr(self, name)
            if values is not None and values.shape != (rows, columns):
                raise ValueError(f"{name} is {values.shape}, expected ({rows}, {columns})")
        if len(self.features) != rows:
            raise ValueError(f"features has {len(self.features)} rows, expected {rows}")
