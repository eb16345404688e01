from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, stratified_bootstrap, wilson, wilson_f1


def recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[R, K, K]`` to ``[R, K]``."""
    return np.diagonal(confusion, axis1=-2, axis2=-1) / np.maximum(confusion.sum(axis=-1), 1)


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
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        stratified_bootstrap(np.eye(2, dtype=np.int64), recalls, level=level)


def test_bootstrap_of_a_recall_is_the_binomial_interval() -> None:
    confusion = np.array([[70, 30], [40, 160]])
    found = stratified_bootstrap(confusion, recalls, resamples=4000)
    for interval, share, n in zip(found, (0.7, 0.8), (100, 200), strict=True):
        half = 1.96 * math.sqrt(share * (1 - share) / n)
        assert interval.low == pytest.approx(share - half, abs=0.02)
        assert interval.high == pytest.approx(share + half, abs=0.02)


def test_each_resample_keeps_the_number_of_pictures_of_each_class() -> None:
    confusion = np.array([[3, 2, 0], [0, 0, 0], [1, 1, 5]])
    seen = []

    def keep(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        seen.append(drawn)
        return recalls(drawn)

    stratified_bootstrap(confusion, keep, resamples=200)
    drawn = np.concatenate(seen)
    assert drawn.shape == (200, 3, 3)
    assert (drawn.sum(axis=-1) == confusion.sum(axis=-1)).all()


def test_bootstrap_is_the_same_for_the_same_seed_only() -> None:
    confusion = np.array([[17, 5], [4, 11]])
    assert stratified_bootstrap(confusion, recalls, seed=1) == stratified_bootstrap(confusion, recalls, seed=1)
    assert stratified_bootstrap(confusion, recalls, seed=1) != stratified_bootstrap(confusion, recalls, seed=2)


def test_bootstrap_in_pieces_draws_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.array([[17, 5], [4, 11]])
    whole = stratified_bootstrap(confusion, recalls)
    monkeypatch.setattr("budwood.evaluation.intervals._CELLS_AT_ONCE", 4 * 64)
    assert stratified_bootstrap(confusion, recalls) == whole


def test_bootstrap_refuses_no_resamples() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        stratified_bootstrap(np.eye(2, dtype=np.int64), recalls, resamples=0)
