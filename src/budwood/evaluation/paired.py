"""Two models' answers as counts, and their scores when the pictures are drawn again. The inner part of `compare.py`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.seeding import named_generator

_VALUES_AT_ONCE = 4_000_000  # of resampled counts: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCells:
    """Pictures by (class, answer of A, answer of B): M cells ordered by class, ``counts [M]``."""

    target: NDArray[np.int64]
    answers: NDArray[np.int64]  # [2, M]
    counts: NDArray[np.int64]
    num_classes: int

    @classmethod
    def count(
        cls, targets: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], *, num_classes: int
    ) -> PairedCells:
        """Count pictures by their class and both answers, each ``[N]``."""
        cells, counts = np.unique(np.stack([targets, first, second]), axis=1, return_counts=True)
        return cls(target=cells[0], answers=cells[1:], counts=counts, num_classes=num_classes)

    def draw(self, resamples: int, *, seed: int) -> NDArray[np.float64]:
        """Scores ``[2, R, S]`` of pictures drawn again, as many of each class as there were."""
        generator = named_generator(seed, "paired_difference")
        borders = np.flatnonzero(np.diff(self.target, prepend=-1, append=self.num_classes))
        step = max(1, _VALUES_AT_ONCE // len(self.counts))
        scores = []
        for done in range(0, resamples, step):
            num = min(step, resamples - done)
            drawn = np.empty((num, len(self.counts)), dtype=np.int64)
            for start, end in itertools.pairwise(borders):
                own = self.counts[start:end]
                drawn[:, start:end] = generator.multinomial(own.sum(), own / own.sum(), size=num)
            scores.append(self.scores(drawn))
        return np.concatenate(scores, axis=1)

    def scores(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """``[R, M]`` counts to ``[2, R, S]``: accuracy, balanced accuracy, macro F1, K recalls, K F1s."""
        support = self._sums(drawn, self.target)
        both = []
        for answer in self.answers:
            hits = self._sums(drawn * (answer == self.target), self.target)
            claimed = self._sums(drawn, answer)
            recall = hits / np.maximum(support, 1)
            f1 = 2 * hits / np.maximum(support + claimed, 1)
            averages = [
                hits.sum(1) / support.sum(1),
                recall.sum(1) / (support > 0).sum(1),
                f1.sum(1) / (support + claimed > 0).sum(1),
            ]
            both.append(np.concatenate([np.stack(averages, axis=1), recall, f1], axis=1))
        return np.stack(both)

    def _sums(self, drawn: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.int64]:
        """The columns of ``drawn [R, M]`` added up by the class in ``of [M]``: ``[R, K]``."""
        order = np.argsort(of, kind="stable")
        present, starts = np.unique(of[order], return_index=True)
        sums = np.zeros((len(drawn), self.num_classes), dtype=np.int64)
        sums[:, present] = np.add.reduceat(drawn[:, order], starts, axis=1)
        return sums

    def disagreements(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """For each score ``[S]``: pictures on which the models differ in it, and on how many pictures it rests."""
        first, second = self.answers
        right = (first == self.target) != (second == self.target)
        classes = np.arange(self.num_classes)[:, None]
        of_class, differ = self.target == classes, (first == classes) != (second == classes)
        touched = of_class | (first == classes) | (second == classes)
        counted = [right, right, first != second, *(of_class & right), *differ]
        # An average over classes rests on its smallest classes: its size is the harmonic mean, not the sum.
        support = (of_class * self.counts).sum(1)
        present = support[support > 0]
        mean = len(present) ** 2 / (1 / present).sum()
        sizes = [self.counts.sum(), mean, mean, *support, *(touched * self.counts).sum(1)]
        return np.array([int(self.counts[c].sum()) for c in counted]), np.array(sizes, dtype=np.float64)
