"""The range test on bowls, where the rate at which steps explode is known: 2 over the curvature."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from budwood.errors import SettingsError
from budwood.train.range_test import RangeTest, range_test

NUM_NOISY = 50


def bowl(curvature: float, *, noise: float = 0.0, seed: int = 0) -> Callable[[float], float]:
    """Steps of gradient descent from 1 on half the curvature times the square, with noise on what is measured."""
    weight = 1.0
    random = np.random.default_rng(seed)

    def step(rate: float) -> float:
        nonlocal weight
        loss = 0.5 * curvature * weight**2
        weight -= rate * curvature * weight
        return loss + abs(noise * random.normal())

    return step


def like_a_network(seed: int, *, fall: float = 0.9) -> Callable[[float], float]:
    """A loss of 2 that falls around a rate of 1e-3, soars above .1, and shakes by .3 from batch to batch."""
    random = np.random.default_rng(seed)

    def step(rate: float) -> float:
        return 2 - fall / (1 + (1e-3 / rate) ** 1.5) + 20 * max(0.0, rate - 0.1) + 0.3 * random.normal()

    return step


def descend(curvature: float, rate: float) -> float:
    step = bowl(curvature)
    return [step(rate) for _ in range(3000)][-1]


@pytest.mark.parametrize("curvature", [3, 12, 120, 1200, 12_000])
def test_the_suggested_rate_learns_and_does_not_explode(curvature: float) -> None:
    found = range_test(bowl(curvature))
    assert found.suggestion is not None
    assert found.suggestion < 2 / curvature
    assert found.suggestion > 0.01 / curvature
    assert descend(curvature, found.suggestion) < 1e-9 * curvature


@pytest.mark.parametrize("curvature", [120, 1200, 12_000])
def test_the_rate_of_the_explosion_explodes(curvature: float) -> None:
    found = range_test(bowl(curvature))
    assert found.diverged_at is not None
    assert 2 / curvature < found.diverged_at < 100 / curvature
    assert descend(curvature, 2.01 / curvature) > 1  # and the limit is where it is said to be


def test_a_bowl_ten_times_as_steep_gets_a_tenth_of_the_rate() -> None:
    flat, steep = range_test(bowl(120)), range_test(bowl(1200), low=1e-7, high=0.1)
    assert steep.suggestion == pytest.approx(flat.suggestion / 10)
    assert steep.diverged_at == pytest.approx(flat.diverged_at / 10)


def test_the_test_ends_at_the_explosion() -> None:
    asked: list[float] = []
    step = bowl(1200)

    def counted(rate: float) -> float:
        asked.append(rate)
        return step(rate)

    found = range_test(counted)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == len(asked) < 100
    assert found.diverged_at == asked[-1] == found.rates[-1]


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_test_and_is_left_out(end: float) -> None:
    found = range_test(lambda rate: end if rate > 0.01 else 2 - 100 * rate)
    assert np.isfinite(found.losses).all()
    assert found.rates[-1] <= 0.01 < found.diverged_at
    assert len(found.losses) < 100


def test_without_an_explosion_all_rates_are_tried() -> None:
    found = range_test(bowl(1), low=1e-5, high=0.5, steps=40)
    assert found.diverged_at is None
    assert len(found.rates) == 40
    assert (found.rates[0], found.rates[-1]) == pytest.approx((1e-5, 0.5))
    assert np.diff(np.log(found.rates)) == pytest.approx(math.log(5e4) / 39)


def test_a_loss_far_above_its_lowest_but_below_its_start_is_no_explosion() -> None:
    found = range_test(lambda rate: 2.0 if rate < 1e-4 else 0.05 if rate < 1e-2 else 0.8)
    assert found.diverged_at is None
    assert len(found.rates) == 100


@pytest.mark.parametrize("seed", range(NUM_NOISY))
def test_noise_moves_the_suggestion_within_its_decades(seed: int) -> None:
    found = range_test(like_a_network(seed))
    assert found.suggestion is not None
    assert 1e-4 < found.suggestion < 0.01
    assert found.diverged_at is None or found.diverged_at > 0.1


def test_noise_alone_suggests_nothing() -> None:
    found = [range_test(like_a_network(seed, fall=0.0)) for seed in range(NUM_NOISY)]
    assert sum(result.suggestion is not None for result in found) <= 2
    assert {result.rule for result in found if result.suggestion is None} == {"none: the loss did not fall"}


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    found = range_test(lambda rate: 1 + rate)
    assert (found.suggestion, found.steepest, found.lowest) == (None, None, None)


def test_the_suggestion_is_the_lower_of_its_two_rules() -> None:
    def found_with(width: float) -> RangeTest:
        return range_test(lambda rate: 2 - 1 / (1 + (1e-3 / rate) ** width) + 50 * max(0.0, rate - 0.02))

    wide, narrow = found_with(1.0), found_with(8.0)
    assert (wide.rule, wide.suggestion) == ("steepest fall", wide.steepest) or wide.suggestion == wide.lowest / 10
    for found in (wide, narrow):
        assert found.suggestion == min(found.steepest, found.lowest / 10)
    sharp = range_test(lambda rate: 1.0 if 3e-3 < rate < 6e-3 else 2.0 + 100 * max(0.0, rate - 6e-3))
    assert sharp.rule == "a tenth of the lowest loss's rate"
    assert sharp.suggestion == sharp.lowest / 10 < sharp.steepest


def test_the_steepest_fall_is_not_moved_by_the_smoothing() -> None:
    # A fall that is symmetric on the logarithm of the rate, around 1e-3.
    found = range_test(lambda rate: 2 - 1 / (1 + (1e-3 / rate) ** 2), high=0.1)
    assert found.steepest == pytest.approx(1e-3, rel=0.15)


def test_an_explosion_does_not_hide_the_lowest_loss() -> None:
    losses = [2.0] * 40 + list(np.linspace(2, 0.5, 40)) + [1e6] * 20
    found = range_test(lambda rate: losses.pop(0))
    assert found.lowest == pytest.approx(np.geomspace(1e-6, 1, 100)[79], rel=0.6)


@pytest.mark.parametrize(
    "wrong", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"steps": 5}, {"smoothing": 0.0}], ids=lambda wrong: str(wrong)
)
def test_settings_that_make_no_test_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="a range test rises from a low rate"):
        range_test(bowl(1), **wrong)


def test_a_network_that_is_broken_from_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="first loss is not finite"):
        range_test(lambda rate: math.nan)
