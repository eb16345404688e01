"""A network's answers to pixels at its working size: views, normalisation, softmax, mean. float32 only.

Calibration is not applied here. Batches have one fixed size, so that the arithmetic, and with it the last digits, do
not depend on how many pictures are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from budwood.data.preprocess import Preprocess
from budwood.evaluation.tta import average_views
from budwood.evaluation.views import View, seen
from budwood.export.bundle_facts import Average
from budwood.models.build import Classifier
from budwood.models.fold import fold_batch_norm

BATCH_SIZE = 32


class NetworkAnswers:
    """``[N, S, S, 3]`` uint8 -> probabilities ``[N, K]``, averaged over the views."""

    def __init__(
        self, model: Classifier, *, preprocess: Preprocess, views: Sequence[int | View], average: Average
    ) -> None:
        self.model = model.eval()
        self.preprocess = preprocess
        self.views = tuple(views)
        self.average = average
        self._fast: torch.nn.Module | None = None

    def __call__(
        self, pixels: NDArray[np.uint8], *, advance: Callable[[int], None] = lambda count: None
    ) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32; ``advance`` hears of every batch."""
        network = self._network()
        out = np.empty((len(pixels), self.model.head.out_features), dtype=np.float32)
        for at in range(0, len(pixels), BATCH_SIZE):
            some = pixels[at : at + BATCH_SIZE]
            full = np.concatenate([some, np.repeat(some[-1:], BATCH_SIZE - len(some), axis=0)])
            out[at : at + len(some)] = self._mean(network, full)[: len(some)]
            advance(len(some))
        return out

    def showing(self, views: Sequence[int | View]) -> NetworkAnswers:
        """The same network with other views."""
        other = NetworkAnswers(self.model, preprocess=self.preprocess, views=views, average=self.average)
        other._fast = self._network()
        return other

    def plain(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same for a few pictures at once, by the network as it is stored: slower for many, faster for one."""
        return self._mean(self.model, pixels)

    @torch.inference_mode()
    def _mean(self, network: torch.nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        tables = []
        for view in self.views:
            batch = torch.from_numpy(np.ascontiguousarray(seen(pixels, view)))
            tables.append(network(self.preprocess.normalise(batch)).double().softmax(1).float().numpy())
        return average_views(np.stack(tables), self.average)

    def _network(self) -> torch.nn.Module:
        if self._fast is None:
            size = self.preprocess.size
            folded = fold_batch_norm(self.model, torch.zeros(2, 3, size, size))
            self._fast = folded.to(memory_format=torch.channels_last)
        return self._fast
