"""Several seeds on the same pictures: the interval is Student's of whatever of the two lucks outweighs the other."""

from __future__ import annotations

import numpy as np
import pytest

from budwood.evaluation.crossed import SeedLuck, crossed_interval


def test_seeds_whose_luck_outweighs_the_pictures_have_students_interval_of_their_means() -> None:
    values = np.array([[0.2], [0.4], [0.9]]) + 1e-4 * np.random.default_rng(0).normal(size=(3, 1000))
    found = crossed_interval(values)
    half = 4.302653 * np.array([0.2, 0.4, 0.9]).std(ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-3)


def test_one_seed_has_the_interval_of_its_pictures() -> None:
    values = np.random.default_rng(0).normal(size=(1, 400))
    half = 1.96593 * values.std(ddof=1) / 20
    assert crossed_interval(values).width == pytest.approx(2 * half, rel=1e-4)


def test_seeds_that_answer_alike_are_as_sure_as_one_of_them() -> None:
    one = np.random.default_rng(1).normal(size=(1, 300))
    many = crossed_interval(np.repeat(one, 4, axis=0))
    assert (many.low, many.high) == pytest.approx((crossed_interval(one).low, crossed_interval(one).high))


def test_what_is_each_seed_s_own_on_each_picture_is_counted_once() -> None:
    # Pictures are alike and seeds without luck: all that varies is counted as luck of 20 seeds, and not a second time.
    values = np.random.default_rng(2).normal(size=(20, 500))
    expected = 2 * 2.093024 * values.mean(axis=1).std(ddof=1) / np.sqrt(20)
    assert crossed_interval(values).width == pytest.approx(expected, rel=0.15)


def test_pooled_luck_counts_where_it_is_larger_and_a_level_in_percent_is_refused() -> None:
    values = np.array([[0.5], [0.51], [0.52]]) + np.zeros((3, 50))
    own = crossed_interval(values)
    assert crossed_interval(values, pooled=SeedLuck(variance=0.01, degrees=20)).width > 2 * own.width
    assert crossed_interval(values, pooled=SeedLuck(variance=1e-9, degrees=2)).width == pytest.approx(own.width)
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        crossed_interval(values, level=95)
