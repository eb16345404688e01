"""What a leaking split costs: the score that it promises against the score of a guarded one, on the same features.

`cost_of_leaking` works on arrays; `measure_leakage` gets them from a folder of photos. It shows why Budwood splits as
it does; nothing is trained that is kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood import cache, machine
from budwood.allowed_views import choose_views
from budwood.data.placing import Unit, check_enough, place, rounded_share
from budwood.evaluation.intervals import Interval
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.models.build import open_backbone, store_side
from budwood.prepare import digests_of, open_pixels, read_photos, working_preprocess
from budwood.recipe import Recipe
from budwood.seeding import named_generator
from budwood.train.features import FeatureCache, FeatureSource, frozen_features
from budwood.train.heads import HeadSpec, choose_head, fit_head

_TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """A mistake against the right way: means over the seeds.

    leaking, guarded: mean accuracy; difference is leaking - guarded, with an interval over the seeds. For a random
        split, guarded is the same test part with its copies taken out of training, and as many other pictures are
        taken out for leaking: same test pictures, same number to learn from. For augmented copies, it is a split that
        keeps each picture's copies together and scores upright pictures only.
    num_test, with_copy: test pictures of the mistake, and how many of them have a copy in train.
    """

    mistake: str
    leaking: float
    guarded: float
    difference: float
    interval: Interval
    num_test: float
    with_copy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageCost:
    """``random``: a random split of pictures that have copies. ``augmented``: turned copies made before the split.

    augmented is None where only one view was given.
    """

    num_pictures: int
    num_groups: int
    num_seeds: int
    random: Leakage
    augmented: Leakage | None


def cost_of_leaking(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    *,
    groups: Sequence[Sequence[int]],
    seeds: Sequence[int] = tuple(range(10)),
    penalty: float | None = None,
    listen: Listener = silent,
) -> LeakageCost:
    """Score heads with and without the mistakes, once for each seed.

    Args:
        features: ``[V, N, D]`` frozen features of V views; the first view is the picture as it is.
        targets: ``[N]`` class indices.
        groups: indices of pictures that show the same.
        seeds: each gives other splits, 20 % for testing.
        penalty: of the heads; None chooses it on the first guarded training part.
        listen: hears of the step ``leakage``.

    Raises:
        SplitError: a class has fewer than two distinct pictures.
    """
    started = time.perf_counter()
    listen(StepStarted(step="leakage", total=len(seeds), unit="seeds"))
    unit_of = _unit_numbers(len(targets), groups)
    num_classes = int(targets.max()) + 1
    guarded_tests = [_guarded_test(targets, unit_of, seed=seed) for seed in seeds]
    if penalty is None:
        penalty = _choose_penalty(features[:1], targets, unit_of, ~guarded_tests[0], num_classes)
    scorer = _Scorer(features, targets, unit_of, num_classes=num_classes, penalty=penalty)
    random, augmented = [], []
    for seed, guarded in zip(seeds, guarded_tests, strict=True):
        random.append(scorer.of_random(seed))
        if len(features) > 1:
            augmented.append((*scorer.of_copies(seed), scorer.of_guarded(guarded)))
        listen(StepAdvanced(step="leakage"))
    mistake = f"each picture turned and mirrored into {len(features)}, then a random split"
    seconds = time.perf_counter() - started
    listen(StepFinished(step="leakage", seconds=seconds, note=f"{len(seeds)} times"))
    return LeakageCost(
        num_pictures=len(targets),
        num_groups=len(groups),
        num_seeds=len(seeds),
        random=_leakage("a random split", random),
        augmented=_leakage(mistake, augmented) if augmented else None,
    )


def measure_leakage(photos: Path, recipe: Recipe, *, num_seeds: int = 10, listen: Listener = silent) -> LeakageCost:
    """`cost_of_leaking` on the frozen features of a folder of photos.

    Args:
        photos: any input that `scan` reads.
        recipe: its model, audit and view settings are used.

    Raises:
        DataError, UsageError: as `fit` does.
    """
    backbone = open_backbone(recipe.model)
    found = machine.probe()
    dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=listen)
    preprocess = working_preprocess(dataset, recipe, backbone)
    pixels = open_pixels(dataset, preprocess, listen=listen)
    source = FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=preprocess,
        identity=f"{backbone.name} {backbone.source} {backbone.digest}",
        bf16={"auto": found.bf16, "bfloat16": True, "float32": False}[recipe.train.precision],
    )
    features = frozen_features(
        source,
        pixels.pixels,
        digests_of(dataset.catalog, pixels.rows),
        views=choose_views(recipe, dataset, pixels, source, listen=listen).train,
        cache=FeatureCache(cache.features_folder()),
        listen=listen,
    )
    row = {path: i for i, path in enumerate(pixels.paths)}
    groups = [[row[path] for path in group if path in row] for group in dataset.audit.groups]
    return cost_of_leaking(
        features, pixels.targets, groups=[g for g in groups if len(g) > 1], seeds=range(num_seeds), listen=listen
    )


@dataclass(frozen=True, slots=True)
class _Scorer:
    """Trains a head on one part of the pictures and scores it on the other."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    unit_of: NDArray[np.int64]
    num_classes: int
    penalty: float

    def of_random(self, seed: int) -> tuple[float, float, float, float]:
        """A random split: accuracy, test pictures, those that have a copy in train, accuracy without the copies."""
        test = _random_test(self.targets, seed=seed)
        copies = ~test & np.isin(self.unit_of, self.unit_of[test])
        others = named_generator(seed, "leakage, others").permutation(np.flatnonzero(~test & ~copies))
        leaking = ~test
        leaking[others[: copies.sum()]] = False  # as many to learn from on both sides
        with_copy = np.isin(self.unit_of[test], self.unit_of[leaking]).sum()
        upright = self.features[:1]
        scores = [
            self._accuracy(upright[:, train], self.targets[train], upright[0, test], self.targets[test])
            for train in (leaking, ~test & ~copies)
        ]
        return scores[0], float(test.sum()), float(with_copy), scores[1]

    def of_copies(self, seed: int) -> tuple[float, float, float]:
        """A random split in which every view is a picture of its own: the first three numbers of `of_random`."""
        shape = self.features.shape[:2]
        targets, units = (np.broadcast_to(values, shape) for values in (self.targets, self.unit_of))
        test = _random_test(targets.ravel(), seed=seed).reshape(shape)
        train, labels = self.features[~test][None], targets[~test]
        accuracy = self._accuracy(train, labels, self.features[test], targets[test])
        return accuracy, float(test.sum()), float(np.isin(units[test], units[~test]).sum())

    def of_guarded(self, test: NDArray[np.bool_]) -> float:
        """Accuracy on the upright pictures ``test [N]``, after training on all views of the others."""
        train = self.features[:, ~test]
        return self._accuracy(train, self.targets[~test], self.features[0, test], self.targets[test])

    def _accuracy(
        self,
        train: NDArray[np.float32],
        labels: NDArray[np.int64],
        test: NDArray[np.float32],
        truth: NDArray[np.int64],
    ) -> float:
        weight, bias = fit_head(train, labels, num_classes=self.num_classes, penalty=self.penalty)
        return float(((test @ weight.T + bias).argmax(1) == truth).mean())


def _unit_numbers(num: int, groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """``[N]``: pictures with one number show the same."""
    unit_of = np.arange(num, dtype=np.int64)
    for group in groups:
        unit_of[list(group)] = min(group)
    return unit_of


def _random_test(targets: NDArray[np.int64], *, seed: int) -> NDArray[np.bool_]:
    """A stratified random fifth, blind to what shows the same."""
    generator = named_generator(seed, "leakage")
    test = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        rows = generator.permutation(np.flatnonzero(targets == label))
        test[rows[: rounded_share(len(rows), _TEST_SHARE)]] = True
    return test


def _guarded_test(targets: NDArray[np.int64], unit_of: NDArray[np.int64], *, seed: int) -> NDArray[np.bool_]:
    """A stratified fifth with whole units, as `data.split` makes it."""
    units = []
    order = np.argsort(unit_of, kind="stable")
    borders = np.flatnonzero(np.diff(unit_of[order])) + 1
    for rows in np.split(order, borders):
        labels, counts = np.unique(targets[rows], return_counts=True)
        sizes = {str(label): int(count) for label, count in zip(labels, counts, strict=True)}
        units.append(Unit(str(rows[0]), tuple(int(i) for i in rows), sizes))
    totals = {str(label): int((targets == label).sum()) for label in np.unique(targets)}
    check_enough(units, sorted(totals), need=2, why="train and test need")
    wanted = {name: rounded_share(count, _TEST_SHARE) for name, count in totals.items()}
    placed = place(units, {name: (totals[name] - size, size) for name, size in wanted.items()}, seed=seed)
    test = np.zeros(len(targets), dtype=bool)
    test[list(placed[1])] = True
    return test


def _choose_penalty(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    unit_of: NDArray[np.int64],
    train: NDArray[np.bool_],
    num_classes: int,
) -> float:
    folds = unit_of[train] % 3  # a unit's pictures share a fold
    spec = HeadSpec(folds=3)
    return choose_head(features[:, train], targets[train], folds, num_classes=num_classes, spec=spec).penalty


def _leakage(mistake: str, rows: Sequence[tuple[float, ...]]) -> Leakage:
    """Means over the seeds, and an interval that knows that the seeds share their pictures.

    Args:
        rows: accuracy of the mistake, its test pictures, those with a copy in train, accuracy of the guarded split.

    Reference: C. Nadeau, Y. Bengio, Inference for the generalization error, Machine Learning 52 (2003).
    """
    from scipy.stats import t

    leaking, num_test, with_copy, guarded = np.array(rows).T
    differences = leaking - guarded
    num, mean, half = len(differences), float(differences.mean()), math.inf
    if num > 1:
        variance = float(differences.var(ddof=1)) * (1 / num + _TEST_SHARE / (1 - _TEST_SHARE))
        half = float(t.ppf(0.975, num - 1)) * math.sqrt(variance)
    return Leakage(
        mistake=mistake,
        leaking=float(leaking.mean()),
        guarded=float(guarded.mean()),
        difference=mean,
        interval=Interval(low=max(-1.0, mean - half), high=min(1.0, mean + half)),
        num_test=float(num_test.mean()),
        with_copy=float(with_copy.mean()),
    )
