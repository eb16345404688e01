"""Intervals of sums of shares: the known special cases, never a point, and wider where a class has few pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budwood.evaluation.share_sums import share_sum_interval


def test_one_share_has_agrestis_and_coulls_interval_of_two_hits_and_two_misses_more() -> None:
    found = share_sum_interval(np.array([17]), np.array([20]), weights=np.ones(1))
    half = 1.959964 * math.sqrt(19 / 24 * 5 / 24 / 24)
    assert (found.low, found.high) == pytest.approx((19 / 24 - half, 19 / 24 + half))


def test_two_shares_have_agrestis_and_caffos_interval_of_one_hit_and_one_miss_more() -> None:
    found = share_sum_interval(np.array([30, 4]), np.array([40, 9]), weights=np.array([0.5, 0.5]))
    one, other = 31 / 42, 5 / 11
    half = 1.959964 * math.sqrt(one * (1 - one) / 42 + other * (1 - other) / 11) / 2
    assert (found.low, found.high) == pytest.approx(((one + other) / 2 - half, (one + other) / 2 + half))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8))
def test_it_holds_the_sum_that_was_seen_and_is_no_point(classes: list[tuple[int, int]]) -> None:
    counts = np.array([hits + misses for hits, misses in classes])
    hits = np.array([hits for hits, _ in classes])
    found = share_sum_interval(hits, counts, weights=np.full(len(classes), 1 / len(classes)))
    seen = float((hits / np.maximum(counts, 1)).mean())
    assert 0 <= found.low <= seen + 1e-12
    assert seen - 1e-12 <= found.high <= 1
    assert found.width > 0


def test_a_rare_class_leaves_as_much_doubt_as_its_few_pictures_do() -> None:
    half = np.array([0.5, 0.5])
    rare = share_sum_interval(np.array([450, 2]), np.array([500, 3]), weights=half)
    common = share_sum_interval(np.array([450, 333]), np.array([500, 500]), weights=half)
    assert rare.width > 6 * common.width


def test_no_class_at_all_and_a_level_in_percent_are_refused() -> None:
    with pytest.raises(ValueError, match="no class"):
        share_sum_interval(np.array([], int), np.array([], int), weights=np.array([]))
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        share_sum_interval(np.array([1]), np.array([2]), weights=np.ones(1), level=95)
