"""The cost of leaking: copies across parts pay, a guarded split does not, and unrelated pictures cost nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from budwood.errors import SplitError
from budwood.events import Event, StepAdvanced
from budwood.leakage import LeakageCost, cost_of_leaking
from budwood.train import heads

SEEDS = range(4)


def noise(num: int, *, copies: int, views: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Features that say nothing of the label; the last ``copies`` pictures repeat the first ones. Views alike too."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(num - copies, 96)).astype(np.float32)
    targets = generator.integers(0, 2, num - copies)
    features = np.concatenate([base, base[:copies]])
    targets = np.concatenate([targets, targets[:copies]])
    shift = 0.05 * generator.normal(size=(views, num, 96)).astype(np.float32)
    return features[None] + shift, targets, [[i, num - copies + i] for i in range(copies)]


def cost(num: int, *, copies: int, views: int = 1) -> LeakageCost:
    features, targets, groups = noise(num, copies=copies, views=views)
    return cost_of_leaking(features, targets, groups=groups, seeds=SEEDS, penalty=1e-3)


def test_copies_make_a_random_split_promise_what_is_not_there() -> None:
    found = cost(200, copies=100).random
    assert found.leaking > 0.7
    assert 0.3 < found.guarded < 0.65  # the labels are coin tosses
    assert found.difference == pytest.approx(found.leaking - found.guarded)
    assert found.interval.low > 0
    assert found.num_test == 40
    assert 20 < found.with_copy < 40


def test_without_copies_nothing_is_taken_out_and_nothing_is_gained() -> None:
    found = cost(200, copies=0)
    assert found.random.with_copy == 0
    assert found.random.difference == 0
    assert (found.num_groups, found.augmented) == (0, None)


def test_copies_made_before_the_split_pay_even_where_no_picture_is_repeated() -> None:
    found = cost(160, copies=0, views=4).augmented
    assert found is not None
    assert found.num_test == 4 * 32
    assert found.with_copy > 0.9 * found.num_test
    assert found.leaking > 0.9
    assert found.guarded < 0.65


def test_a_single_seed_has_no_interval_worth_the_name() -> None:
    features, targets, groups = noise(60, copies=10)
    found = cost_of_leaking(features, targets, groups=groups, seeds=[0], penalty=1e-2).random
    assert (found.interval.low, found.interval.high) == (-1, 1)
    assert math.isfinite(found.difference)


def test_the_penalty_is_chosen_where_none_is_given_and_each_seed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets, groups = noise(90, copies=10)
    heard: list[Event] = []
    spec = heads.HeadSpec(penalties=(0.1, 1.0), folds=3)
    monkeypatch.setattr("budwood.leakage.HeadSpec", lambda folds: spec)
    cost_of_leaking(features, targets, groups=groups, seeds=SEEDS, listen=heard.append)
    assert sum(isinstance(event, StepAdvanced) and event.step == "leakage" for event in heard) == len(SEEDS)


def test_a_class_that_cannot_be_divided_is_refused() -> None:
    features, targets, _ = noise(60, copies=0)
    targets[:] = 0
    targets[:3] = 1
    with pytest.raises(SplitError, match='class "1" has 3 pictures, 1 of them distinct'):
        cost_of_leaking(features, targets, groups=[[0, 1, 2]], seeds=SEEDS)
