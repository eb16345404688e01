"""Trivial answers: as scikit-learn's dummy gives them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier

from budwood.evaluation.baselines import all_zero_input, majority_class
from budwood.evaluation.intervals import wilson
from budwood.evaluation.predictions import Predictions
from budwood.train.heads import fit_head

CLASSES = ("ash", "birch", "cedar", "oak")


def judged(targets: list[int] | None, size: int = 0) -> Predictions:
    rows = len(targets) if targets is not None else size
    return Predictions(
        probs=np.full((rows, 4), 0.25, np.float32),
        targets=None if targets is None else np.array(targets, dtype=np.int64),
        paths=tuple(str(i) for i in range(rows)),
        classes=CLASSES,
    )


labels = st.lists(st.integers(0, 3), min_size=1, max_size=60)


@settings(deadline=None)
@given(train=labels, test=labels)
def test_majority_equals_scikit_learns_dummy(train: list[int], test: list[int]) -> None:
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(train), 1)), train)
    expected = dummy.score(np.zeros((len(test), 1)), test)
    score = majority_class(np.array(train, dtype=np.int64), judged(test))
    assert score.accuracy == pytest.approx(expected)
    assert score.interval == wilson(round(expected * len(test)), len(test))
    assert CLASSES[dummy.predict([[0]])[0]] in score.sentence


@settings(max_examples=15, deadline=None)
@given(train=st.lists(st.integers(0, 3), min_size=4, max_size=60), test=labels)
def test_head_on_black_pictures_is_no_better_than_the_majority(train: list[int], test: list[int]) -> None:
    targets = np.array(train, dtype=np.int64)
    features = np.full((1, len(train), 5), 0.7, np.float32)
    weight, bias = fit_head(features, targets, num_classes=4, penalty=1e-2)
    logits = features[0, 0] @ weight.T + bias
    probs = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(probs, np.bincount(targets, minlength=4) / len(train), atol=5e-3)
    zero = all_zero_input(targets, judged(test), probs.astype(np.float32))
    counts = np.bincount(targets, minlength=4)
    if (counts == counts.max()).sum() == 1:  # a tie may go either way
        assert zero.accuracy == majority_class(targets, judged(test)).accuracy


def test_baseline_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="labelled"):
        majority_class(np.array([0, 1]), judged(None, 3))


def test_score_is_plain_values_for_json() -> None:
    values = majority_class(np.array([1, 1, 0]), judged([1, 0, 1, 2])).to_dict()
    assert values["name"] == "majority class"
    assert values["accuracy"] == 0.5
