"""Several models' answers as counts, and their scores when the pictures are drawn again: the inner part of `compare.py`
and `versus.py`. It knows no intervals."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.seeding import named_generator

_VALUES_AT_ONCE = 4_000_000  # of resampled counts: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCells:
    """Pictures by (class, answer of each of A models): M cells ordered by class, ``counts [M]``.

    weights: to be drawn by instead of the counts, where pictures were imagined.
    """

    target: NDArray[np.int64]
    answers: NDArray[np.int64]  # [A, M]
    counts: NDArray[np.int64]
    num_classes: int
    weights: NDArray[np.float64] | None = None

    @classmethod
    def count(
        cls, targets: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], *, num_classes: int
    ) -> PairedCells:
        """Count pictures by their class and both answers, each ``[N]``."""
        return cls.count_all(targets, np.stack([first, second]), num_classes=num_classes)

    @classmethod
    def count_all(cls, targets: NDArray[np.int64], answers: NDArray[np.int64], *, num_classes: int) -> PairedCells:
        """Count pictures by their class ``[N]`` and all answers ``[A, N]``."""
        cells, counts = np.unique(np.vstack([targets[None], answers]), axis=1, return_counts=True)
        return cls(target=cells[0], answers=cells[1:], counts=counts, num_classes=num_classes)

    def draw(self, resamples: int, *, seed: int, imagined: float = 0.0) -> NDArray[np.float64]:
        """Scores ``[A, R, S]`` of pictures drawn again, as many of each class as there were.

        Args:
            imagined: pictures of each class that are added to those that are drawn from (not to how many are drawn);
                the models disagree on them as often as on all pictures. A draw from the pictures alone cannot show a
                disagreement that has not happened, and is too narrow for small classes.
        """
        generator = named_generator(seed, "paired_difference")
        cells = self._with_imagined(imagined) if imagined else self
        weights = cells.counts.astype(np.float64) if cells.weights is None else cells.weights
        sizes = np.bincount(self.target, self.counts, minlength=self.num_classes).astype(np.int64)
        borders = np.flatnonzero(np.diff(cells.target, prepend=-1, append=self.num_classes))
        step = max(1, _VALUES_AT_ONCE // len(weights))
        scores = []
        for done in range(0, resamples, step):
            num = min(step, resamples - done)
            drawn = np.empty((num, len(weights)), dtype=np.int64)
            for start, end in itertools.pairwise(borders):
                own = weights[start:end]
                size = sizes[cells.target[start]]
                drawn[:, start:end] = generator.multinomial(size, own / own.sum(), size=num)
            scores.append(cells.scores(drawn))
        return np.concatenate(scores, axis=1)

    def _with_imagined(self, imagined: float) -> PairedCells:
        """Further cells for every class: all models right, or exactly one of them wrong."""
        right = self.answers == self.target
        total = self.counts.sum()
        share = (self.counts[right.any(axis=0) != right.all(axis=0)].sum() + 1) / (total + 2)
        occurring = np.union1d(self.target, self.answers)
        targets, answers, weights = [self.target], [self.answers], [self.counts.astype(np.float64)]
        models = len(self.answers)
        for k in np.unique(self.target):
            wrong = occurring[occurring != k]
            if not len(wrong):
                continue
            added = np.full((models, models * len(wrong) + 1), k, dtype=np.int64)
            for m in range(models):
                added[m, m * len(wrong) : (m + 1) * len(wrong)] = wrong
            targets.append(np.full(added.shape[1], k, dtype=np.int64))
            answers.append(added)
            each = np.full(added.shape[1], imagined * share / (models * len(wrong)))
            each[-1] = imagined * (1 - share)
            weights.append(each)
        target = np.concatenate(targets)
        order = np.argsort(target, kind="stable")
        return PairedCells(
            target=target[order],
            answers=np.concatenate(answers, axis=1)[:, order],
            counts=np.zeros(len(target), dtype=np.int64),
            num_classes=self.num_classes,
            weights=np.concatenate(weights)[order],
        )

    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of a mean over classes of how much more often the second is right."""
        first, second = (answer == self.target for answer in self.answers[:2])
        sizes = np.bincount(self.target, self.counts, minlength=self.num_classes)
        differ = second.astype(np.float64) - first
        mean = np.bincount(self.target, self.counts * differ, minlength=self.num_classes) / np.maximum(sizes, 1)
        square = np.bincount(self.target, self.counts * differ**2, minlength=self.num_classes) / np.maximum(sizes, 1)
        # A class without disagreements is not free of them: a floor keeps it in the count.
        of_class = ((square - mean**2).clip(0) + 1e-4)[sizes > 0] / sizes[sizes > 0]
        return float(of_class.sum() ** 2 / (of_class**2 / np.maximum(sizes[sizes > 0] - 1, 1)).sum())

    def scores(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """``[R, M]`` counts to ``[A, R, S]``: accuracy, balanced accuracy, macro F1, K recalls, K F1s."""
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
        """For each score ``[S]``: pictures on which the first two models differ in it, and on how many it rests."""
        first, second = self.answers[:2]
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
