"""Plots of planned learning rates and of range tests: what they show, and that any values can be drawn."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from budwood.report.range_plot import range_plot, range_png, range_words
from budwood.report.schedule_plot import planned_rates, schedule_plot, schedule_sheet
from budwood.train.range_test import RangeTest, range_test
from budwood.train.schedules import SCHEDULES, ScheduleSpec


def texts(svg: str) -> set[str]:
    return {"".join(element.itertext()) for element in ElementTree.fromstring(svg).iter("text")}


def exploding() -> RangeTest:
    return range_test(lambda rate: 2 - min(1.0, 1000 * rate) + (50 * rate) ** 4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_kind_can_be_drawn(name: str) -> None:
    curve = planned_rates(ScheduleSpec(kind=name), label="all", base=1e-3, num_epochs=6, steps_per_epoch=9)
    assert len(curve.rates) == len(curve.epochs)
    assert max(curve.rates) <= 1e-3
    assert "learning rate" in texts(schedule_plot([curve]))


def test_a_curve_begins_in_its_first_epoch_and_ends_with_its_last_step() -> None:
    curve = planned_rates(
        ScheduleSpec(kind="constant"), label="", base=2.0, num_epochs=4, steps_per_epoch=5, first_epoch=3
    )
    assert (curve.epochs[0], curve.epochs[-1]) == (3, 3 + 19 / 5)
    assert set(curve.rates) == {2.0}


def test_a_long_stage_is_drawn_at_some_of_its_steps() -> None:
    curve = planned_rates(ScheduleSpec(), label="", base=1.0, num_epochs=100, steps_per_epoch=999)
    assert 300 < len(curve.rates) <= 602
    assert curve.epochs[-1] == (100 * 999 - 1) / 999


def test_stages_are_named_where_there_are_several() -> None:
    spec = ScheduleSpec(kind="triangular")
    curves = [
        planned_rates(spec, label=label, base=1e-3, num_epochs=2, steps_per_epoch=5, first_epoch=first)
        for label, first in (("head", 0), ("<all> & $x$", 2))
    ]
    assert {"head", "<all> & $x$"} <= texts(schedule_plot(curves))


def test_the_sheet_is_one_picture() -> None:
    with Image.open(io.BytesIO(schedule_sheet(steps_per_epoch=5))) as image:
        assert image.width == 1760
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10


def test_the_plot_of_a_range_test_marks_suggestion_and_explosion() -> None:
    found = exploding()
    assert found.suggestion is not None
    assert found.diverged_at is not None
    shown = texts(range_plot(found))
    assert f"suggested: {found.suggestion:.2g}" in shown
    assert "exploded" in shown
    assert f"{found.suggestion:.2g} ({found.rule})" in range_words(found)


def test_equal_tests_give_equal_pictures() -> None:
    assert range_png(exploding()) == range_png(exploding())
    assert range_plot(exploding()) == range_plot(exploding())


def test_a_range_test_without_a_fall_is_drawn_and_said() -> None:
    found = range_test(lambda rate: 2.0)
    assert not any("suggested" in text for text in texts(range_plot(found)))
    assert range_words(found).startswith("no learning rate from 1e-06 to 1 made the loss fall")


def test_one_step_before_the_end_of_numbers_can_be_drawn() -> None:
    losses = [2.0, math.nan]
    assert "training loss" in texts(range_plot(range_test(lambda rate: losses.pop(0))))
