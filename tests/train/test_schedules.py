"""Learning-rate factors: equal to PyTorch's schedulers step by step, and settings that refuse what they do not take."""

from __future__ import annotations

import math
import re
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from torch.optim import lr_scheduler

from budwood.config import validate
from budwood.errors import SettingsError
from budwood.recipe import parse_recipe
from budwood.train.schedules import (
    SCHEDULES,
    AnySchedule,
    ScheduleName,
    ScheduleSpec,
    constant,
    cosine,
    make_schedule,
    plateau_factor,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "schedules.md"
Scheduler = Callable[[torch.optim.Optimizer], Any]


class Settings(BaseModel):
    schedule: AnySchedule = ScheduleSpec()
    own: AnySchedule | None = None


def factors(spec: ScheduleSpec, *, total: int, per_epoch: int) -> list[float]:
    schedule = make_schedule(spec, total_steps=total, steps_per_epoch=per_epoch)
    return [schedule(step) for step in range(total)]


def torch_rates(scheduler: Scheduler, total: int, *, every: int = 1) -> list[float]:
    """The rates that PyTorch gives ``total`` steps at a base rate of 1; its scheduler moves after each ``every``."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    made, rates = scheduler(optimizer), []
    for step in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the last move may lie behind the scheduler's end
            if (step + 1) % every == 0 and step + 1 < total:
                made.step()
    return rates


def cyclic(mode: str, *, up: int, gamma: float = 1.0) -> Scheduler:
    return lambda o: lr_scheduler.CyclicLR(
        o, base_lr=0.1, max_lr=1.0, step_size_up=up, mode=mode, gamma=gamma, cycle_momentum=False
    )


ORACLES: dict[str, tuple[ScheduleSpec, Scheduler, int]] = {
    # name: (ours, PyTorch's, steps between two of its moves); epochs have 7 steps
    "exponential_smooth": (
        ScheduleSpec(kind="exponential", gamma=0.8),
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.8 ** (1 / 7)),
        1,
    ),
    "exponential_by_epoch": (
        ScheduleSpec(kind="exponential", gamma=0.8, staircase=True),
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.8),
        7,
    ),
    "exponential_by_three_epochs": (
        ScheduleSpec(kind="exponential", gamma=0.5, every=3, staircase=True),
        lambda o: lr_scheduler.StepLR(o, step_size=21, gamma=0.5),
        1,
    ),
    "step": (
        ScheduleSpec(kind="step", milestones=(2, 5), gamma=0.3),
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[2, 5], gamma=0.3),
        7,
    ),
    "step_without_milestones": (
        ScheduleSpec(kind="step"),
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[42, 63], gamma=0.1),
        1,
    ),
    "cosine": (ScheduleSpec(kind="cosine", warmup=0), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=84), 1),
    "cosine_with_floor": (
        ScheduleSpec(kind="cosine", warmup=0, floor=0.2),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=84, eta_min=0.2),
        1,
    ),
    "one_cycle": (
        ScheduleSpec(kind="one_cycle"),
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=84, cycle_momentum=False),
        1,
    ),
    "one_cycle_otherwise": (
        ScheduleSpec(kind="one_cycle", pct_start=0.15, div=10, final_div=100),
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=1.0, total_steps=84, pct_start=0.15, div_factor=10, final_div_factor=100, cycle_momentum=False
        ),
        1,
    ),
    "triangular": (ScheduleSpec(kind="triangular", low=0.1, step_size=2), cyclic("triangular", up=14), 1),
    "triangular_by_epoch": (
        ScheduleSpec(kind="triangular", low=0.1, step_size=2, per="epoch"),
        cyclic("triangular", up=2),
        7,
    ),
    "triangular2": (ScheduleSpec(kind="triangular2", low=0.1, step_size=1.5), cyclic("triangular2", up=10.5), 1),
    "triangular2_by_epoch": (
        ScheduleSpec(kind="triangular2", low=0.1, step_size=2, per="epoch"),
        cyclic("triangular2", up=2),
        7,
    ),
    "exp_range": (
        ScheduleSpec(kind="exp_range", low=0.1, step_size=2, gamma=0.9),
        cyclic("exp_range", up=14, gamma=0.9 ** (1 / 7)),
        1,
    ),
    "exp_range_by_epoch": (
        ScheduleSpec(kind="exp_range", low=0.1, step_size=3, gamma=0.9, per="epoch"),
        cyclic("exp_range", up=3, gamma=0.9),
        7,
    ),
}


@pytest.mark.parametrize("name", ORACLES)
def test_every_step_has_the_rate_that_pytorch_gives(name: str) -> None:
    spec, scheduler, every = ORACLES[name]
    assert factors(spec, total=84, per_epoch=7) == pytest.approx(torch_rates(scheduler, 84, every=every), abs=1e-9)


def test_every_kind_with_a_counterpart_in_pytorch_was_held_against_it() -> None:
    assert {spec.kind for spec, _, _ in ORACLES.values()} == set(SCHEDULES) - {"constant", "plateau"}
    assert set(SCHEDULES) == set(get_args(ScheduleName))


@settings(deadline=None)
@given(
    losses=st.lists(st.floats(0.01, 3), max_size=40),
    patience=st.integers(0, 5),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    floor=st.sampled_from([0.0, 0.2]),
)
def test_plateau_falls_where_that_of_pytorch_does(
    losses: list[float], patience: int, factor: float, threshold: float, floor: float
) -> None:
    spec = ScheduleSpec(kind="plateau", factor=factor, patience=patience, threshold=threshold, floor=floor)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, min_lr=floor, eps=0.0
    )
    for epoch, loss in enumerate(losses):
        assert plateau_factor(losses[:epoch], spec) == pytest.approx(optimizer.param_groups[0]["lr"])
        theirs.step(loss)
    assert plateau_factor(losses, spec) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_waits_out_its_patience_then_counts_anew() -> None:
    spec = ScheduleSpec(kind="plateau", factor=0.5, patience=2)
    found = [plateau_factor([1.0] * epochs, spec) for epochs in range(8)]
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_plateau_without_a_validation_part_is_refused() -> None:
    with pytest.raises(SettingsError, match="keep a validation part"):
        plateau_factor([0.5, math.nan], ScheduleSpec(kind="plateau"))


def test_losses_move_no_other_schedule() -> None:
    assert plateau_factor([math.nan] * 30, ScheduleSpec(kind="cosine")) == 1


@pytest.mark.parametrize("name", SCHEDULES)
@settings(deadline=None)
@given(total=st.integers(1, 500), per_epoch=st.integers(1, 60), step=st.integers(0, 600))
def test_factor_stays_between_zero_and_one(name: str, total: int, per_epoch: int, step: int) -> None:
    schedule = make_schedule(ScheduleSpec(kind=name), total_steps=total, steps_per_epoch=per_epoch)
    assert 0 <= schedule(step) <= 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_kind_learns_in_its_first_step_whatever_the_length(name: str) -> None:
    for total in (1, 2, 3, 10):
        assert factors(ScheduleSpec(kind=name), total=total, per_epoch=1)[0] > 0.03


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_kind_works_as_a_plain_string_and_comes_back_from_its_own_table(name: str) -> None:
    found = validate(Settings, {"schedule": name, "own": {"kind": name}}, source="recipe")
    assert found.schedule == found.own == ScheduleSpec(kind=name)
    table = found.schedule.model_dump(mode="json")
    assert set(table) == {"kind", *SCHEDULES[name].defaults}
    assert Settings.model_validate({"schedule": table}).schedule == found.schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_parameter_of_a_kind_changes_its_curve(name: str) -> None:
    other: dict[str, Any] = {
        "warmup": 0.5,
        "floor": 0.9,
        "gamma": 0.4,
        "every": 3.5,
        "staircase": True,
        "milestones": (1.5,),
        "pct_start": 0.6,
        "div": 3,
        "final_div": 2,
        "low": 0.6,
        "step_size": 1.2,
        "per": "epoch",
        "factor": 0.7,
        "patience": 1,
        "threshold": 0.5,
    }
    losses = [1.0, 0.8, 0.7, *[0.75] * 12]

    def curve(**changed: Any) -> list[float]:
        spec = ScheduleSpec(kind=name, **changed)
        return [*factors(spec, total=84, per_epoch=7), *(plateau_factor(losses[:n], spec) for n in range(16))]

    for key in SCHEDULES[name].defaults:
        assert curve(**{key: other[key]}) != curve(), key


def test_an_unknown_kind_is_answered_with_the_kinds() -> None:
    with pytest.raises(SettingsError, match=r'no schedule "cosin"; the kinds are constant, exponential, .*plateau'):
        validate(Settings, {"schedule": "cosin"}, source="recipe")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "cosine", "gamma": 0.5}, 'schedule "cosine" does not take gamma; it takes warmup, floor'),
        ({"kind": "constant", "floor": 0.5}, 'schedule "constant" does not take floor; it takes nothing'),
        ({"kind": "cosine", "warmpu": 0.5}, 'unknown key "schedule.warmpu"; did you mean "schedule.warmup"'),
        ({"kind": "step", "milestones": [5, 2]}, "each later than the one before"),
        ({"kind": "step", "milestones": [0, 5]}, "epochs above 0"),
        ({"kind": "step", "milestones": []}, "at least one epoch"),
        ({"kind": "exponential", "gamma": 1.5}, "schedule.gamma: input should be less than or equal to 1"),
        (3, "a schedule is a kind"),
    ],
)
def test_what_a_kind_does_not_take_is_refused_in_words(given: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
        validate(Settings, {"schedule": given}, source="recipe")


def test_a_schedule_means_the_same_at_any_batch_size() -> None:
    for name in set(SCHEDULES) - {"cosine", "one_cycle"}:  # these end with the last step, not with an epoch
        spec = ScheduleSpec(kind=name)
        coarse = factors(spec, total=36, per_epoch=3)
        assert factors(spec, total=360, per_epoch=30)[::10] == pytest.approx(coarse)


def test_cosine_rises_linearly_to_the_base_rate_then_falls_to_zero() -> None:
    factor = cosine(100, warmup=0.1)
    assert [factor(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert factor(55) == pytest.approx(0.5)
    assert 0 < factor(99) < 1e-3
    assert factor(100) == 0
    falling = [factor(step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_what_ends_with_the_stage_stays_low_after_it(name: str) -> None:
    schedule = make_schedule(ScheduleSpec(kind=name), total_steps=40, steps_per_epoch=4)
    assert max(schedule(step) for step in range(40, 200)) <= schedule(39)


def test_one_cycle_that_is_too_short_to_rise_begins_at_its_peak() -> None:
    assert factors(ScheduleSpec(kind="one_cycle", pct_start=0.3), total=3, per_epoch=1)[0] == 1


def test_a_stair_ends_with_its_epochs_though_they_are_rounded() -> None:
    stairs = factors(ScheduleSpec(kind="exponential", gamma=0.5, every=2.2, staircase=True), total=120, per_epoch=25)
    assert stairs == [0.5 ** (step // 55) for step in range(120)]


def test_constant_is_one() -> None:
    assert {constant()(step) for step in range(20)} == {1.0}


def test_a_stage_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        make_schedule(ScheduleSpec(), total_steps=0, steps_per_epoch=3)


def test_every_example_of_the_document_is_a_recipe() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 3
    for text in examples:
        parse_recipe(f'name = "example"\n{text}', source="the document")


@pytest.mark.parametrize("name", ["constant", "exponential", "step", "cosine", "one_cycle", "triangular", "plateau"])
def test_the_document_has_each_kind_with_its_defaults(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| .* \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    told = tomllib.loads("\n".join(re.findall(r"`(\w+ = [^`]+)`", row[1])))
    assert told == {key: value for key, value in SCHEDULES[name].defaults.items() if value is not None}


def test_the_document_lists_all_kinds_in_the_words_of_the_registry() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").replace("`", "")
    for name, kind in SCHEDULES.items():
        assert f"| {name} | {kind.words}" in text
