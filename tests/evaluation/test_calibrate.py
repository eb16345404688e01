"""Temperature: fitted by likelihood, never worse, never led by a handful of pictures; the calibration as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.errors import DataError
from budwood.evaluation.calibrate import Calibration, apply_temperature, fit_calibration, fit_temperature
from budwood.evaluation.calibration_score import calibration_scores
from budwood.evaluation.metrics import expected_calibration_error, log_loss
from budwood.evaluation.predictions import Predictions


def answers(probs: np.ndarray, targets: np.ndarray) -> Predictions:
    names = tuple(f"c{k}" for k in range(probs.shape[1]))
    return Predictions(
        probs=probs.astype(np.float32),
        targets=targets.astype(np.int64),
        paths=tuple(str(i) for i in range(len(probs))),
        classes=names,
    )


def network(num: int, *, sureness: float, seed: int = 0, num_classes: int = 4) -> Predictions:
    """Labels drawn from true probabilities; the network states these raised to the power ``sureness``."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num, num_classes))
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (rng.random(num)[:, None] > truth.cumsum(1)).sum(1).clip(max=num_classes - 1)
    stated = np.exp(sureness * logits)
    return answers(stated / stated.sum(1, keepdims=True), targets)


def test_temperature_of_one_changes_nothing_and_its_inverse_undoes_it() -> None:
    probs = network(50, sureness=1).probs
    np.testing.assert_array_equal(apply_temperature(probs, 1), probs)
    soft = apply_temperature(probs, 2.5)
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(soft.argmax(1), probs.argmax(1))
    assert (soft.max(1) < probs.max(1)).all()
    np.testing.assert_allclose(apply_temperature(soft, 1 / 2.5), probs, atol=1e-5)


def test_temperature_equals_the_softmax_of_divided_logits() -> None:
    logits = np.random.default_rng(1).normal(size=(20, 5)) * 3
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    divided = np.exp(logits / 1.7)
    np.testing.assert_allclose(apply_temperature(probs, 1.7), divided / divided.sum(1, keepdims=True), atol=1e-6)


def test_probabilities_of_zero_stay_finite() -> None:
    probs = np.array([[1, 0, 0], [0, 0.5, 0.5]], dtype=np.float32)
    for t in (0.05, 3.0, 20.0):
        out = apply_temperature(probs, t)
        assert np.isfinite(out).all()
        np.testing.assert_allclose(out.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("sureness", [0.5, 2.0, 4.0])
def test_the_temperature_that_was_planted_is_found(sureness: float) -> None:
    found = fit_temperature(network(3000, sureness=sureness))
    assert found == pytest.approx(sureness, rel=0.1)


def test_a_calibrated_network_is_left_as_it_is() -> None:
    moved = [fit_temperature(network(200, sureness=1, seed=seed)) != 1 for seed in range(40)]
    assert sum(moved) <= 6  # 5 % of 40 are 2


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num=st.integers(1, 40),
    sureness=st.sampled_from([0.3, 1.0, 3.0, 30.0]),
    num_classes=st.integers(2, 6),
)
def test_log_loss_on_the_fitted_pictures_never_rises(seed: int, num: int, sureness: float, num_classes: int) -> None:
    given_ = network(num, sureness=sureness, seed=seed, num_classes=num_classes)
    found = fit_temperature(given_)
    assert log_loss(replace(given_, probs=apply_temperature(given_.probs, found))) <= log_loss(given_)
    assert 0.05 <= found <= 20


def test_a_few_right_answers_do_not_make_a_network_certain() -> None:
    probs = np.tile([0.7, 0.2, 0.1], (30, 1))
    found = fit_temperature(answers(probs, np.zeros(30)))
    certainty = apply_temperature(probs.astype(np.float32), found).max()
    assert 0.7 < certainty <= 1 - 1 / 32 + 1e-3  # thirty right ones and one imagined mistake


def test_without_labels_nothing_is_fitted() -> None:
    unlabelled = replace(network(5, sureness=1), targets=None)
    with pytest.raises(DataError, match="labelled"):
        fit_calibration(unlabelled, fitted_on="x")


def test_calibration_lowers_the_error_on_other_pictures() -> None:
    calibration = fit_calibration(network(400, sureness=2.5), fitted_on="the validation part")
    raw = network(4000, sureness=2.5, seed=9)
    held = replace(raw, probs=apply_temperature(raw.probs, calibration.temperature))
    shown = calibration_scores(calibration, held)["test"]
    assert shown["ece"]["after"] == expected_calibration_error(held)
    assert shown["ece"]["before"] == pytest.approx(expected_calibration_error(raw), abs=2e-3)
    assert shown["ece"]["after"] < 0.3 * shown["ece"]["before"]
    assert shown["log_loss"]["after"] < shown["log_loss"]["before"]
    lac = {row["promised"]: row["held"]["value"] for row in shown["sets"] if row["method"] == "lac"}
    assert lac[0.9] == pytest.approx(0.9, abs=0.05)
    json.dumps(shown, allow_nan=False)


def test_a_calibration_comes_back_from_json() -> None:
    calibration = fit_calibration(network(300, sureness=2), fitted_on="the validation part")
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def _without(key: str) -> Callable[[dict], object]:
    return lambda values: values.pop(key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda v: v.update(temperature=0), id="temperature 0"),
        pytest.param(lambda v: v.update(temperature=float("nan")), id="temperature NaN"),
        pytest.param(lambda v: v.update(temperature=10**400), id="a vast temperature"),
        pytest.param(lambda v: v.update(temperature="1"), id="a text"),
        pytest.param(lambda v: v.update(temperature=True), id="a truth value"),
        pytest.param(lambda v: v.update(num_pictures=-1), id="negative count"),
        pytest.param(lambda v: v.update(thresholds=[3]), id="a threshold that is none"),
        pytest.param(lambda v: v["thresholds"][0].update(risk=2), id="risk above 1"),
        pytest.param(lambda v: v["conformal"]["levels"][0].pop("lac"), id="a quantile is missing"),
        pytest.param(lambda v: v.update(conformal=[]), id="conformal as a list"),
        pytest.param(_without("fitted_on"), id="no words"),
    ],
)
def test_what_is_no_calibration_is_refused(change: Callable[[dict], object]) -> None:
    values = fit_calibration(network(60, sureness=2), fitted_on="x").to_dict()
    change(values)
    with pytest.raises((ValueError, KeyError, TypeError)):
        Calibration.from_dict(values)
