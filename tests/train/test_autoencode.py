"""The autoencoder: learns its kind, goes on to the same weights, and is refused what belongs to another training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from budwood.errors import DivergedError, UsageError
from budwood.events import StepAdvanced
from budwood.train.autoencode import (
    OneClassSpec,
    Shown,
    repaint_errors,
    repainted,
    seen,
    train_autoencoder,
)
from budwood.train.epoch_keeper import EpochKeeper

SPEC = OneClassSpec(size=16, width=6, code=8, epochs=8, batch_size=8, lr=3e-3)


def ramps(count: int, *, seed: int) -> np.ndarray:
    """Pictures that darken from left to right, each in a colour of its own."""
    colours = np.random.default_rng(seed).integers(60, 256, (count, 1, 1, 3))
    return (colours * np.linspace(0, 1, 16)[None, None, :, None]).repeat(16, axis=1).astype(np.uint8)


def shown(count: int = 24) -> Shown:
    return Shown(pixels=ramps(count, seed=0), keys=list(range(count)), views=(0, 4))


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return model.state_dict()


def test_it_learns_its_kind_and_repaints_another_worse() -> None:
    fit = train_autoencoder(shown(), ramps(8, seed=1), spec=SPEC, seed=0)
    assert min(row.val_error for row in fit.rows) < 0.3 * fit.rows[0].val_error
    noise = np.random.default_rng(2).integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    assert repaint_errors(fit.model, ramps(8, seed=3)).max() < repaint_errors(fit.model, noise).min()
    assert repainted(fit.model, noise).shape == noise.shape


def test_the_best_epoch_is_what_is_kept() -> None:
    val = ramps(8, seed=1)
    fit = train_autoencoder(shown(), val, spec=SPEC, seed=0)
    assert repaint_errors(fit.model, val).mean() == pytest.approx(min(row.val_error for row in fit.rows))


def test_a_score_does_not_depend_on_the_pictures_beside_it() -> None:
    fit = train_autoencoder(shown(), ramps(8, seed=1), spec=SPEC.model_copy(update={"epochs": 1}), seed=0)
    many = ramps(70, seed=4)
    assert np.array_equal(repaint_errors(fit.model, many)[65:67], repaint_errors(fit.model, many[65:67]))


class Stopped(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("after", [5, 24 * 4 + 9], ids=["in the first epoch", "in the fifth"])
def test_a_training_that_was_stopped_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path, after: int) -> None:
    passed = 0

    def stop(event: object) -> None:
        nonlocal passed
        if isinstance(event, StepAdvanced):
            passed += event.count
            if passed > after:
                raise Stopped

    whole = train_autoencoder(shown(), ramps(8, seed=1), spec=SPEC, seed=0)
    with pytest.raises(Stopped):
        train_autoencoder(
            shown(), ramps(8, seed=1), spec=SPEC, seed=0, keeper=EpochKeeper(tmp_path, identity="x"), listen=stop
        )
    again = train_autoencoder(shown(), ramps(8, seed=1), spec=SPEC, seed=0, keeper=EpochKeeper(tmp_path, identity="x"))
    assert [row.epoch for row in again.rows] == list(range(1, SPEC.epochs + 1))
    assert all(torch.equal(value, state(whole.model)[name]) for name, value in state(again.model).items())


def test_checkpoints_of_another_training_are_refused(tmp_path: Path) -> None:
    keeper = EpochKeeper(tmp_path, identity="x")
    train_autoencoder(shown(), ramps(8, seed=1), spec=SPEC.model_copy(update={"epochs": 1}), seed=0, keeper=keeper)
    with pytest.raises(UsageError, match="another training"):
        EpochKeeper(tmp_path, identity="y").load()


def test_a_rate_that_is_too_high_is_told_with_a_lower_one() -> None:
    with pytest.raises(DivergedError, match=r"one_class\.lr=1e\+29"):
        train_autoencoder(shown(), ramps(8, seed=1), spec=SPEC.model_copy(update={"lr": 1e30}), seed=0)


def test_each_picture_is_seen_in_a_harmless_view_that_depends_on_nothing_but_itself_and_the_epoch() -> None:
    given = shown()
    one = seen(given, np.array([3]), seed=0, epoch=5)[0]
    among = seen(given, np.array([7, 3, 1]), seed=0, epoch=5)[1]
    assert np.array_equal(one, among)
    drawn = {seen(given, np.array([3]), seed=0, epoch=epoch).tobytes() for epoch in range(20)}
    assert drawn == {given.pixels[3].tobytes(), np.ascontiguousarray(given.pixels[3][:, ::-1]).tobytes()}
