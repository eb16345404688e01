"""Intervals of losses and of the calibration error, and residuals by class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from budwood.errors import DataError
from budwood.evaluation.loss_intervals import calibration_interval, mean_loss_interval
from budwood.evaluation.metrics import expected_calibration_error
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.residuals import class_residuals, residuals


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.booleans())
@example(seed=0, num=2, alike=False)
def test_a_loss_interval_holds_the_mean_and_stays_in_range(seed: int, num: int, alike: bool) -> None:
    random = np.random.default_rng(seed)
    losses = np.full(num, 0.3) if alike else random.exponential(size=num).clip(0, 2)
    found = mean_loss_interval(losses, largest=2.0, resamples=60)
    assert 0 <= found.low <= losses.mean() + 1e-12
    assert losses.mean() - 1e-12 <= found.high <= 2
    assert found.width > 0


def test_skewed_losses_leave_more_room_above_than_below() -> None:
    losses = np.array([0.02] * 45 + [3.0] * 5)
    found = mean_loss_interval(losses, largest=15.9)
    assert found.high - losses.mean() > 1.5 * (losses.mean() - found.low)


def test_many_even_losses_have_the_normal_interval() -> None:
    losses = np.random.default_rng(0).uniform(0.4, 0.6, 4000)
    found = mean_loss_interval(losses, largest=2.0)
    half = 1.96 * losses.std() / np.sqrt(4000)
    assert found.low == pytest.approx(losses.mean() - half, abs=half / 4)
    assert found.high == pytest.approx(losses.mean() + half, abs=half / 4)


def test_a_well_calibrated_model_of_few_pictures_is_not_called_miscalibrated() -> None:
    random = np.random.default_rng(2)
    confidence = random.uniform(0.5, 1, 80)
    right = random.random(80) < confidence
    found = calibration_interval(right, confidence, num_bins=15)
    assert found.low == 0  # the plain error is some .1 here, all of it bias
    assert found.high < 0.25


def test_a_model_too_sure_of_itself_is_seen() -> None:
    random = np.random.default_rng(2)
    right = random.random(2000) < 0.7
    found = calibration_interval(right, np.full(2000, 0.95), num_bins=15)
    assert found.low > 0.2
    assert 0.25 in found


def labelled(probs: list[list[float]], targets: list[int]) -> Predictions:
    return Predictions(
        probs=np.array(probs, np.float32),
        targets=np.array(targets),
        paths=tuple(f"{i}.jpg" for i in range(len(targets))),
        classes=("ash", "elm", "oak")[: len(probs[0])],
    )


def test_residuals_are_what_the_true_class_was_denied_in_order_by_class() -> None:
    found = labelled([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [0, 0, 1, 1])
    np.testing.assert_allclose(residuals(found), [0.1, 0.8, 0.6, 0.3], atol=1e-6)
    ash, elm = class_residuals(found)
    assert (ash.name, ash.paths, ash.missed, ash.denied) == ("ash", ("0.jpg", "1.jpg"), 1, 1)
    assert elm.paths == ("3.jpg", "2.jpg")
    assert elm.quartiles[1] == pytest.approx(0.45)
    # what residuals and the calibration error are made of is the same table
    assert expected_calibration_error(found) > 0


def test_a_class_without_pictures_has_no_residuals_and_no_labels_are_refused() -> None:
    found = labelled([[0.5, 0.3, 0.2]], [1])
    assert [each.name for each in class_residuals(found)] == ["elm"]
    with pytest.raises(DataError, match="no labels"):
        residuals(Predictions(probs=found.probs, targets=None, paths=found.paths, classes=found.classes))
