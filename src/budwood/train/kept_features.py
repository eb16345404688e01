"""Gradient steps of a head on features that were computed once: what stands in for network and pictures then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.models.build import Classifier


class HeadOnFeatures(nn.Module):
    """Features ``[B, D]`` -> logits ``[B, K]``: all of a classifier above its backbone, sharing its weights."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.top, self.dropout, self.head = model.top, model.dropout, model.head

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, K]``."""
        out: Tensor = self.head(self.dropout(self.top(features)))
        return out


@dataclass(frozen=True, slots=True)
class KeptFeatures:
    """Features ``[V, N, D]`` of V views of N pictures; view 0 shows them as they are."""

    values: NDArray[np.float32]

    @property
    def num_views(self) -> int:
        """V."""
        return len(self.values)

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """``[B, D]`` of rows in the given views."""
        return torch.from_numpy(self.values[views, rows])
