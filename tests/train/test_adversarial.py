"""The GAN: equal seeds give equal weights, a stop changes nothing, a loss that is no number is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from budwood.errors import DivergedError
from budwood.events import StepAdvanced
from budwood.models.generator import Discriminator, Generator
from budwood.train.adversarial import Game, SynthesisSpec, changed, fixed_noise, paint, play
from budwood.train.autoencode import Shown
from budwood.train.epoch_keeper import EpochKeeper

SPEC = SynthesisSpec(size=16, width=4, noise=8, epochs=4, batch_size=8)
TARGETS = np.arange(20) % 2


def flat(*, seed: int = 0) -> Shown:
    """Two classes: dark red and light blue, with some noise."""
    generator = np.random.default_rng(seed)
    colours = np.array([[90, 20, 20], [150, 170, 250]])[TARGETS]
    pixels = colours[:, None, None] + generator.integers(-15, 5, (20, 16, 16, 3))
    return Shown(pixels=pixels.clip(0, 255).astype(np.uint8), keys=list(range(20)), views=(0, 4))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_the_classes_are_painted_in_their_own_colours_after_some_epochs() -> None:
    spec = SPEC.model_copy(update={"epochs": 15, "width": 8, "augment": False, "ema": 0.9})
    generator = play(flat(), TARGETS, num_classes=2, spec=spec, seed=0).generator
    noise = fixed_noise(8, size=spec.noise, seed=0, name="sheet")
    red, blue = (paint(generator, noise, np.full(8, k)).reshape(-1, 3).mean(axis=0) for k in (0, 1))
    assert blue[2] > red[2] + 50


def test_equal_seeds_give_equal_generators_and_others_do_not() -> None:
    first, second, other = (play(flat(), TARGETS, num_classes=2, spec=SPEC, seed=s).generator for s in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


class Stopped(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("after", [3, 45], ids=["in the first epoch", "in the third"])
def test_a_game_that_was_stopped_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path, after: int) -> None:
    passed = 0

    def stop(event: object) -> None:
        nonlocal passed
        if isinstance(event, StepAdvanced):
            passed += event.count
            if passed > after:
                raise Stopped

    whole = play(flat(), TARGETS, num_classes=2, spec=SPEC, seed=0)
    keeper = EpochKeeper(tmp_path, identity="x")
    with pytest.raises(Stopped):
        play(flat(), TARGETS, num_classes=2, spec=SPEC, seed=0, keeper=keeper, listen=stop)
    told: list[int] = []
    again = play(
        flat(),
        TARGETS,
        num_classes=2,
        spec=SPEC,
        seed=0,
        keeper=EpochKeeper(tmp_path, identity="x"),
        on_epoch=lambda generator, row: told.append(row.epoch),
    )
    assert same(again.generator, whole.generator)
    assert told == ([1, 2, 3, 4] if after < 20 else [3, 4])
    assert [row.epoch for row in again.rows] == [1, 2, 3, 4]


def test_a_loss_that_is_no_number_is_told_and_the_epoch_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_step = Game._step
    steps = 0

    def broken(self: Game, *inputs: object) -> tuple[float, ...]:
        nonlocal steps
        steps += 1
        if steps == 5:  # in the second epoch
            self.discriminator.score.bias.data.fill_(float("nan"))
        return real_step(self, *inputs)

    monkeypatch.setattr(Game, "_step", broken)
    with pytest.raises(DivergedError, match=r"in epoch 2 .*synthesis\.lr"):
        play(flat(), TARGETS, num_classes=2, spec=SPEC, seed=0, keeper=EpochKeeper(tmp_path, identity="x"))
    saved = EpochKeeper(tmp_path, identity="x").load()
    assert saved is not None
    assert len(saved.facts["rows"]) == 1
    assert all(bool(torch.isfinite(value).all()) for value in saved.tensors.values())


def test_a_painted_picture_does_not_depend_on_its_neighbours() -> None:
    generator = Generator(num_classes=3, size=16, noise=8, width=4).eval()
    noise, targets = fixed_noise(6, size=8, seed=0, name="x"), np.array([0, 1, 2, 0, 1, 2])
    alone = paint(generator, noise[4:5], targets[4:5]).astype(int)
    assert np.abs(paint(generator, noise, targets)[4:5].astype(int) - alone).max() <= 1


def test_the_class_matters_to_both_nets() -> None:
    generator, judge = Generator(num_classes=2, size=16, noise=8, width=4), Discriminator(num_classes=2, width=4)
    noise = torch.from_numpy(fixed_noise(1, size=8, seed=0, name="x"))
    zero, one = torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.long)
    assert not torch.equal(generator(noise, zero), generator(noise, one))
    images = torch.rand(1, 3, 16, 16)
    assert not torch.equal(judge(images, zero), judge(images, one))


def test_changed_pictures_are_moved_and_recoloured_and_let_gradients_through() -> None:
    images = torch.rand(64, 3, 16, 16, requires_grad=True)
    out = changed(images, np.random.default_rng(0))
    out.sum().backward()
    assert out.shape == images.shape
    assert images.grad is not None
    assert bool((images.grad != 0).any())
    dots = torch.zeros(64, 3, 16, 16)
    dots[:, :, 8, 8] = 30.0
    at = changed(dots, np.random.default_rng(0)).sum(1).flatten(1).argmax(1)
    rows, columns = at // 16, at % 16
    assert {int(v) for v in rows} | {int(v) for v in columns} == {6, 7, 8, 9, 10}
