"""Intervals of averages over classes: they hold the value, never shrink to a point, and narrow with more pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.evaluation.class_averages import class_averages, f1_averages
from budwood.evaluation.effective import class_average_intervals
from budwood.evaluation.intervals import Estimate, wilson


def accuracy_and_recall(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    hits, support = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1)
    recall = hits / np.where(support > 0, support, 1)
    return np.stack([hits.sum(-1) / support.sum(-1), recall.sum(-1) / (support > 0).sum(-1)], axis=-1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 30))
def test_each_interval_holds_its_value_and_is_no_point(seed: int, num_classes: int, most: int) -> None:
    confusion = np.random.default_rng(seed).integers(0, most + 1, (num_classes, num_classes))
    confusion[0, 0] += 1
    values = accuracy_and_recall(confusion[None].astype(float))[0]
    for value, found in zip(values, class_average_intervals(confusion, accuracy_and_recall, resamples=50), strict=True):
        assert 0 <= found.low <= value + 1e-12
        assert value - 1e-12 <= found.high <= 1
        assert found.width > 0


def test_where_the_average_is_a_plain_share_it_is_about_wilsons() -> None:
    confusion = np.array([[160, 40], [30, 170]])
    found = class_average_intervals(confusion, accuracy_and_recall, resamples=4000)[0]
    plain = wilson(330, 400)
    assert found.low == pytest.approx(plain.low, abs=0.006)
    assert found.high == pytest.approx(plain.high, abs=0.006)


def test_without_any_error_the_small_class_still_leaves_doubt() -> None:
    sure, few = np.diag([500, 500]), np.diag([500, 5])
    of_many = class_average_intervals(sure, accuracy_and_recall)[1]
    of_few = class_average_intervals(few, accuracy_and_recall)[1]
    assert of_few.low < of_many.low - 0.01
    assert of_few.high == 1


def test_how_many_pictures_a_class_has_is_luck_too() -> None:
    # With 20 and 160 pictures the rare class's F1 hangs on how many there happen to be, its recall does not.
    confusion = np.array([[18, 2], [16, 144]])

    def rare(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        hits, errors = counts[..., 0, 0], counts[..., 0, 1] + counts[..., 1, 0]
        return np.stack([2 * hits / (2 * hits + errors), hits / np.maximum(hits + counts[..., 0, 1], 1)], axis=-1)

    f1, _ = class_average_intervals(confusion, rare, resamples=4000)
    random = np.random.default_rng(0)
    fixed = rare(np.stack([random.multinomial([20, 160], [[0.9, 0.1], [0.1, 0.9]]) for _ in range(4000)]))[:, 0]
    assert f1.width > 1.15 * 2 * 1.96 * fixed.std()


def test_a_class_that_was_predicted_but_has_no_picture_leaves_doubt() -> None:
    def macro(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return f1_averages(counts)[:, :1]

    absent, without = np.array([[30, 1], [0, 0]]), np.array([[31, 0], [0, 0]])
    assert class_average_intervals(absent, macro)[0].width > class_average_intervals(without, macro)[0].width


def test_a_class_that_never_occurs_changes_nothing() -> None:
    confusion = np.array([[40, 10], [5, 45]])
    wide = np.zeros((3, 3), dtype=np.int64)
    wide[:2, :2] = confusion
    a, b = (class_average_intervals(table, accuracy_and_recall, resamples=3000) for table in (confusion, wide))
    assert a[1].low == pytest.approx(b[1].low, abs=0.005)


def test_the_same_seed_gives_the_same_interval_whole_or_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.array([[17, 5], [4, 11]])
    whole = class_average_intervals(confusion, accuracy_and_recall, seed=1)
    assert class_average_intervals(confusion, accuracy_and_recall, seed=2) != whole
    monkeypatch.setattr("budwood.evaluation.effective._CELLS_AT_ONCE", 4 * 64)
    assert class_average_intervals(confusion, accuracy_and_recall, seed=1) == whole


@pytest.mark.parametrize(("resamples", "level"), [(1, 0.95), (10, 1.0)])
def test_settings_that_make_no_sense_are_refused(resamples: int, level: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        class_average_intervals(np.eye(2, dtype=np.int64), accuracy_and_recall, resamples=resamples, level=level)


def test_the_weighted_precision_varies_as_much_as_over_drawn_pictures() -> None:
    random, shares = np.random.default_rng(0), np.array([[0.08, 0.02, 0.0], [0.1, 0.25, 0.05], [0.0, 0.05, 0.45]])
    tables = random.multinomial(4000, shares.ravel(), size=3000).reshape(-1, 3, 3)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    drawn = (hits / tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / 4000
    expected = np.round(4000 * shares).astype(np.int64)
    found = class_averages(expected, Estimate(value=0.78, interval=wilson(3120, 4000)), resamples=10)[1]
    assert found.weighted_precision.interval.width == pytest.approx(2 * 1.96 * drawn.std(), rel=0.06)
