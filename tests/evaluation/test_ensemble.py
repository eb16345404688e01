"""Joining answers: rows sum to 1, ties are broken as written, what is written comes back, what does not fit is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.evaluation.ensemble import Combine, combine


def tables(members: int, pictures: int, classes: int, *, seed: int = 0) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.full(classes, 0.4), size=(members, pictures)).astype(np.float32)


def way(method: str, members: int, classes: int, *, seed: int) -> Combine:
    generator = np.random.default_rng(seed)
    if method == "weighted":
        weights = generator.dirichlet(np.ones(members))
        return Combine(method="weighted", weights=tuple(float(w) for w in weights))
    if method == "stacking":
        coef = generator.normal(size=(classes, members * classes))
        rows = tuple(tuple(float(c) for c in row) for row in coef)
        return Combine(method="stacking", coef=rows, intercept=tuple(float(c) for c in generator.normal(size=classes)))
    return Combine(method=method)  # type: ignore[arg-type]


METHODS = ("mean", "weighted", "vote", "logit-mean", "stacking")


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(METHODS), st.integers(1, 5), st.integers(0, 6), st.integers(1, 5), st.integers(0, 10**6))
def test_rows_sum_to_one_and_the_way_survives_json(
    method: str, members: int, pictures: int, classes: int, seed: int
) -> None:
    how = way(method, members, classes, seed=seed)
    given_probs = tables(members, pictures, classes, seed=seed)
    joined = combine(given_probs, how)
    assert joined.shape == (pictures, classes)
    assert joined.dtype == np.float32
    assert (joined >= 0).all()
    np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-5)
    again = Combine.from_dict(json.loads(json.dumps(how.to_dict())))
    assert again == how


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(("mean", "vote", "logit-mean")), st.integers(0, 10**6))
def test_the_order_of_members_and_pictures_does_not_matter(method: str, seed: int) -> None:
    given_probs = tables(4, 7, 3, seed=seed)
    generator = np.random.default_rng(seed)
    members, pictures = generator.permutation(4), generator.permutation(7)
    joined = combine(given_probs, Combine(method=method))  # type: ignore[arg-type]
    shuffled = combine(given_probs[members][:, pictures], Combine(method=method))  # type: ignore[arg-type]
    np.testing.assert_allclose(shuffled, joined[pictures], atol=1e-6)


def test_mean_weighted_and_logit_mean_are_what_they_say() -> None:
    two = np.array([[[0.8, 0.2]], [[0.5, 0.5]]], dtype=np.float32)
    np.testing.assert_allclose(combine(two, Combine()), [[0.65, 0.35]], atol=1e-6)
    weighted = Combine(method="weighted", weights=(0.9, 0.1))
    np.testing.assert_allclose(combine(two, weighted), [[0.77, 0.23]], atol=1e-6)
    geometric = np.sqrt([0.8 * 0.5, 0.2 * 0.5])
    np.testing.assert_allclose(combine(two, Combine(method="logit-mean"))[0], geometric / geometric.sum(), atol=1e-6)


def test_stacking_of_identity_weights_is_the_product() -> None:
    two = np.array([[[0.8, 0.2]], [[0.6, 0.4]]], dtype=np.float32)
    how = Combine(method="stacking", coef=((1.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 1.0)), intercept=(0.0, 0.0))
    np.testing.assert_allclose(combine(two, how), [[0.48 / 0.56, 0.08 / 0.56]], atol=1e-6)


def test_a_vote_without_a_tie_gives_the_shares_of_votes() -> None:
    three = np.array([[[0.9, 0.1, 0.0]], [[0.6, 0.4, 0.0]], [[0.0, 0.0, 1.0]]], dtype=np.float32)
    np.testing.assert_allclose(combine(three, Combine(method="vote")), [[2 / 3, 0, 1 / 3]], atol=1e-6)


def test_a_tie_goes_to_the_class_with_the_higher_mean_probability_and_beats_no_other_votes() -> None:
    # two votes for a, two for b, one for c; b has the higher mean
    five = np.array([[[0.6, 0.4, 0]], [[0.6, 0.4, 0]], [[0, 1, 0]], [[0, 1, 0]], [[0.2, 0.2, 0.6]]], dtype=np.float32)
    joined = combine(five, Combine(method="vote"))[0]
    assert list(np.argsort(-joined)) == [1, 0, 2]
    swapped = combine(five[:, :, [1, 0, 2]], Combine(method="vote"))[0]
    assert list(np.argsort(-swapped)) == [0, 1, 2], "the rule is about probabilities, not about the order of classes"


def test_a_tie_of_equal_means_goes_to_the_first_class() -> None:
    two = np.array([[[0.3, 0.7]], [[0.7, 0.3]]], dtype=np.float32)
    joined = combine(two, Combine(method="vote"))[0]
    assert joined[0] > joined[1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"method": "median"}, "no way 'median'", id="unknown"),
        pytest.param({"method": "weighted"}, "weights belong", id="no weights"),
        pytest.param({"method": "mean", "weights": [1.0]}, "weights belong", id="weights for the mean"),
        pytest.param({"method": "weighted", "weights": [0.7, 0.7]}, "sum to 1", id="too much weight"),
        pytest.param({"method": "weighted", "weights": [1.5, -0.5]}, "not be negative", id="negative weight"),
        pytest.param({"method": "weighted", "weights": ["a"]}, "no list of numbers", id="text"),
        pytest.param({"method": "weighted", "weights": [float("nan")]}, "sum to 1", id="not a number"),
        pytest.param({"method": "stacking"}, "coef and intercept", id="no layer"),
        pytest.param(
            {"method": "stacking", "stacking": {"coef": [[1.0], [1.0]], "intercept": [0.0, 0.0]}},
            "as long as members times classes",
            id="too narrow",
        ),
        pytest.param({"method": "mean", "more": 1}, "expected a table", id="unknown key"),
        pytest.param([1], "expected a table", id="no table"),
        pytest.param({"method": ["mean"]}, "no way", id="method is a list"),
        pytest.param({"method": "stacking", "stacking": {"coef": 3}}, "no list of rows", id="rows are a number"),
    ],
)
def test_what_is_no_way_to_join_is_refused(values: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Combine.from_dict(values)


def test_a_way_for_other_members_or_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 weights for 3 members"):
        combine(tables(3, 2, 2), Combine(method="weighted", weights=(0.5, 0.5)))
    with pytest.raises(ValueError, match="3 members and 2 classes need 2 x 6"):
        combine(tables(3, 2, 2), way("stacking", 2, 2, seed=0))
    with pytest.raises(ValueError, match=r"expected probabilities \[M, N, K\]"):
        combine(tables(3, 2, 2)[0], Combine())
