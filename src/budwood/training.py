"""`Trainer`: carries out a recipe's stages on some parts of the pictures; `pipeline.py` says which.

It never sees the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budwood.allowed_views import Views, choose_views
from budwood.augment.balance import BalanceSpec
from budwood.augment.transforms import Augment
from budwood.data.loader import PixelSet
from budwood.data.split_nouns import Split
from budwood.events import Listener, Warned
from budwood.files import sha256_bytes, to_json
from budwood.frozen_phase import FrozenPhase
from budwood.models.backbones import Backbone
from budwood.models.build import Classifier, attach_head
from budwood.prepare import Dataset, open_pixels, part_of, working_preprocess
from budwood.recipe import Recipe
from budwood.shortening import CacheUse, Shortener
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.features import FeatureSource
from budwood.train.feed import PixelFeed
from budwood.train.heads import HeadResult
from budwood.train.history import EpochRow
from budwood.train.keeper import Keeper
from budwood.train.loop import fine_tune
from budwood.train.outcomes import result_of
from budwood.train.pool import Pool
from budwood.train.stage_input import FitResult, StageInput
from budwood.train.temper import tempered_scale
from budwood.trained import Trained

__all__ = ["Trained", "Trainer", "open_trainer", "unheard"]


def unheard(row: EpochRow) -> None:
    """For those who do not want to hear of epochs."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What all trainings of one run share.

    device: where gradient steps are taken. balance: how rare classes count. initial: weights that every training starts
    from, as far as they fit, so that arms of a comparison differ by their settings alone (report A4). checkpoints:
    where the state of a training is kept; None keeps nothing.
    on_epoch: called after each epoch of the first fold. identity: what the weights depend on besides the recipe.
    pool: what all trainings of a sweep share; the stage that first trains the backbone takes its pictures from there.
    """

    recipe: Recipe
    dataset: Dataset
    backbone: Backbone
    source: FeatureSource
    views: Views
    device: Device
    listen: Listener
    fold: int = 1
    balance: BalanceSpec = field(default_factory=BalanceSpec)
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    checkpoints: Path | None = None
    identity: str = ""
    on_epoch: Callable[[EpochRow], None] = unheard
    pool: Pool | None = None

    def train(self, train: PixelSet, val: PixelSet, *, name: str = "fit") -> Trained:
        """All stages of the recipe, in order; ``name`` tells trainings of one run apart."""
        self.warn_of_balance()
        return self._carry_out(train, val, step="fine-tune", name=f"{name}-{self.fold}")

    def refit(self, everything: PixelSet, scored: Trained) -> Trained:
        """The same, on all parts, with the penalty and the number of epochs that the scored model chose."""
        return self._carry_out(everything, None, step="refit", name="refit", scored=scored)

    def _carry_out(
        self, train: PixelSet, val: PixelSet | None, *, step: str, name: str, scored: Trained | None = None
    ) -> Trained:
        """The stages in order, from where an earlier process stopped."""
        keeper = self._keeper(name, train)
        on_epoch = self.on_epoch if name == "fit-1" else unheard
        model = self.untrained()
        head = self._solved_head(model, train, scored) if self.solves_head else None
        done = len(keeper.outcomes) if keeper else 0
        if keeper and done:
            model.load_state_dict(keeper.weights)
        fits: list[FitResult] = []
        caches: list[CacheUse] = []
        for number in range(len(self.recipe.train.stages)):
            if number == 0 and head:
                continue
            if keeper and len(fits) < done:
                fits.append(result_of(keeper.outcomes[len(fits)], model))
                continue
            before = scored.fits[len(fits)] if scored else None
            told: list[CacheUse] = []
            data = self.stage_input(number, train, val, fits, before=before, told=told)
            if head and not fits:
                _temper(model, data)
            fits.append(fine_tune(model, data, listen=self.listen, step=step, keeper=keeper, on_epoch=on_epoch))
            model = fits[-1].model
            caches += [use.measured(fits[-1].history, pictures=data.epoch_pictures) for use in told]
        return Trained(model=model.eval(), head=scored.head if scored else head, fits=tuple(fits), caches=tuple(caches))

    def warn_of_balance(self) -> None:
        """Say where gradient steps cannot do what the recipe asks for."""
        steps = len(self.recipe.train.stages) > self.solves_head
        if self.balance.method == "smote" and steps:
            text = 'balance.method = "smote" is for a head that is solved: gradient steps see classes as common as'
            self.listen(Warned(text=f"{text} they are"))

    @property
    def solves_head(self) -> bool:
        """Whether the first stage solves a linear head on frozen features, instead of taking gradient steps."""
        first = self.recipe.train.stages[0]
        return first.is_head and first.solve is not False and not self.recipe.model.top

    def zero_head(self, train: PixelSet) -> NDArray[np.float32]:
        """Probabilities ``[K]`` of a head that was trained on features of an all-zero picture, once a label."""
        return self.frozen.zero_head(train)

    @property
    def frozen(self) -> FrozenPhase:
        """What is learnt on the backbone as it came."""
        return FrozenPhase(
            recipe=self.recipe,
            dataset=self.dataset,
            source=self.source,
            views=self.views,
            balance=self.balance,
            listen=self.listen,
        )

    @property
    def _num_classes(self) -> int:
        return len(self.dataset.catalog.classes)

    def untrained(self) -> Classifier:
        """The backbone with a new head, from the initial weights as far as they fit."""
        torch.manual_seed(self.recipe.seed)  # for what has no weights of its own yet
        model = attach_head(self.backbone, num_classes=self._num_classes, spec=self.recipe.model)
        own = model.state_dict()
        fitting = {n: v for n, v in self.initial.items() if n in own and own[n].shape == v.shape}
        model.load_state_dict({**own, **fitting})
        return model

    def _solved_head(self, model: Classifier, train: PixelSet, scored: Trained | None) -> HeadResult:
        """Solve the linear head on frozen features, put it into ``model``, and tell how it was chosen."""
        if scored and scored.head:
            _set_head(model, *self.frozen.fit(train, penalty=scored.head.penalty))
            return scored.head
        head = self.frozen.choose(train)
        _set_head(model, head.weight, head.bias)
        return head

    def stage_input(
        self,
        number: int,
        train: PixelSet,
        val: PixelSet | None,
        fits: list[FitResult],
        *,
        before: FitResult | None = None,
        told: list[CacheUse],
    ) -> StageInput:
        """What stage ``number`` works on; ``before`` is the same stage of the scored model in a refit."""
        recipe, preprocess = self.recipe, self.source.preprocess
        stage = recipe.train.stages[number]
        augment = self.views.resolve(recipe.augment.with_overrides(stage.augment))
        seed = recipe.seed + 1000 * (self.fold - 1)
        transform = Augment(augment, preprocess, seed=seed, classes=self.dataset.catalog.classes)
        own = PixelFeed(part=train, transform=transform, preprocess=preprocess)
        judged = PixelFeed(part=val, transform=transform, preprocess=preprocess) if val else None
        changed = any(not earlier.is_head for earlier in recipe.train.stages[:number])
        return StageInput(
            train=own,
            val=judged,
            augment=augment,
            spec=recipe.train,
            stage=stage,
            stage_number=number,
            device=self.device,
            seed=seed,
            balancing=Balancing(num_classes=self._num_classes, spec=self.balance),
            shorten=self._shortener().of(stage, own, judged, augment=augment, changed=changed, told=told),
            first_epoch=fits[-1].history.rows[-1].epoch if fits else 0,
            stop_after=before.best_epoch - before.history.rows[0].epoch + 1 if before else None,
            known_losses=tuple(before.history["val_loss"]) if before else (),
        )

    def _shortener(self) -> Shortener:
        return Shortener(
            catalog=self.dataset.catalog,
            spec=self.recipe.train,
            preprocess=self.source.preprocess,
            features=lambda part, views: self.frozen.features(part, views=views),
            views=self.views.train,
            input_dropout=self.recipe.model.input_dropout,
            seed=self.recipe.seed,
            bf16=self.device.bf16,
            listen=self.listen,
            pool=self.pool,
        )

    def _keeper(self, name: str, train: PixelSet) -> Keeper | None:
        if self.checkpoints is None:
            return None
        facts = {
            "recipe": self.recipe.to_toml(),
            "identity": self.identity,
            "part": [train.paths[i] for i in train.rows],
        }
        return Keeper(
            self.checkpoints / name,
            identity=sha256_bytes(to_json(facts).encode()),
            seconds=self.recipe.train.checkpoint_seconds,
            listen=self.listen,
        )


def open_trainer(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    backbone: Backbone,
    *,
    device: Device,
    listen: Listener,
    checkpoints: Path | None = None,
    on_epoch: Callable[[EpochRow], None] = unheard,
    arithmetic: Any = None,
) -> tuple[Trainer, PixelSet]:
    """Bring the pictures to the network's size, measure their orientation, and open what trains on them.

    Args:
        checkpoints: where the state of a training is kept.
        on_epoch: see `Trainer`.
        arithmetic: what equal weights depend on besides recipe, pictures and backbone, JSON-ready.

    Returns:
        The trainer, and all pictures as pixels.
    """
    preprocess = working_preprocess(dataset, recipe, backbone)
    pixels = open_pixels(dataset, preprocess, listen=listen)
    source = FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=preprocess,
        identity=f"{backbone.name} {backbone.source} {backbone.digest}",
        bf16=device.bf16,
    )
    train = part_of(pixels, split.parts["train"])
    trainer = Trainer(
        recipe=recipe,
        dataset=dataset,
        backbone=backbone,
        source=source,
        views=choose_views(recipe, dataset, train, source, listen=listen),
        device=device,
        listen=listen,
        balance=recipe.balance,
        checkpoints=checkpoints,
        on_epoch=on_epoch,
        identity=to_json([source.identity, dataset.catalog.fingerprint, arithmetic]),
    )
    return trainer, pixels


def _temper(model: Classifier, data: StageInput) -> None:
    scale = tempered_scale(model, data)
    with torch.no_grad():
        model.head.weight.mul_(scale)
        model.head.bias.mul_(scale)


def _set_head(model: Classifier, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
