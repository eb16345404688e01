from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budwood.evaluation.intervals import Interval, score_interval, wilson, wilson_f1


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(0, 5000))
    return draw(st.integers(0, n)), n


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # statsmodels.stats.proportion.proportion_confint(method="wilson")
        pytest.param(8, 10, 0.4901625, 0.9433178, id="8 of 10"),
        pytest.param(0, 20, 0.0, 0.1611252, id="none of 20"),
        pytest.param(20, 20, 0.8388748, 1.0, id="all of 20"),
        pytest.param(81, 263, 0.2552901, 0.3662246, id="Newcombe 1998, table I"),
    ],
)
def test_wilson_equals_published_values(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)
    assert found.low == pytest.approx(low, abs=2e-4)
    assert found.high == pytest.approx(high, abs=2e-4)


def test_nothing_is_known_from_no_pictures() -> None:
    assert wilson(0, 0) == Interval(low=0.0, high=1.0)
    assert wilson_f1(0, 0) == Interval(low=0.0, high=1.0)


@given(counts())
def test_wilson_holds_the_share_and_stays_inside_0_and_1(case: tuple[int, int]) -> None:
    successes, n = case
    found = wilson(successes, n)
    assert 0 <= found.low <= found.high <= 1
    assert n == 0 or successes / n in found


@given(counts())
def test_wilson_is_mirrored_when_right_and_wrong_change_places(case: tuple[int, int]) -> None:
    successes, n = case
    found, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)
    assert found.high == pytest.approx(1 - mirrored.low, abs=1e-12)


@given(counts(), st.floats(0.5, 0.9))
def test_a_higher_level_gives_a_wider_interval(case: tuple[int, int], level: float) -> None:
    narrow, wide = wilson(*case, level), wilson(*case, level + 0.05)
    assert wide.low <= narrow.low
    assert narrow.high <= wide.high


@given(counts())
def test_wilson_f1_holds_the_f1(case: tuple[int, int]) -> None:
    hits, n = case
    found = wilson_f1(hits, n - hits)
    assert 0 <= found.low <= found.high <= 1
    assert n == 0 or found.low - 1e-12 <= 2 * hits / (n + hits) <= found.high + 1e-12


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        wilson(1, 2, level)


@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(0.5, 5))
def test_a_score_interval_holds_its_share_and_narrows_with_more_pictures(share: float, n: float, z: float) -> None:
    few, many = score_interval(share, n, quantile=z), score_interval(share, 4 * n, quantile=z)
    assert 0 <= few.low <= share <= few.high <= 1
    assert many.width <= few.width + 1e-12
