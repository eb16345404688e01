"""The interval of a paired difference says what McNemar's exact test says, and is Tango's elsewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.evaluation.intervals import Interval
from budwood.evaluation.paired_tests import agreeing, mcnemar, paired_share_interval


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    total = draw(st.integers(1, 400))
    only_a = draw(st.integers(0, total))
    return only_a, draw(st.integers(0, total - only_a)), total


@given(counts(), st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=200, deadline=None)
def test_the_interval_leaves_0_out_exactly_where_mcnemars_test_tells_the_two_apart(
    case: tuple[int, int, int], level: float
) -> None:
    only_a, only_b, _ = case
    found = paired_share_interval(*case, level=level)
    assert (0 not in found) == (mcnemar(only_a, only_b) < 1 - level)


@given(counts())
@settings(max_examples=100, deadline=None)
def test_it_holds_the_difference_is_no_point_and_turns_round_with_the_models(case: tuple[int, int, int]) -> None:
    only_a, only_b, total = case
    found, back = paired_share_interval(*case), paired_share_interval(only_b, only_a, total)
    assert -1 <= found.low <= (only_b - only_a) / total <= found.high <= 1
    assert found.width > 0
    assert (found.low, found.high) == pytest.approx((-back.high, -back.low), abs=1e-7)


@pytest.mark.parametrize(("only_a", "only_b", "total"), [(2, 14, 80), (9, 30, 200), (0, 12, 50), (40, 90, 1000)])
def test_its_ends_are_where_the_score_test_turns(only_a: int, only_b: int, total: int) -> None:
    found = paired_share_interval(only_a, only_b, total)
    assert 0 not in found  # so that neither end was drawn out
    for end in (found.low, found.high):
        # The likelihood of the counts where the difference is ``end``, over the share that A alone names right.
        shares = [max(0.0, -end) + step * (1 - abs(end)) / 200_000 for step in range(1, 100_000)]
        likeliest = max(
            shares,
            key=lambda q, d=end: (
                only_a * math.log(q)
                + only_b * math.log(q + d)
                + (total - only_a - only_b) * math.log(max(1 - 2 * q - d, 1e-300))
            ),
        )
        deviation = math.sqrt(total * (2 * likeliest + end * (1 - end)))
        assert abs(only_b - only_a - total * end) / deviation == pytest.approx(1.96, abs=0.01)


def test_an_end_is_drawn_out_to_0_where_the_p_value_tells_nothing() -> None:
    above = Interval(low=0.01, high=0.2)
    assert agreeing(above, 0.07, level=0.95) == Interval(low=0.0, high=0.2)
    assert agreeing(above, 0.03, level=0.95) == above
    assert agreeing(Interval(low=-0.2, high=-0.01), 0.07, level=0.95) == Interval(low=-0.2, high=0.0)
