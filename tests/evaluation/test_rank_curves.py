"""Curves and areas equal scikit-learn's; their intervals are ordered and never a point."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import example, given, settings
from hypothesis import strategies as st

from budwood.errors import DataError
from budwood.evaluation.area_intervals import precision_interval, precision_luck
from budwood.evaluation.intervals import Estimate
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rank_curves import (
    average_precision,
    class_curves,
    precision_recall_points,
    rank_scores,
    roc_auc,
    roc_points,
)
from budwood.evaluation.rank_influence import auc_influence, placements, precision_influence

AB = ("a", "b")


@st.composite
def one_class(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and which are of the class; both kinds occur."""
    random, num = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.integers(2, 60))
    scores = (random.integers(0, draw(st.integers(1, 40)) + 1, num) / 40).astype(np.float32)
    positive = random.random(num) < draw(st.floats(0.1, 0.9))
    positive[0], positive[1] = True, False
    return scores, positive


def predictions(num: int, *, classes: int = 4, seed: int = 0, pull: float = 2.0) -> Predictions:
    random = np.random.default_rng(seed)
    targets = np.arange(num) % classes
    logits = random.normal(size=(num, classes)) + pull * np.eye(classes)[targets]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"c{k}" for k in range(classes))
    return Predictions(
        probs=probs.astype(np.float32), targets=targets, paths=tuple(map(str, range(num))), classes=names
    )


@settings(max_examples=60, deadline=None)
@given(one_class())
def test_curves_and_areas_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, positive = case
    fpr, tpr, thresholds = oracle.roc_curve(positive, scores, drop_intermediate=False)
    for ours, theirs in zip(roc_points(scores, positive), (fpr, tpr, thresholds), strict=True):
        np.testing.assert_allclose(ours, theirs)
    precision, recall, thresholds = oracle.precision_recall_curve(positive, scores)
    ours = precision_recall_points(scores, positive)
    np.testing.assert_allclose(ours[0][::-1], recall[:-1])
    np.testing.assert_allclose(ours[1][::-1], precision[:-1])
    np.testing.assert_allclose(ours[2][::-1], thresholds)
    assert roc_auc(scores, positive) == pytest.approx(oracle.roc_auc_score(positive, scores))
    assert average_precision(scores, positive) == pytest.approx(oracle.average_precision_score(positive, scores))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 6))
def test_averages_equal_scikit_learn(seed: int, classes: int) -> None:
    found = predictions(40, classes=classes, seed=seed, pull=1.0)
    scores, probs = rank_scores(found), found.probs.astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    truth = np.eye(classes)[found.targets]
    for name in ("macro", "weighted"):
        theirs = oracle.roc_auc_score(found.targets, probs, multi_class="ovr", average=name)
        assert getattr(scores.roc_averages, name).value == pytest.approx(theirs, abs=1e-6)
    for name in ("macro", "weighted", "micro"):
        theirs = oracle.average_precision_score(truth, found.probs, average=name)
        assert getattr(scores.precision_averages, name).value == pytest.approx(theirs, abs=1e-6)
    assert scores.roc_averages.micro.value == pytest.approx(oracle.roc_auc_score(truth, found.probs, average="micro"))


@settings(max_examples=60, deadline=None)
@given(one_class())
def test_an_area_s_interval_holds_it_and_is_no_point(case: tuple[np.ndarray, np.ndarray]) -> None:
    for found in areas(*case):
        assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1
        assert found.interval.width > 1e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([-9.0, 0.0, 2.0, 30.0]))
@example(58, 3, 0.0)  # three areas that cancel
def test_averages_of_hopeless_and_perfect_models_of_few_pictures_lie_in_their_intervals(
    seed: int, num: int, pull: float
) -> None:
    scores = rank_scores(predictions(num, classes=5, seed=seed, pull=pull))
    for kind in (scores.roc_averages, scores.precision_averages):
        for mean in (kind.macro, kind.weighted, kind.micro):
            assert 0 <= mean.interval.low <= mean.value <= mean.interval.high <= 1
            assert mean.interval.width > 1e-3


def areas(scores: np.ndarray, positive: np.ndarray) -> list[Estimate]:
    """The area under the ROC curve and the average precision of a class against one other."""
    targets = (~positive).astype(np.int64)
    found = rank_scores(
        Predictions(
            probs=np.stack([scores, 1 - scores], axis=1), targets=targets, paths=tuple(map(str, targets)), classes=AB
        )
    )
    return [found.roc_auc[0], found.average_precision[0]]


def test_a_perfect_order_of_few_pictures_leaves_doubt_and_more_pictures_leave_less() -> None:
    few, many = (areas(np.linspace(1, 0, 2 * n, dtype=np.float32), np.arange(2 * n) < n) for n in (4, 400))
    for doubtful, sure in zip(few, many, strict=True):
        assert doubtful.value == sure.value == doubtful.interval.high == sure.interval.high == 1
        assert doubtful.interval.low < 0.75
        assert sure.interval.low > 0.98


def test_the_interval_of_many_pictures_agrees_with_delongs() -> None:
    random, num = np.random.default_rng(3), 3000
    positive = np.arange(2 * num) < num
    found = areas((random.normal(size=2 * num) + positive).astype(np.float32) / 10, positive)[0]
    own, other = placements(random.normal(size=2 * num).astype(np.float32) + positive, positive)
    half = 1.96 * np.sqrt(own.var() / num + other.var() / num)
    assert found.interval.low == pytest.approx(found.value - half, abs=half / 10)
    assert found.interval.high == pytest.approx(found.value + half, abs=half / 10)


def test_the_influence_of_a_picture_is_what_its_weight_changes() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 12, 40).astype(np.float32), random.random(40) < 0.4
    for influence_of, area in (
        (auc_influence, oracle.roc_auc_score),
        (precision_influence, oracle.average_precision_score),
    ):
        found, step = influence_of(scores, positive), 1e-5
        assert found.influence.sum() == pytest.approx(0, abs=1e-9)
        for row in range(0, 40, 7):
            weights = np.ones(40)
            weights[row] += step
            changed = (area(positive, scores, sample_weight=weights) - area(positive, scores)) / step
            assert found.influence[row] == pytest.approx(changed, abs=1e-4)


def test_average_precision_of_few_pictures_is_too_high_and_its_centre_hardly() -> None:
    random = np.random.default_rng(0)
    positive = np.arange(60) < 6
    drawn = [precision_influence(random.normal(size=60).astype(np.float32) + positive, positive) for _ in range(300)]
    many = np.arange(60_000) < 6_000
    truth = average_precision(random.normal(size=60_000).astype(np.float32) + many, many)
    too_high = float(np.mean([each.value for each in drawn])) - truth
    assert too_high > 0.05
    assert abs(float(np.mean([each.centre for each in drawn])) - truth) < too_high / 2


def test_two_classes_have_one_area_and_one_doubt() -> None:
    scores = rank_scores(predictions(60, classes=2, pull=1.0))
    first, macro = scores.roc_auc[0], scores.roc_averages.macro
    assert (macro.value, macro.interval.low, macro.interval.high) == pytest.approx(
        (first.value, first.interval.low, first.interval.high)
    )


def test_unlike_classes_together_leave_less_doubt_than_each() -> None:
    scores = rank_scores(predictions(200, classes=5, pull=1.0))
    for each, means in ((scores.roc_auc, scores.roc_averages), (scores.average_precision, scores.precision_averages)):
        assert means.macro.interval.width < 0.7 * np.mean([of_class.interval.width for of_class in each])


def test_drawn_curves_are_short_and_keep_their_ends_and_classes_without_pictures_have_none() -> None:
    found = predictions(3000, classes=3)
    wide = Predictions(
        probs=np.hstack([found.probs, np.zeros((3000, 1), np.float32)]),
        targets=found.targets,
        paths=found.paths,
        classes=(*found.classes, "absent"),
    )
    curves = class_curves(wide)
    assert [curve.name for curve in curves] == ["c0", "c1", "c2"]
    for curve in curves:
        assert len(curve.roc.x) <= 201
        assert (curve.roc.x[0], curve.roc.y[0], curve.roc.x[-1], curve.roc.y[-1]) == (0, 0, 1, 1)
        assert (np.diff(curve.roc.x) >= 0).all()
    assert rank_scores(wide).roc_auc[3] is None


def test_one_class_alone_has_no_curve_and_no_labels_are_refused() -> None:
    alone = Predictions(
        probs=np.ones((3, 1), np.float32), targets=np.zeros(3, np.int64), paths=("a", "b", "c"), classes=("x",)
    )
    assert rank_scores(alone).roc_averages is None
    with pytest.raises(DataError, match="no labels"):
        class_curves(Predictions(probs=alone.probs, targets=None, paths=alone.paths, classes=("x",)))


def test_a_mean_keeps_the_variance_of_each_class() -> None:
    """That of a class whose area is near a half is larger than that of an area at the mean."""
    random, rare = np.random.default_rng(0), np.arange(1000) < 110
    score = (random.normal(size=1000) + 1.5 * rare).astype(np.float32)
    positive = np.stack([rare, ~rare])
    areas = [precision_influence(score, rare), precision_influence(-score, ~rare)]
    assert areas[0].value < 0.7
    assert areas[1].value > 0.95
    mean = precision_interval(areas, precision_luck(areas, positive), weights=np.full(2, 0.5))
    error = float(np.sqrt(np.square((areas[0].influence + areas[1].influence) / 2).sum()))
    assert mean.high - mean.low > 2 * 1.96 * error
