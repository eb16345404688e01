"""Weights, draws, repeats, synthetic rows and offsets: what they promise, against scikit-learn where it knows them."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from budwood.augment.balance import (
    BalanceSpec,
    class_counts,
    class_weights,
    effective_number_weights,
    logit_offsets,
    oversampling_indices,
    sampled_indices,
    smote,
    wanted_counts,
)
from budwood.errors import UsageError

COUNTS = np.array([40, 10, 0, 25])
TARGETS = np.repeat([0, 1, 3], [40, 10, 25])
numbers = st.lists(st.integers(0, 60), min_size=2, max_size=6).filter(lambda values: sum(values) > 0)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_class_weights_are_scikit_learns_balanced_ones() -> None:
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=TARGETS)
    found = class_weights(COUNTS, strength=1)
    np.testing.assert_allclose(found[[0, 1, 3]], expected)
    assert found[2] == 0


@settings(max_examples=30, deadline=None)
@given(values=numbers, strength=st.floats(0, 1))
def test_weights_average_one_over_the_pictures(values: list[int], strength: float) -> None:
    counts = np.array(values)
    for weights in (class_weights(counts, strength=strength), effective_number_weights(counts)):
        assert (weights * counts).sum() == pytest.approx(counts.sum())
        assert (weights[counts > 0] > 0).all()


@settings(max_examples=30, deadline=None)
@given(values=numbers)
def test_strength_goes_from_nothing_to_equal_classes(values: list[int]) -> None:
    counts = np.array(values)
    np.testing.assert_allclose(wanted_counts(counts, strength=0), counts)
    np.testing.assert_allclose(wanted_counts(counts, strength=1)[counts > 0], counts.max())
    half = wanted_counts(counts, strength=0.5)
    np.testing.assert_allclose(half, np.sqrt(counts * counts.max()))


def test_effective_numbers_lie_between_no_weights_and_balanced_ones() -> None:
    # the paper's limits: beta 0 weighs nothing, beta near 1 weighs by the inverse frequency
    present = COUNTS > 0
    np.testing.assert_allclose(effective_number_weights(COUNTS, beta=0)[present], 1)
    near = effective_number_weights(COUNTS, beta=1 - 1e-9)
    np.testing.assert_allclose(near, class_weights(COUNTS, strength=1), rtol=1e-5)
    ratio = (1 - 0.9**40) / (1 - 0.9**10)
    found = effective_number_weights(COUNTS, beta=0.9)
    assert found[1] / found[0] == pytest.approx(ratio)


def test_a_weighted_draw_has_the_size_of_the_set_and_balanced_classes() -> None:
    drawn = sampled_indices(np.tile(TARGETS, 100), num_classes=4, strength=1, generator=generator())
    assert len(drawn) == 7500
    shares = class_counts(np.tile(TARGETS, 100)[drawn], num_classes=4) / 7500
    np.testing.assert_allclose(shares[[0, 1, 3]], 1 / 3, atol=0.02)
    assert len(np.unique(drawn)) < 7500  # with replacement


def test_a_weighted_draw_is_the_class_weights_on_average() -> None:
    drawn = [sampled_indices(TARGETS, num_classes=4, strength=1, generator=generator(s)) for s in range(600)]
    mean = np.mean([np.bincount(d, minlength=75) for d in drawn], axis=0)
    expected = class_weights(COUNTS, strength=1)[TARGETS]
    for k in (0, 1, 3):
        assert mean[k == TARGETS].mean() == pytest.approx(expected[k == TARGETS][0], rel=0.03)


@settings(max_examples=30, deadline=None)
@given(values=numbers, strength=st.floats(0, 1), seed=st.integers(0, 99))
def test_oversampling_keeps_all_and_repeats_evenly_up_to_the_wanted_number(
    values: list[int], strength: float, seed: int
) -> None:
    targets = np.repeat(np.arange(len(values)), values)
    chosen = oversampling_indices(targets, num_classes=len(values), strength=strength, generator=generator(seed))
    times = np.bincount(chosen, minlength=len(targets))
    assert times.min() >= 1
    found = class_counts(targets[chosen], num_classes=len(values))
    assert found.tolist() == np.rint(wanted_counts(np.array(values), strength=strength)).astype(int).tolist()
    for k in range(len(values)):
        own = times[targets == k]
        assert not len(own) or own.max() - own.min() <= 1


def test_smote_fills_each_class_with_points_between_two_of_its_own() -> None:
    pytest.importorskip("imblearn")
    rows = generator().normal(size=(75, 2)).astype(np.float32) + 100 * TARGETS[:, None]
    made, labels = smote(rows, TARGETS, wanted=wanted_counts(COUNTS, strength=1), seed=3)
    assert class_counts(labels, num_classes=4).tolist() == [0, 30, 0, 15]
    for row, label in zip(made, labels, strict=True):
        own = rows[label == TARGETS].astype(np.float64)
        a, b = own[:, None], own[None]
        # the distance to a plus the distance to b is the distance from a to b
        detour = np.linalg.norm(row - a, axis=-1) + np.linalg.norm(row - b, axis=-1) - np.linalg.norm(a - b, axis=-1)
        np.fill_diagonal(detour, np.inf)
        assert detour.min() < 1e-4


def test_smote_is_fixed_by_its_seed() -> None:
    pytest.importorskip("imblearn")
    rows = generator().normal(size=(75, 6)).astype(np.float32)
    wanted = wanted_counts(COUNTS, strength=1)
    first, _ = smote(rows, TARGETS, wanted=wanted, seed=3)
    np.testing.assert_array_equal(first, smote(rows, TARGETS, wanted=wanted, seed=3)[0])
    assert (first != smote(rows, TARGETS, wanted=wanted, seed=4)[0]).any()


@pytest.mark.parametrize("rare", [1, 2, 3], ids=["one", "two", "three"])
def test_smote_of_a_class_with_hardly_any_rows(rare: int) -> None:
    pytest.importorskip("imblearn")
    targets = np.repeat([0, 1], [20, rare])
    rows = generator().normal(size=(20 + rare, 4)).astype(np.float32)
    made, labels = smote(rows, targets, wanted=np.array([20.0, 20.0]), seed=0)
    assert len(made) == len(labels) == (20 - rare if rare > 1 else 0)  # one row has no neighbour


def test_smote_without_imbalanced_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "imblearn":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.split(".")[0] == "imblearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=r"budwood\[balance\]"):
        smote(np.zeros((4, 2), np.float32), np.array([0, 0, 1, 1]), wanted=np.array([2.0, 5.0]), seed=0)


def test_logit_offsets_divide_the_probabilities_by_the_shares() -> None:
    counts = np.array([60, 30, 10])
    probs = np.array([0.6, 0.3, 0.1])  # what a head says that has learnt the frequencies only
    shifted = np.exp(np.log(probs) + logit_offsets(counts, strength=1))
    np.testing.assert_allclose(shifted / shifted.sum(), 1 / 3)
    assert not logit_offsets(counts, strength=0).any()
    assert np.isfinite(logit_offsets(np.array([5, 0]), strength=1)).all()


def test_settings_of_balance_are_checked() -> None:
    assert BalanceSpec().method == "none"
    with pytest.raises(ValidationError):
        BalanceSpec.model_validate({"method": "magic"})
    with pytest.raises(ValidationError):
        BalanceSpec(strength=1.5)
    with pytest.raises(ValidationError):
        BalanceSpec.model_validate({"power": 1})
