"""Curves and areas equal scikit-learn's; their intervals are ordered and never a point."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.errors import DataError
from budwood.evaluation.area_intervals import auc_interval, mean_auc_interval
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rank_curves import (
    average_precision,
    class_curves,
    precision_recall_points,
    rank_scores,
    roc_auc,
    roc_points,
)


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
@given(st.floats(0, 1), st.integers(1, 500), st.integers(1, 500))
def test_an_area_s_interval_holds_it_and_is_no_point(area: float, positives: int, negatives: int) -> None:
    found = auc_interval(area, positives=positives, negatives=negatives)
    assert 0 <= found.low <= area <= found.high <= 1
    assert found.width > 1e-4


def test_a_perfect_order_of_few_pictures_leaves_doubt_and_more_pictures_leave_less() -> None:
    few, many = (auc_interval(1.0, positives=n, negatives=n) for n in (4, 400))
    assert few.low < 0.75
    assert many.low > 0.98
    assert few.high == many.high == 1


def test_newcombes_interval_agrees_with_the_normal_one_where_that_holds() -> None:
    # 1,000 pictures of either kind, area .8: Hanley and McNeil's standard error is .0099
    found = auc_interval(0.8, positives=1000, negatives=1000)
    assert found.low == pytest.approx(0.8 - 1.96 * 0.0099, abs=0.002)
    assert found.high == pytest.approx(0.8 + 1.96 * 0.0099, abs=0.002)


def test_two_classes_have_one_area_and_one_doubt() -> None:
    scores = rank_scores(predictions(60, classes=2, pull=1.0))
    first = scores.roc_auc[0]
    for mean in (scores.roc_averages.macro, scores.roc_averages.weighted):
        assert (mean.value, mean.interval.low, mean.interval.high) == pytest.approx(
            (first.value, first.interval.low, first.interval.high)
        )


def test_unlike_classes_together_leave_less_doubt_than_each_and_perfect_order_leaves_some() -> None:
    sizes, alike = np.full(4, 6.0), np.full(4, 0.25)
    one = auc_interval(1.0, positives=6, negatives=18)
    both = mean_auc_interval(1.0, positives=sizes, negatives=3 * sizes, weights=alike, together=np.eye(4))
    same = mean_auc_interval(1.0, positives=sizes, negatives=3 * sizes, weights=alike, together=np.ones((4, 4)))
    assert one.low < both.low < 0.97
    assert same.low == pytest.approx(one.low)


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
