"""The learning curve's law: found where there is one, and no promise where it cannot be told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.learning import PowerLaw, _fit, fit_curve
from budwood.report.learning_plot import render_learning

SIZES = (100, 200, 400, 800)


def drawn(errors: tuple[float, ...], *, repeats: int = 3, num: int = 1500, seed: int = 0) -> list[NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    hard = generator.random(num)  # the same pictures are hard at every size
    return [(hard + generator.normal(0, 0.02, (repeats, num))) > error for error in errors]


def test_an_exact_power_law_is_found() -> None:
    law = PowerLaw(floor=0.05, scale=2.0, exponent=0.5)
    found = _fit(np.array(SIZES, float), law.error(np.array(SIZES, float)))
    assert found.error(1600.0) == pytest.approx(law.error(1600.0), abs=1e-3)


def test_a_falling_error_promises_about_what_the_law_holds() -> None:
    law = PowerLaw(floor=0.02, scale=3.0, exponent=0.5)
    curve = fit_curve(SIZES, drawn(tuple(law.error(np.array(SIZES, float)))), resamples=200)
    truth = float(law.error(800.0) - law.error(1600.0))
    assert curve.can_tell
    assert truth in curve.doubled.interval
    assert curve.words.startswith("Twice the pictures (1,600 instead of 800) would bring about +")
    assert [point.num_pictures for point in curve.points] == list(SIZES)
    for point in curve.points:
        assert point.accuracy.value in point.accuracy.interval


def test_a_flat_curve_of_few_pictures_promises_nothing() -> None:
    curve = fit_curve(SIZES, drawn((0.2, 0.2, 0.2, 0.2), num=60), resamples=200)
    assert not curve.can_tell
    assert "It cannot be told" in curve.words
    assert "60 pictures judge it" in curve.words


def test_two_sizes_are_no_curve() -> None:
    with pytest.raises(DataError, match="at least 3 different sizes"):
        fit_curve((10, 20), drawn((0.5, 0.4)))


def test_the_page_is_text_only_and_the_result_is_json() -> None:
    curve = fit_curve(SIZES, drawn((0.4, 0.3, 0.22, 0.17)), resamples=50)
    page = render_learning(curve, title="<i>x</i>", recipe="probe", command="budwood", when="", version="1")
    assert "&lt;i&gt;x&lt;/i&gt;" in page
    assert "<script" not in page
    assert json.loads(json.dumps(curve.to_dict(), allow_nan=False))["words"] == curve.words
