"""`Trainer`: carries out a recipe's stages on some parts of the pictures; `pipeline.py` says which.

It never sees the test part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budwood import cache
from budwood.augment.balance import BalanceSpec
from budwood.augment.transforms import Augment
from budwood.data.loader import PixelSet
from budwood.events import Listener, Warned
from budwood.models.backbones import Backbone
from budwood.models.build import Classifier, attach_head
from budwood.prepare import Dataset, Views, digests_of, head_folds
from budwood.recipe import Recipe
from budwood.train.balanced_heads import Heads, MoreViews, weighing
from budwood.train.features import FeatureCache, FeatureSource, frozen_features
from budwood.train.heads import HeadResult, choose_head, fit_head
from budwood.train.history import History
from budwood.train.loop import FitResult, StageInput, fine_tune
from budwood.train.more_views import ViewMaker, further_features
from budwood.train.stages import Stage
from budwood.train.temper import tempered_scale


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model and what its making told: the head's choice, the epochs, the validation score."""

    model: Classifier
    head: HeadResult | None
    fits: tuple[FitResult, ...]

    @property
    def history(self) -> History:
        """The epochs of all gradient stages."""
        return History(rows=tuple(row for fit in self.fits for row in fit.history.rows))

    def selection(self) -> list[dict[str, Any]]:
        """The scores that something was chosen by: not a test, and said so."""
        scores: list[dict[str, Any]] = []
        if self.head:
            scores.append(
                {
                    "name": "head on frozen features",
                    "accuracy": self.head.selection_accuracy,
                    "deviation": float(self.head.accuracies[self.head.chosen].std(ddof=1)),
                    "kind": "cross-validated on the training part; used to choose the penalty, so it is optimistic",
                }
            )
        for fit in self.fits:
            scores.append(
                {
                    "name": fit.history.rows[0].stage,
                    "accuracy": fit.val_accuracy,
                    "deviation": None,
                    "kind": "on the validation part, one view; used to choose the epoch, so it is optimistic",
                }
            )
        return scores


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What all trainings of one run share. ``balance`` says how rare classes count in the head that is solved."""

    recipe: Recipe
    dataset: Dataset
    backbone: Backbone
    source: FeatureSource
    views: Views
    bf16: bool
    listen: Listener
    fold: int = 1
    balance: BalanceSpec = field(default_factory=BalanceSpec)

    def train(self, train: PixelSet, val: PixelSet) -> Trained:
        """All stages of the recipe, in order."""
        model, head = self._start(train)
        fits: list[FitResult] = []
        for stage in self.recipe.train.stages:
            if stage.trains != "head":
                data = self._input(stage, train, val, fits)
                if head and not fits:
                    _temper(model, data)
                fits.append(fine_tune(model, data, listen=self.listen))
                model = fits[-1].model
        return Trained(model=model.eval(), head=head, fits=tuple(fits))

    def refit(self, everything: PixelSet, scored: Trained) -> Trained:
        """The same, on all parts, with the penalty and the number of epochs that the scored model chose."""
        model = attach_head(self.backbone, num_classes=self._num_classes, dropout=self.recipe.model.dropout)
        if scored.head:
            features = self.features(everything)
            weight, bias = fit_head(
                features,
                everything.labels,
                num_classes=self._num_classes,
                penalty=scored.head.penalty,
                weighing=weighing(
                    self.balance, self.heads(everything, features), more_views=self.more_views(everything)
                ),
            )
            _set_head(model, weight, bias)
        fits: list[FitResult] = []
        stages = [stage for stage in self.recipe.train.stages if stage.trains != "head"]
        for stage, before in zip(stages, scored.fits, strict=True):
            stop_after = before.best_epoch - before.history.rows[0].epoch + 1
            data = self._input(stage, everything, None, fits, stop_after=stop_after)
            if scored.head and not fits:
                _temper(model, data)
            fits.append(fine_tune(model, data, listen=self.listen, step="refit"))
            model = fits[-1].model
        return Trained(model=model.eval(), head=scored.head, fits=tuple(fits))

    def zero_head(self, train: PixelSet) -> NDArray[np.float32]:
        """Probabilities ``[K]`` of a head that was trained on features of an all-zero picture, once a label."""
        size = self.source.preprocess.size
        black = np.zeros((1, size, size, 3), dtype=np.uint8)
        features = frozen_features(self.source, black, ["zero"], views=(0,), step="zero-input baseline")
        repeated = np.repeat(features, len(train), axis=1)
        weight, bias = fit_head(repeated, train.labels, num_classes=self._num_classes, penalty=1e-2)
        logits = torch.from_numpy(features[0, 0] @ weight.T + bias)
        return np.asarray(logits.softmax(0).numpy(), dtype=np.float32)

    @property
    def _num_classes(self) -> int:
        return len(self.dataset.catalog.classes)

    def _start(self, train: PixelSet) -> tuple[Classifier, HeadResult | None]:
        """The backbone with a head: solved on frozen features where the first stage says so, else zero."""
        model = attach_head(self.backbone, num_classes=self._num_classes, dropout=self.recipe.model.dropout)
        stages = self.recipe.train.stages
        if self.balance.method != "none" and any(stage.trains != "head" for stage in stages):
            text = f'balance.method = "{self.balance.method}" weighs the solved head only: fine-tuning sees classes as'
            self.listen(Warned(text=f"{text} common as they are"))
        if stages[0].trains != "head":
            return model, None
        features = self.features(train)
        folds = head_folds(self.dataset, train, num_folds=self.recipe.head.folds, seed=self.recipe.seed)
        head = choose_head(
            features,
            train.labels,
            folds,
            num_classes=self._num_classes,
            spec=self.recipe.head,
            weighing=weighing(self.balance, self.heads(train, features, folds), more_views=self.more_views(train)),
            listen=self.listen,
        )
        _set_head(model, head.weight, head.bias)
        return model, head

    def features(self, part: PixelSet) -> NDArray[np.float32]:
        """Frozen features ``[V, N, D]`` of a part in the training views, from the cache where it has them."""
        return frozen_features(
            self.source,
            part.pixels[part.rows],
            digests_of(self.dataset.catalog, part.rows),
            views=self.views.train,
            cache=FeatureCache(cache.features_folder()),
            listen=self.listen,
        )

    def heads(self, part: PixelSet, features: NDArray[np.float32], folds: NDArray[np.int64] | None = None) -> Heads:
        """The heads that are fitted on a part: one that leaves out each fold, and one on everything."""
        return Heads.of(features, part.labels, folds, num_classes=self._num_classes, seed=self.recipe.seed)

    def more_views(self, part: PixelSet) -> MoreViews:
        """Where further views of a part's pictures come from: harmless flips and turns, then random augmentations."""
        maker = ViewMaker(
            source=self.source,
            flips=tuple(view for view in self.views.predict if view not in self.views.train),
            augment=self.views.augment,
            seed=self.recipe.seed,
            cache=FeatureCache(cache.features_folder()),
        )

        def make(positions: NDArray[np.int64], number: int) -> NDArray[np.float32]:
            rows = part.rows[positions]
            digests = digests_of(self.dataset.catalog, rows)
            return further_features(maker, part.pixels[rows], digests, number=number, listen=self.listen)

        return make

    def _input(
        self,
        stage: Stage,
        train: PixelSet,
        val: PixelSet | None,
        before: list[FitResult],
        *,
        stop_after: int | None = None,
    ) -> StageInput:
        preprocess = self.source.preprocess
        return StageInput(
            train=train,
            val=val,
            transform=Augment(self.views.augment, preprocess, seed=self.recipe.seed),
            preprocess=preprocess,
            augment=self.views.augment,
            spec=self.recipe.train,
            stage=stage,
            bf16=self.bf16,
            seed=self.recipe.seed + 1000 * (self.fold - 1),
            first_epoch=before[-1].history.rows[-1].epoch if before else 0,
            stop_after=stop_after,
        )

    def to_json(self, trained: Trained, environment: dict[str, Any], num_parameters: int) -> dict[str, Any]:
        """training.json: everything about the making that the report shows and no other file holds."""
        head = trained.head
        preprocess = self.source.preprocess
        sides = sorted(min(r.width, r.height) for r in self.dataset.catalog.records)
        return {
            "orientation": self.views.evidence,
            "augment": self.views.augment.model_dump(mode="json"),
            "views": {"train": list(self.views.train), "predict": list(self.views.predict)},
            "preprocess": preprocess.to_dict(),
            "median_side": sides[len(sides) // 2],
            "native_size": self.backbone.preprocess.size,
            "backbone": {
                "name": self.backbone.name,
                "source": self.backbone.source,
                "sha256": self.backbone.digest,
                "parameters": num_parameters,
            },
            "head": None
            if head is None
            else {
                "penalties": list(head.penalties),
                "accuracies": head.accuracies.mean(axis=1).tolist(),
                "deviations": head.accuracies.std(axis=1, ddof=1).tolist(),
                "log_losses": head.log_losses.mean(axis=1).tolist(),
                "chosen": head.chosen,
                "num_folds": head.accuracies.shape[1],
                "num_views": len(self.views.train),
                "iterations": head.iterations,
                "converged": head.converged,
            },
            "balance": self.balance.model_dump(mode="json"),
            "best_epochs": [fit.best_epoch for fit in trained.fits],
            **environment,
        }


def _temper(model: Classifier, data: StageInput) -> None:
    scale = tempered_scale(model, data)
    with torch.no_grad():
        model.head.weight.mul_(scale)
        model.head.bias.mul_(scale)


def _set_head(model: Classifier, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
