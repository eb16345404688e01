"""A stage that was stopped anywhere goes on to the same bits; explosions and full disks lose nothing good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from budwood import files
from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.errors import DivergedError, UsageError
from budwood.events import StepAdvanced, Warned
from budwood.models.build import Classifier
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.feed import PixelFeed
from budwood.train.keeper import Keeper
from budwood.train.loop import fine_tune
from budwood.train.stage_input import FitResult, StageInput
from budwood.train.stages import Stage, TrainSpec

Tiny = Callable[..., Classifier]
Squares = Callable[..., PixelSet]
PREPROCESS = Preprocess(size=32)
WILD = AugmentSpec(rotation=180, flip="both")
SYSTEMS = {
    "adamw and average": {"ema": 0.9},
    "momentum": {"ema": 0, "optimizer": "sgd", "lr": 1e-2},
    "rmsprop by accuracy": {"ema": 0, "optimizer": "rmsprop", "monitor": "val_accuracy"},
}


class StoppedError(Exception):
    """What stands for a kill."""


def stage_input(train: PixelSet, val: PixelSet, *, transform: Any = None, **settings: Any) -> StageInput:
    stage = Stage(trains="all", epochs=3)
    spec = TrainSpec(stages=(stage,), **{"batch_size": 5, "patience": 50, **settings})
    augment = Augment(WILD, PREPROCESS, seed=1)
    feed = PixelFeed(part=train, transform=transform or augment, preprocess=PREPROCESS)
    return StageInput(
        train=feed,
        val=PixelFeed(part=val, transform=augment, preprocess=PREPROCESS),
        augment=WILD,
        spec=spec,
        stage=stage,
        device=Device(),
        seed=1,
        balancing=Balancing(num_classes=3),
    )


def keeper(folder: Path, **more: Any) -> Keeper:
    return Keeper(folder, identity="the same", seconds=0, **more)


def equal(one: FitResult, other: FitResult) -> bool:
    first, second = one.model.state_dict(), other.model.state_dict()
    rows = [[row.loss, row.val_loss, row.lr, row.accuracy] for row in one.history.rows]
    same_rows = rows == [[row.loss, row.val_loss, row.lr, row.accuracy] for row in other.history.rows]
    return same_rows and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(steps: int) -> Callable[[object], None]:
    done = 0

    def listen(event: object) -> None:
        nonlocal done
        if isinstance(event, StepAdvanced) and event.count:
            done += 1
            if done > steps:
                raise StoppedError

    return listen


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("system", SYSTEMS)
def test_stopped_after_any_step_it_goes_on_to_the_same_bits(
    system: str, every: int, tiny: Tiny, squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budwood.train.keeper._COST", 0)  # a checkpoint at every step
    data = stage_input(squares(23), squares(9, first=500), **SYSTEMS[system])
    model = tiny(dropout=0.2, drop_path=0.1)
    whole = fine_tune(model, data)
    total = 3 * 5
    for steps in range(every - 1, total, every):
        folder = tmp_path / str(steps)
        with pytest.raises(StoppedError):
            fine_tune(model, data, keeper=keeper(folder), listen=stop_after(steps))
        torch.rand(7)  # a new process has another global generator
        counted: list[int] = []
        again = fine_tune(
            model,
            data,
            keeper=keeper(folder),
            listen=lambda e, counted=counted: counted.append(e.count) if isinstance(e, StepAdvanced) else None,
        )
        assert equal(again, whole), steps
        assert counted[0] >= min(steps - 1, total) * 4  # it did not begin anew
        assert sum(counted) == 3 * 23


def test_a_stage_that_is_done_is_not_trained_again(tiny: Tiny, squares: Squares, tmp_path: Path) -> None:
    data = stage_input(squares(23), squares(9, first=500))
    whole = fine_tune(tiny(), data, keeper=keeper(tmp_path))
    kept = keeper(tmp_path)
    assert len(kept.outcomes) == 1
    assert kept.outcomes[0].rows == whole.history.rows
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in kept.weights.items())
    kept.clear()
    assert not tmp_path.exists() or not any(tmp_path.iterdir())


def test_checkpoints_of_another_training_are_refused(tiny: Tiny, squares: Squares, tmp_path: Path) -> None:
    fine_tune(tiny(), stage_input(squares(23), squares(9)), keeper=keeper(tmp_path))
    with pytest.raises(UsageError, match="another training"):
        Keeper(tmp_path, identity="another")


class Poison:
    """An augmentation that yields NaN at the given calls."""

    def __init__(self, *calls: int) -> None:
        self.calls, self.count, self.inner = set(calls), 0, Augment(WILD, PREPROCESS, seed=1)

    def __call__(
        self, pixels: NDArray[np.uint8], records: Any, epoch: int, *, targets: NDArray[np.int64] | None = None
    ) -> torch.Tensor:
        self.count += 1
        images = self.inner(pixels, records, epoch, targets=targets)
        return images * float("nan") if self.count in self.calls else images


# The first and the last training batch, one within an epoch, and one that is only looked at.
@pytest.mark.parametrize(
    "call", [c if c in (1, 8, 15, 16) else pytest.param(c, marks=pytest.mark.slow) for c in range(1, 21)]
)
def test_an_injected_nan_rolls_back_lowers_the_rate_and_leaves_finite_weights(
    call: int, tiny: Tiny, squares: Squares, tmp_path: Path
) -> None:
    heard: list[str] = []
    data = stage_input(squares(23), squares(9, first=500), transform=Poison(call))
    fitted = fine_tune(
        tiny(), data, keeper=keeper(tmp_path), listen=lambda e: heard.append(e.text) if isinstance(e, Warned) else None
    )
    assert all(torch.isfinite(value).all() for value in fitted.model.state_dict().values())
    assert [row.epoch for row in fitted.history.rows] == [1, 2, 3]
    if call <= 15:
        (note,) = fitted.notes
        assert f"in epoch {(call - 1) // 5 + 1} the loss became nan" in note
        assert "begins again at 0.33 of the learning rates" in note
        assert heard == [note]
    else:
        assert not fitted.notes
    kept = keeper(tmp_path)
    assert all(torch.isfinite(value).all() for value in kept.weights.values())


def test_four_explosions_in_one_epoch_end_the_stage_with_the_best_before(tiny: Tiny, squares: Squares) -> None:
    poison = Poison(*range(6, 40))
    fitted = fine_tune(tiny(), stage_input(squares(23), squares(9, first=500), transform=poison))
    assert [row.epoch for row in fitted.history.rows] == [1]
    assert len(fitted.notes) == 4
    assert "training ends with epoch 1, the best before" in fitted.notes[-1]
    assert "train.lr=1e-05" in fitted.notes[-1]
    assert all(torch.isfinite(value).all() for value in fitted.model.state_dict().values())


def test_explosions_in_the_first_epoch_are_an_error(tiny: Tiny, squares: Squares) -> None:
    with pytest.raises(DivergedError, match="learning rate is too high here"):
        fine_tune(tiny(), stage_input(squares(23), squares(9), transform=Poison(*range(1, 40))))


def test_a_stop_after_an_explosion_goes_on_to_the_same_bits(
    tiny: Tiny, squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budwood.train.keeper._COST", 0)
    train, val = squares(23), squares(9, first=500)
    whole = fine_tune(tiny(), stage_input(train, val, transform=Poison(8)))
    with pytest.raises(StoppedError):
        fine_tune(tiny(), stage_input(train, val, transform=Poison(8)), keeper=keeper(tmp_path), listen=stop_after(10))
    again = fine_tune(tiny(), stage_input(train, val), keeper=keeper(tmp_path))
    assert again.notes == whole.notes
    assert equal(again, whole)


@pytest.mark.parametrize(
    "failing", [n if n in (1, 4) else pytest.param(n, marks=pytest.mark.slow) for n in range(1, 9)]
)
def test_a_full_disk_at_any_write_keeps_the_last_good_state_and_training_goes_on(
    failing: int, tiny: Tiny, squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budwood.train.keeper._COST", 0)
    data = stage_input(squares(23), squares(9, first=500))
    whole = fine_tune(tiny(), data)
    real, writes, heard = files.os.fsync, 0, []

    def full(handle: int) -> None:
        nonlocal writes
        writes += 1
        if writes >= failing:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    fitted = fine_tune(tiny(), data, keeper=keeper(tmp_path, listen=lambda event: heard.append(event.text)))
    assert equal(fitted, whole)
    assert any("No space left on device" in text and "last good one is kept" in text for text in heard)
    monkeypatch.setattr(files.os, "fsync", real)
    again = fine_tune(tiny(), data, keeper=keeper(tmp_path))  # from what was good before the disk was full
    assert equal(again, whole)
    assert not list(tmp_path.glob(".*.tmp"))
