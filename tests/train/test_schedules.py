"""Learning-rate factors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.train.schedules import SCHEDULES, cosine


@pytest.mark.parametrize("name", SCHEDULES)
@settings(deadline=None)
@given(total=st.integers(1, 500), step=st.integers(0, 600))
def test_factor_stays_between_zero_and_one(name: str, total: int, step: int) -> None:
    assert 0 <= SCHEDULES[name](total)(step) <= 1


def test_cosine_rises_linearly_to_the_base_rate_then_falls_to_zero() -> None:
    factor = cosine(100, warmup=0.1)
    assert [factor(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert factor(55) == pytest.approx(0.5)
    assert 0 < factor(99) < 1e-3
    assert factor(100) == 0
    falling = [factor(step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


def test_first_step_of_a_short_cosine_already_learns() -> None:
    assert cosine(1)(0) == 1
    assert cosine(10)(0) == 1


def test_constant_is_one() -> None:
    assert {SCHEDULES["constant"](10)(step) for step in range(20)} == {1.0}
