"""Fine-tuning: it learns, it repeats itself to the bit, it keeps the best epoch, it leaves alone what is frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from budwood.augment.balance import BalanceSpec
from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.errors import DivergedError
from budwood.models.blocks import blocks_of
from budwood.models.build import Classifier, clone_state
from budwood.train.average import AveragedWeights
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.feed import PixelFeed
from budwood.train.history import EpochRow, History
from budwood.train.loop import fine_tune
from budwood.train.predict import predict_pixels
from budwood.train.stage_input import FitResult, StageInput
from budwood.train.stages import Stage, TrainSpec

Tiny = Callable[..., Classifier]
Squares = Callable[..., PixelSet]
CALM = AugmentSpec(rotation=0, flip="none", scale=(1, 1), shift=0, brightness=0, contrast=0, saturation=0, cutmix=0)
WILD = AugmentSpec(rotation=180, flip="both")
PREPROCESS = Preprocess(size=32)


def stage_input(
    train: PixelSet,
    val: PixelSet | None,
    *,
    stage: Stage | None = None,
    augment: AugmentSpec = CALM,
    seed: int = 0,
    bf16: bool = False,
    first_epoch: int = 0,
    stop_after: int | None = None,
    balance: BalanceSpec | None = None,
    **settings: Any,
) -> StageInput:
    stage = stage or Stage(trains="all", epochs=3)
    settings = {"batch_size": 8, "ema": 0, "label_smoothing": 0, "lr": 3e-3, **settings}
    return StageInput(
        train=feed(train, augment, seed=seed),
        val=None if val is None else feed(val),
        augment=augment,
        spec=TrainSpec(stages=(stage,), **settings),
        stage=stage,
        device=Device(bf16=bf16),
        seed=seed,
        balancing=Balancing(num_classes=3, spec=balance or BalanceSpec()),
        first_epoch=first_epoch,
        stop_after=stop_after,
    )


def feed(part: PixelSet, augment: AugmentSpec = CALM, *, seed: int = 0) -> PixelFeed:
    return PixelFeed(part=part, transform=Augment(augment, PREPROCESS, seed=seed), preprocess=PREPROCESS)


def equal_states(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def accuracy(model: Classifier, part: PixelSet) -> float:
    return float((predict_pixels(model, part.pixels, PREPROCESS).argmax(1) == part.labels).mean())


def test_one_batch_of_noise_can_be_learnt_to_the_last_picture(tiny: Tiny) -> None:
    generator = np.random.default_rng(0)
    noise = PixelSet(
        pixels=generator.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
        targets=generator.integers(0, 3, 8),
        paths=tuple(str(i) for i in range(8)),
        rows=np.arange(8),
    )
    stage = Stage(trains="all", epochs=40)
    fitted = fine_tune(tiny(), stage_input(noise, noise, stage=stage, schedule="constant", patience=40))
    assert accuracy(fitted.model, noise) == 1.0


def test_real_labels_are_learnt_and_shuffled_labels_stay_near_chance(tiny: Tiny, squares: Squares) -> None:
    stage = Stage(trains="all", epochs=8)
    told = fine_tune(tiny(), stage_input(squares(48), squares(60, first=500), stage=stage))
    fooled = fine_tune(
        tiny(), stage_input(squares(48, shuffled=True), squares(60, first=500, shuffled=True), stage=stage)
    )
    assert told.val_accuracy > 0.9
    assert fooled.val_accuracy < 0.6


def test_returned_weights_are_those_of_the_lowest_validation_loss(tiny: Tiny, squares: Squares) -> None:
    val = squares(24, first=500, shuffled=True)  # so that the loss rises again
    data = stage_input(squares(24), val, stage=Stage(trains="all", epochs=8), lr=1e-2, schedule="constant")
    fitted = fine_tune(tiny(), data)
    losses = fitted.history["val_loss"]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1 < len(losses)
    assert fitted.val_loss == min(losses)
    probs = predict_pixels(fitted.model, val.pixels, PREPROCESS)
    own = float(-np.log(probs[np.arange(24), val.labels]).mean())
    assert own == pytest.approx(min(losses), rel=1e-5)
    assert fitted.val_accuracy == pytest.approx(accuracy(fitted.model, val))
    best = [row for row in fitted.history.rows if row.best][-1]
    assert best.epoch == fitted.best_epoch


@pytest.mark.parametrize("first_epoch", [0, 7])
def test_training_stops_after_patience_epochs_without_a_lower_loss(
    tiny: Tiny, squares: Squares, first_epoch: int
) -> None:
    data = stage_input(
        squares(24),
        squares(24, first=500, shuffled=True),
        stage=Stage(trains="all", epochs=30),
        lr=1e-2,
        schedule="constant",
        patience=2,
        first_epoch=first_epoch,
    )
    fitted = fine_tune(tiny(), data)
    epochs = [row.epoch for row in fitted.history.rows]
    assert epochs == list(range(first_epoch + 1, fitted.best_epoch + 3))
    assert len(epochs) < 30


def test_without_validation_all_epochs_run_and_the_last_weights_are_kept(tiny: Tiny, squares: Squares) -> None:
    seen: list[EpochRow] = []
    data = stage_input(squares(16), None, patience=1)
    fitted = fine_tune(tiny(), data, on_epoch=seen.append)
    assert [row.epoch for row in seen] == [1, 2, 3]
    assert tuple(seen) == fitted.history.rows
    assert fitted.best_epoch == 3
    scored = fine_tune(tiny(), replace(data, val=feed(squares(16)), spec=data.spec.model_copy(update={"patience": 9})))
    if scored.best_epoch == 3:
        assert equal_states(fitted.model, scored.model)


def test_stop_after_ends_early_on_the_schedule_of_the_whole_stage(tiny: Tiny, squares: Squares) -> None:
    data = stage_input(squares(16), None)
    whole = fine_tune(tiny(), data)
    cut = fine_tune(tiny(), replace(data, stop_after=2))
    assert len(cut.history.rows) == 2
    assert cut.history["lr"] == whole.history["lr"][:2]
    assert cut.history["loss"] == whole.history["loss"][:2]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_equal_seeds_give_equal_weights_whatever_was_drawn_before(
    tiny: Tiny, squares: Squares, workers: int, bf16: bool
) -> None:
    def fit(number: int) -> FitResult:
        model = tiny(dropout=0.3, drop_path=0.2)
        torch.rand(17 * number)  # the state of the global generator must not matter
        stage = Stage(trains="all", epochs=2)
        train, val = squares(20), squares(8, first=500)
        data = stage_input(train, val, stage=stage, augment=WILD, bf16=bf16, ema=0.9, workers=workers * number)
        return fine_tune(model, data)

    first, second = fit(0), fit(1)
    assert first.history["loss"] == second.history["loss"]
    assert equal_states(first.model, second.model)


def test_other_seeds_give_other_weights(tiny: Tiny, squares: Squares) -> None:
    stage = Stage(trains="all", epochs=1)
    first, second = (
        fine_tune(tiny(), stage_input(squares(16), None, stage=stage, augment=WILD, seed=seed)) for seed in (0, 1)
    )
    assert not equal_states(first.model, second.model)


def test_callers_model_is_not_changed(tiny: Tiny, squares: Squares) -> None:
    model = tiny().train()
    before, modes = clone_state(model), [m.training for m in model.modules()]
    grads = [p.requires_grad for p in model.parameters()]
    fine_tune(model, stage_input(squares(16), squares(8), stage=Stage(trains=1, epochs=1)))
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == grads
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_frozen_blocks_keep_weights_and_batch_norm_statistics(tiny: Tiny, squares: Squares, ema: float) -> None:
    model = tiny(drop_path=0.1)
    last = {f"backbone.{name}" for name in blocks_of(model.backbone)[-1].parameters}
    data = stage_input(squares(24), squares(12), stage=Stage(trains=1, epochs=2), ema=ema, lr=1e-2, augment=WILD)
    fitted = fine_tune(model, data)
    before, after = model.state_dict(), fitted.model.state_dict()
    modules = {name.rpartition(".")[0] for name in last} | {"head"}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.rpartition(".")[0] for name in changed} <= modules
    assert last - changed == set()
    assert any(name.endswith("running_mean") for name in changed)


def test_first_average_weighs_the_model_most_and_later_ones_the_past(tiny: Tiny) -> None:
    model = tiny()
    average = AveragedWeights(model, 0.9)
    start = model.head.bias.detach().clone()
    with torch.no_grad():
        model.head.bias += 1
    average.update(model)
    torch.testing.assert_close(average.model.head.bias, start + (1 - 2 / 11))
    for _ in range(200):
        average.update(model)
    torch.testing.assert_close(average.model.head.bias, model.head.bias)
    with torch.no_grad():
        model.head.bias += 1
    average.update(model)
    torch.testing.assert_close(average.model.head.bias, model.head.bias - 0.9)


def test_averaged_weights_are_the_ones_that_are_shipped(tiny: Tiny, squares: Squares) -> None:
    stage = Stage(trains="all", epochs=2)
    plain = fine_tune(tiny(), stage_input(squares(24), None, stage=stage))
    smooth = fine_tune(tiny(), stage_input(squares(24), None, stage=stage, ema=0.99))
    assert plain.history["loss"] == smooth.history["loss"]  # the average does not change the training
    assert plain.model.head.weight.norm() > smooth.model.head.weight.norm() > 0


def test_diverging_rate_is_an_error_that_names_a_lower_rate(tiny: Tiny, squares: Squares) -> None:
    data = stage_input(squares(24), squares(8), lr=1e30, head_lr=1e30, schedule="constant")
    with pytest.raises(DivergedError, match=r"learning rate is too high.*train\.lr=1e\+28"):
        fine_tune(tiny(), data)


def test_rate_that_diverges_in_the_last_step_is_an_error(tiny: Tiny, squares: Squares) -> None:
    stage = Stage(trains="all", epochs=1)
    data = stage_input(squares(8), squares(8), stage=stage, lr=1e20, head_lr=1e20, schedule="constant")
    with pytest.raises(DivergedError):
        fine_tune(tiny(), data)


def test_advice_after_a_diverging_stage_names_a_setting_that_helps(tiny: Tiny, squares: Squares) -> None:
    stage = Stage(trains="all", epochs=3, lr=1e30, head_lr=1e30)
    with pytest.raises(DivergedError, match=r"train\.stages\.0\.lr=1e\+28"):
        fine_tune(tiny(), stage_input(squares(24), squares(8), stage=stage, schedule="constant"))


def test_advice_follows_a_head_whose_rate_is_the_backbones(tiny: Tiny, squares: Squares) -> None:
    head = Stage(trains="head", solve=False, epochs=3)
    for rates, advised in (({"lr": 1e30, "head_lr": "lr"}, "train.lr"), ({"head_lr": 1e30}, "train.head_lr")):
        data = stage_input(squares(24), squares(8), stage=head, schedule="constant", **rates)
        with pytest.raises(DivergedError, match=rf"{advised}=1e\+28"):
            fine_tune(tiny(), data)


def test_empty_validation_part_counts_as_none(tiny: Tiny, squares: Squares) -> None:
    empty = replace(squares(8), rows=np.arange(0))
    assert fine_tune(tiny(), stage_input(squares(16), empty)).best_epoch == 3


@pytest.mark.parametrize("size", [16, 17, 20, 23], ids=["even", "one left", "four left", "seven left"])
def test_schedule_ends_with_the_last_step(tiny: Tiny, squares: Squares, size: int) -> None:
    fitted = fine_tune(tiny(), stage_input(squares(size), None, lr=1e-3, head_lr=1e-3))
    rates = fitted.history["lr"]
    assert 0 < rates[-1] < 3e-4
    assert rates == sorted(rates, reverse=True)


def test_history_holds_the_rate_of_the_backbone(tiny: Tiny, squares: Squares) -> None:
    data = stage_input(squares(16), None, lr=1e-3, head_lr=4e-3, schedule="constant")
    assert fine_tune(tiny(), data).history["lr"] == [1e-3] * 3


def test_bfloat16_trains_and_keeps_the_names_of_the_weights(tiny: Tiny, squares: Squares) -> None:
    data = stage_input(squares(48), squares(24, first=500), stage=Stage(trains="all", epochs=8), bf16=True)
    fitted = fine_tune(tiny(), data)
    assert fitted.val_accuracy > 0.8
    reference = tiny().state_dict()
    state = fitted.model.state_dict()
    assert state.keys() == reference.keys()
    assert {name: value.dtype for name, value in state.items()} == {n: v.dtype for n, v in reference.items()}


def test_prediction_keeps_the_mode_and_sums_to_one(tiny: Tiny, squares: Squares) -> None:
    model = tiny().train()
    probs = predict_pixels(model, squares(70).pixels, PREPROCESS)
    assert probs.shape == (70, 3)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-6)
    assert model.training


def test_history_survives_its_file(tmp_path: Any, tiny: Tiny, squares: Squares) -> None:
    history = fine_tune(tiny(), stage_input(squares(16), squares(8))).history
    history.save(tmp_path / "history.csv")
    assert History.load(tmp_path / "history.csv") == history
    assert History.load(tmp_path / "none.csv") == History()


def test_a_refit_lowers_its_rates_where_the_scored_stage_did(tiny: Tiny, squares: Squares) -> None:
    plateau = {"kind": "plateau", "patience": 0, "factor": 0.5}
    stage = Stage(trains="all", epochs=5)
    data = stage_input(squares(16), None, stage=stage, lr=1e-3, head_lr=1e-3, schedule=plateau)
    refitted = fine_tune(tiny(), replace(data, known_losses=(1.0, 2.0, 0.5, 0.7, 0.9)))
    assert refitted.history["lr"] == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])


@pytest.mark.parametrize("method", ["class_weights", "weighted_sampler", "oversampling", "logit_adjustment"])
def test_rare_classes_can_be_balanced_in_gradient_steps(method: str, tiny: Tiny, squares: Squares) -> None:
    part = squares(48)
    rare = replace(part, rows=np.array([i for i in range(48) if part.targets[i] != 0 or i < 9]))
    stage = Stage(trains="all", epochs=6)
    spec = BalanceSpec(method=method)
    fitted = fine_tune(tiny(), stage_input(rare, squares(24, first=500), stage=stage, balance=spec))
    plain = fine_tune(tiny(), stage_input(rare, squares(24, first=500), stage=stage))
    assert not equal_states(fitted.model, plain.model)
    order = Balancing(num_classes=3, spec=spec).order(rare.labels, seed=0, epoch=1)
    shown = np.bincount(rare.labels[order], minlength=3)
    if method == "oversampling":
        assert set(shown) == {16}
    elif method != "weighted_sampler":
        assert shown.tolist() == np.bincount(rare.labels).tolist()
