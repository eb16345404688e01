"""Trainings that `test_spread.py` has carried out by one process and by several: what both sides import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.events import silent
from budwood.models.backbones import load_backbone
from budwood.models.build import Classifier, attach_head
from budwood.train import keeper as keeping
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.feed import PixelFeed
from budwood.train.keeper import Keeper, Outcome
from budwood.train.loop import _Work
from budwood.train.outcomes import outcome_of
from budwood.train.stage_input import StageInput
from budwood.train.stages import Stage, TrainSpec
from budwood.train.team import Team

PREPROCESS = Preprocess(size=32)
CALM = AugmentSpec(rotation=0, flip="none", scale=(1, 1), shift=0, brightness=0, contrast=0, saturation=0, cutmix=0)
WILD = AugmentSpec(rotation=180, flip="both", cutmix=0)
NUM_PICTURES = 21  # in batches of 9: the last one has three, so that a second process gets none


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training: of which network, what of it, on what pictures, by which settings."""

    network: str = "test_vit"
    trains: Literal["all", "head"] = "all"
    augment: AugmentSpec = WILD
    settings: tuple[tuple[str, Any], ...] = ()


CASES = {
    "a last batch of three": Case(),
    "mixed pictures": Case(augment=WILD.model_copy(update={"cutmix": 0.5, "mixup": 0.4})),
    "averaged weights": Case(settings=(("ema", 0.9),)),
    "a frozen backbone with BatchNorm": Case(network="test_efficientnet", trains="head"),
}
BATCH_NORM = Case(network="test_efficientnet")


def squares(size: int, *, first: int) -> PixelSet:
    """Noisy squares of three classes."""
    generator = np.random.default_rng(first)
    targets = np.arange(size) % 3
    pixels = generator.integers(0, 150, (size, 32, 32, 3), dtype=np.uint8)
    for i, target in enumerate(targets):
        pixels[i, :, :, target] += 100
    paths = tuple(f"{first + i}.png" for i in range(size))
    return PixelSet(pixels=pixels, targets=targets, paths=paths, rows=np.arange(size))


def network(case: Case) -> Classifier:
    """The untrained network, the same at every call."""
    torch.manual_seed(0)
    return attach_head(load_backbone(case.network, pretrained=False), num_classes=3, dropout=0.0)


def stage_input(case: Case, *, devices: int = 1) -> StageInput:
    """Gradient descent with momentum: AdamW turns rounding errors of tiny gradients into whole steps."""
    augment, stage = Augment(case.augment, PREPROCESS, seed=1), Stage(trains=case.trains, epochs=2)
    settings = {"batch_size": 9, "ema": 0, "optimizer": "sgd", "lr": 1e-2, "head_lr": 1e-2, **dict(case.settings)}
    return StageInput(
        train=PixelFeed(part=squares(NUM_PICTURES, first=0), transform=augment, preprocess=PREPROCESS),
        val=PixelFeed(part=squares(8, first=500), transform=augment, preprocess=PREPROCESS),
        augment=case.augment,
        spec=TrainSpec(stages=(stage,), **settings),
        stage=stage,
        device=Device(devices=devices),
        seed=1,
        balancing=Balancing(num_classes=3),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a training gave: its outcome, its weights, and a sum over the weights of each process."""

    outcome: Outcome
    weights: dict[str, NDArray[Any]]
    sums: NDArray[np.float64]


def trained(
    case: Case, team: Team, *, data: StageInput | None = None, model: Classifier | None = None, **more: Any
) -> Answer:
    """The training by this process's team."""
    work = _Work(
        model or network(case),
        data or stage_input(case),
        team=team,
        **{"listen": silent, "step": "fit", "on_epoch": silent, "keeper": None, **more},
    )
    found = work.go()
    weights = {name: value.numpy() for name, value in found.model.state_dict().items() if value.is_floating_point()}
    return Answer(outcome_of(found), weights, team.gathered(*(float(np.abs(w).sum()) for w in weights.values())))


class Poison:
    """An augmentation that yields NaN at its second call, in one process."""

    def __init__(self, team: Team) -> None:
        self.inner, self.calls, self.fatal = Augment(WILD, PREPROCESS, seed=1), 0, 2 if team.rank == 1 else 0

    def __call__(
        self, pixels: NDArray[np.uint8], records: Sequence[int], epoch: int, *, targets: Any = None
    ) -> torch.Tensor:
        self.calls += 1
        images = self.inner(pixels, records, epoch, targets=targets)
        return images * float("nan") if self.calls == self.fatal else images


def poisoned(case: Case, team: Team) -> Answer:
    """One process sees NaN."""
    data = stage_input(case)
    assert isinstance(data.train, PixelFeed)
    return trained(case, team, data=replace(data, train=replace(data.train, transform=Poison(team))))


def short_of_memory(case: Case, team: Team) -> Answer:
    """One process has memory for two pictures only."""

    def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if module.training and team.rank == 1 and len(inputs[0]) > 2:
            raise RuntimeError("out of memory")

    model = network(case)
    model.register_forward_pre_hook(refuse)
    return trained(case, team, model=model)


class StoppedError(Exception):
    """What stands for a kill of all processes."""


def stopped_and_resumed(case: Case, team: Team, folder: Path, *, steps: int) -> Answer:
    """Stopped in all processes after some steps, then taken up from the checkpoints of the first."""
    keeping._COST = 0  # a checkpoint at every step
    done = 0

    def stop(event: object) -> None:
        nonlocal done
        done += getattr(event, "count", 0) > 0
        if done > steps:
            raise StoppedError

    def keeper() -> Keeper | None:
        return Keeper(folder / "kept", identity="the same", seconds=0) if team.rank == 0 else None

    try:
        trained(case, team, listen=stop, keeper=keeper())
    except StoppedError:
        seen: list[int] = []
        again = trained(case, team, keeper=keeper(), listen=lambda event: seen.append(getattr(event, "count", -1)))
        assert team.rank or seen[1] >= (steps - 1) * 3  # it did not begin anew
        return again
    raise AssertionError("nothing stopped it")


def all_cases(folder: Path, team: Team, tell: Callable[[object], None]) -> dict[str, Answer]:
    """Every training of this module, by one team."""
    answers = {name: trained(case, team) for name, case in CASES.items()}
    plain = CASES["a last batch of three"]
    answers["BatchNorm"] = trained(BATCH_NORM, team)
    answers["NaN in one process"] = poisoned(plain, team)
    answers["little memory in one process"] = short_of_memory(plain, team)
    averaged = CASES["averaged weights"]
    answers["resumed"] = stopped_and_resumed(averaged, team, folder, steps=4)
    tell("all trained")
    return answers
