"""The curves: what is drawn, what is left out, and what a reader is told by it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from budwood.report.curves import rate_spark, training_curves
from budwood.report.schedule_plot import planned_rates
from budwood.report.training_data import Curves, StageSpan
from budwood.train.history import EpochRow
from budwood.train.schedules import SCHEDULES, ScheduleSpec

NAN = math.nan
Rows = Callable[..., EpochRow]


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter("text")]


def tips(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("title")]


def curves_of(rows: list[EpochRow], **changes: object) -> Curves:
    return replace(Curves(title="t", rows=tuple(rows), num_validation=50), **changes)


def staged(make_row: Rows, *lengths: int) -> Curves:
    """Stages of so many epochs each, the last epoch of each kept."""
    rows, stages, first = [], [], 1
    for number, length in enumerate(lengths, start=1):
        last = first + length - 1
        rows += [make_row(epoch, stage=f"stage {number}") for epoch in range(first, last + 1)]
        title = f"A stage with a title of some length, number {number}"
        stages.append(StageSpan(number=number, title=title, first=first, last=last, best=last))
        first = last + 1
    return curves_of(rows, stages=tuple(stages))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([{"lr": 0.0}], id="one epoch, rate 0"),
        pytest.param([{"val_loss": NAN, "val_accuracy": NAN}] * 3, id="no validation part"),
        pytest.param([{"accuracy": NAN, "train_loss": NAN, "train_accuracy": NAN}] * 3, id="an earlier version's"),
        pytest.param([{"loss": math.inf, "val_loss": math.inf}, {"loss": NAN}], id="not finite"),
        pytest.param([], id="no epoch"),
        pytest.param([{"val_accuracy": 0.5}] * 200, id="many"),
        pytest.param([{"lr": 10.0 ** -(e % 9)} for e in range(20)], id="rates over nine decades"),
    ],
)
@pytest.mark.parametrize("narrow", [False, True])
def test_curves_of_unusual_trainings_can_be_drawn(rows: list[dict], narrow: bool, make_row: Rows) -> None:
    made = [make_row(epoch, **changes) for epoch, changes in enumerate(rows, start=1)]
    stages = (StageSpan(number=1, title="x", first=1, last=200, best=1),)
    svg = training_curves(curves_of(made, stages=stages), narrow=narrow)
    assert {"accuracy", "loss", "rate", "epoch"} <= set(texts(svg))


def test_what_was_not_measured_is_not_in_the_legend(make_row: Rows) -> None:
    plain = [make_row(epoch, train_loss=NAN, train_accuracy=NAN) for epoch in (1, 2, 3)]
    found = texts(training_curves(curves_of(plain)))
    assert "training, while it ran" in found
    assert "validation" in found
    assert "training, measured after" not in found


def test_loss_without_accuracy_has_its_name_in_the_legend(make_row: Rows) -> None:
    old = [make_row(epoch, accuracy=NAN, train_loss=NAN, train_accuracy=NAN) for epoch in (1, 2, 3)]
    assert "training, while it ran" in texts(training_curves(curves_of(old)))


def test_band_counts_the_pictures_that_it_is_of(make_row: Rows) -> None:
    rows = [make_row(epoch) for epoch in (1, 2, 3)]
    assert "95 % interval of 50 pictures" in texts(training_curves(curves_of(rows)))
    assert not [t for t in texts(training_curves(curves_of(rows, num_validation=0))) if "interval" in t]


def test_stages_are_numbered_as_in_the_plan_and_divided_by_a_line(make_row: Rows) -> None:
    two, one = (training_curves(staged(make_row, *lengths)) for lengths in ((22, 2), (24,)))
    assert "1 A stage with a title of some length, number 1" in texts(two)
    assert not [t for t in texts(two) if t.startswith("2 ")]  # its title has no room; hovering tells it
    assert "A stage with a title of some length, number 2" in tips(two)
    assert not [t for t in texts(one) if "title" in t]
    assert two.count("<path") > one.count("<path")


def test_kept_epochs_are_ringed_and_said_once_in_the_legend(make_row: Rows) -> None:
    assert texts(training_curves(staged(make_row, 3, 3, 3))).count("kept") == 1
    none = [replace(stage, best=None) for stage in staged(make_row, 3).stages]
    assert "kept" not in texts(training_curves(replace(staged(make_row, 3), stages=tuple(none))))


def test_hovering_tells_an_epochs_numbers(make_row: Rows) -> None:
    rows = [make_row(1, val_accuracy=0.5, val_loss=1.25), make_row(2, val_accuracy=0.75, val_loss=1.0)]
    found = tips(training_curves(curves_of(rows)))
    assert "epoch 1, validation: 50.0 %" in found
    assert "epoch 2, validation: loss 1.000" in found


def test_rates_are_on_an_axis_of_powers_of_ten(make_row: Rows) -> None:
    rates = [1e-3, 1e-4, 1e-5]
    found = texts(training_curves(curves_of([make_row(e, lr=lr) for e, lr in enumerate(rates, start=1)])))
    assert {"10⁻³", "10⁻⁴", "10⁻⁵"} <= set(found)
    assert "3·10⁻⁴" in texts(training_curves(curves_of([make_row(1, lr=3e-4), make_row(2, lr=3e-4)])))


def test_a_rate_that_ends_at_zero_leaves_four_decades_to_see(make_row: Rows) -> None:
    rows = [make_row(e, lr=lr) for e, lr in enumerate([1e-2, 1e-3, 1e-40, 0.0], start=1)]
    powers = [t for t in texts(training_curves(curves_of(rows))) if re.fullmatch("10⁻.+", t)]
    assert set(powers) <= {"10⁻²", "10⁻³", "10⁻⁴", "10⁻⁵", "10⁻⁶"}
    assert "10⁻²" in powers


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_every_schedule_has_a_small_plot(kind: str) -> None:
    spec = ScheduleSpec.model_validate({"kind": kind})
    planned = planned_rates(spec, label="x", base=1e-3, num_epochs=3, steps_per_epoch=4)
    svg = rate_spark(planned, name="x")
    assert f"at most {max(planned.rates):g}" in svg
    assert "<text" not in svg
    assert 'id="' not in svg or 'id="x-' in svg
