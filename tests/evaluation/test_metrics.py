"""scikit-learn is the oracle."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.errors import DataError
from budwood.evaluation import metrics
from budwood.evaluation.intervals import wilson
from budwood.evaluation.predictions import Predictions


def predictions_of(targets: list[int] | np.ndarray, probs: np.ndarray) -> Predictions:
    return Predictions(
        probs=np.asarray(probs, dtype=np.float32),
        targets=np.asarray(targets, dtype=np.int64),
        paths=tuple(f"{i}.png" for i in range(len(probs))),
        classes=tuple(f"c{k}" for k in range(np.shape(probs)[1])),
    )


def sure(targets: list[int], answers: list[int], num_classes: int) -> Predictions:
    return predictions_of(targets, np.eye(num_classes)[answers])


@st.composite
def labelled(draw: st.DrawFn) -> Predictions:
    num_classes, rows = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    probs = random.dirichlet(np.full(num_classes, draw(st.sampled_from([0.2, 1.0, 5.0]))), size=rows)
    return predictions_of(random.integers(0, num_classes, rows), probs)


@settings(deadline=None)
@given(labelled())
def test_confusion_accuracy_and_per_class_equal_scikit_learn(found: Predictions) -> None:
    truth, answers, labels = found.targets, found.predicted, range(len(found.classes))
    assert (metrics.confusion_matrix(found) == oracle.confusion_matrix(truth, answers, labels=labels)).all()
    assert metrics.accuracy(found) == pytest.approx(oracle.accuracy_score(truth, answers))
    ours = metrics.per_class(found)
    theirs = oracle.precision_recall_fscore_support(truth, answers, labels=labels, zero_division=0)
    for a, b in zip((ours.precision, ours.recall, ours.f1, ours.support), theirs, strict=True):
        np.testing.assert_allclose(a, b)


@settings(deadline=None)
@given(labelled())
def test_averages_equal_scikit_learn(found: Predictions) -> None:
    truth, answers = found.targets, found.predicted
    # scikit-learn warns of answers outside of the classes seen, and then leaves those classes out.
    recall = oracle.recall_score(truth, answers, labels=np.unique(truth), average="macro", zero_division=0)
    assert metrics.balanced_accuracy(found) == pytest.approx(recall)
    f1 = oracle.f1_score(truth, answers, average="macro", zero_division=0)
    assert metrics.macro_f1(found) == pytest.approx(f1)


@settings(deadline=None)
@given(labelled())
def test_probability_scores_equal_scikit_learn(found: Predictions) -> None:
    labels = list(range(len(found.classes)))
    # scikit-learn wants rows that sum to 1 in their own precision
    probs = found.probs.astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    floor = np.clip(probs, np.finfo(np.float32).eps, 1)
    floor /= floor.sum(axis=1, keepdims=True)
    assert metrics.log_loss(found) == pytest.approx(oracle.log_loss(found.targets, floor, labels=labels), abs=1e-4)
    theirs = oracle.brier_score_loss(found.targets, probs, labels=labels, scale_by_half=False)
    assert metrics.brier(found) == pytest.approx(theirs, abs=1e-5)


@settings(deadline=None)
@given(labelled(), st.integers(1, 5))
def test_top_k_equals_scikit_learn(found: Predictions, k: int) -> None:
    num_classes = len(found.classes)
    if num_classes == 2 or k >= num_classes:
        expected = metrics.accuracy(found) if k == 1 else 1.0
    else:
        expected = oracle.top_k_accuracy_score(found.targets, found.probs, k=k, labels=range(num_classes))
    assert metrics.top_k_accuracy(found, k=k) == pytest.approx(expected)


@given(labelled())
@settings(max_examples=25, deadline=None)
def test_macro_weighted_and_micro_averages_equal_scikit_learn(found: Predictions) -> None:
    truth, answers = found.targets, found.predicted
    ours = metrics.summarise(found, resamples=2)
    for average in ("macro", "weighted"):
        theirs = oracle.precision_recall_fscore_support(truth, answers, average=average, zero_division=0)[:3]
        for name, value in zip(("precision", "recall", "f1"), theirs, strict=True):
            assert getattr(ours.averages, f"{average}_{name}").value == pytest.approx(value)
    micro = oracle.precision_recall_fscore_support(truth, answers, average="micro", zero_division=0)[:3]
    assert list(micro) == pytest.approx([ours.accuracy.value] * 3)


def numbers(values: object) -> list[float]:
    """All numbers in nested values, in order."""
    if isinstance(values, dict):
        return [number for each in values.values() for number in numbers(each)]
    if isinstance(values, list | tuple):
        return [number for each in values for number in numbers(each)]
    return [float(values)] if isinstance(values, int | float) else []


@given(labelled())
@settings(max_examples=20, deadline=None)
def test_no_score_and_no_interval_depends_on_the_order_of_the_pictures(found: Predictions) -> None:
    assert found.targets is not None
    order = np.random.default_rng(0).permutation(len(found))
    turned = predictions_of(found.targets[order], found.probs[order])
    a, b = metrics.summarise(found, resamples=20).to_dict(), metrics.summarise(turned, resamples=20).to_dict()
    assert numbers(a) == pytest.approx(numbers(b), abs=1e-9)


@given(labelled())
@settings(max_examples=30, deadline=None)
def test_every_interval_is_ordered_and_holds_its_value(found: Predictions) -> None:
    summary = metrics.summarise(found, resamples=30)
    averages = [getattr(summary.averages, name) for name in summary.averages.__dataclass_fields__]
    shares = [summary.accuracy, summary.balanced_accuracy, *averages, *(each for _, each in summary.probabilities.top)]
    for row in summary.per_class:
        # of a class that was never predicted (or has no picture) nothing is known, and its 0 is a convention
        shares += [row.recall] * (row.support > 0) + [row.precision] * (row.num_predicted > 0)
        shares += [each for each in (row.roc_auc, row.average_precision) if each]
    for several in (summary.roc_auc, summary.average_precision):
        shares += [several.macro, several.weighted, several.micro] if several else []
    for estimate in shares:
        assert 0 <= estimate.interval.low <= estimate.interval.high <= 1 + 1e-9
        assert estimate.interval.low - 1e-9 <= estimate.value <= estimate.interval.high + 1e-9
    for loss in (summary.probabilities.log_loss, summary.probabilities.brier):
        assert loss.interval.low - 1e-9 <= loss.value <= loss.interval.high + 1e-9


def test_accuracy_carries_the_wilson_interval() -> None:
    summary = metrics.summarise(sure([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], 2))
    assert summary.accuracy.value == 0.8
    assert summary.accuracy.interval == wilson(4, 5)
    assert summary.per_class[0].recall.interval == wilson(2, 3)
    assert summary.per_class[1].precision.interval == wilson(2, 3)


def test_intervals_do_not_shrink_to_a_point_when_all_is_right() -> None:
    summary = metrics.summarise(sure([0, 0, 1, 1], [0, 0, 1, 1], 2))
    for estimate in (summary.balanced_accuracy, summary.macro_f1, summary.per_class[0].f1):
        assert estimate.value == 1
        assert estimate.interval.low < 0.6


def test_a_class_without_pictures_is_left_out_of_the_means() -> None:
    found = sure([0, 0, 1, 1], [0, 0, 1, 0], 3)
    assert metrics.balanced_accuracy(found) == pytest.approx(0.75)
    assert metrics.macro_f1(found) == pytest.approx((0.8 + 2 / 3) / 2)
    absent = metrics.summarise(found).per_class[2]
    assert (absent.support, absent.f1.value, absent.f1.interval.width) == (0, 0, 1)


def test_a_sure_and_wrong_answer_has_a_finite_log_loss() -> None:
    assert metrics.log_loss(sure([0], [1], 2)) == pytest.approx(-np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize(
    ("probs", "targets", "expected"),
    [
        pytest.param([[1.0, 0.0], [1.0, 0.0]], [0, 0], 0.0, id="sure and right"),
        pytest.param([[1.0, 0.0], [1.0, 0.0]], [1, 1], 1.0, id="sure and wrong"),
        pytest.param([[0.75, 0.25]] * 4, [0, 0, 0, 1], 0.0, id="right as often as it says"),
        pytest.param([[0.75, 0.25]] * 4, [0, 0, 1, 1], 0.25, id="too sure of itself"),
    ],
)
def test_calibration_error_is_the_gap_to_the_stated_confidence(
    probs: list[list[float]], targets: list[int], expected: float
) -> None:
    found = predictions_of(targets, np.array(probs))
    assert metrics.expected_calibration_error(found) == pytest.approx(expected, abs=1e-6)


def test_pairs_name_the_commonest_confusion_first() -> None:
    found = sure([0] * 5 + [1] * 4, [0, 1, 1, 2, 1, 1, 1, 1, 0], 3)
    pairs = metrics.confused_pairs(metrics.summarise(found, resamples=5))
    assert [str(pair) for pair in pairs] == [
        "c0 is taken for c1 3 of 5 times",
        "c1 is taken for c0 1 of 4 times",
        "c0 is taken for c2 1 of 5 times",
    ]
    assert len(metrics.confused_pairs(metrics.summarise(found, resamples=5), limit=1)) == 1


def test_summary_is_json_and_the_same_for_the_same_seed() -> None:
    found = sure([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], 3)
    text = json.dumps(metrics.summarise(found, seed=3).to_dict(), allow_nan=False)
    assert text == json.dumps(metrics.summarise(found, seed=3).to_dict())
    assert json.loads(text)["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_predictions_without_labels_cannot_be_scored() -> None:
    bare = Predictions(probs=np.ones((1, 1), np.float32), targets=None, paths=("a",), classes=("x",))
    with pytest.raises(DataError, match="no labels"):
        metrics.summarise(bare)


def test_no_pictures_cannot_be_scored() -> None:
    with pytest.raises(DataError, match="at least one"):
        metrics.accuracy(predictions_of([], np.zeros((0, 2))))


def test_top_k_refuses_k_below_1() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        metrics.top_k_accuracy(sure([0], [0], 2), k=0)
