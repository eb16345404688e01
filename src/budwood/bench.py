"""`Bench`: what all arms of a sweep share (pictures, folds, first weights), and the training of one arm on it.

The training and validation part is all that it knows: it is handed no picture of the test part. What is searched, and
in which order, is `search/`'s matter; `sweeping.py` puts the two together.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from budwood import cache, machine
from budwood.allowed_views import choose_views
from budwood.augment.balance import check_smote
from budwood.augment.transforms import Augment
from budwood.data.loader import PixelSet
from budwood.data.rounds import Round
from budwood.data.split_nouns import Split
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener
from budwood.export.bundle import Bundle, BundleFacts
from budwood.files import sha256_bytes, to_json
from budwood.first_weights import first_weights, source_of
from budwood.models.build import Classifier, open_backbone
from budwood.prepare import Dataset, digests_of, open_pixels, part_of, working_preprocess
from budwood.recipe import Recipe
from budwood.scoring import predict_part
from budwood.search.arms import Training
from budwood.search.trainings import Answered, KeptTraining, OnEpoch, epochs_told
from budwood.shortening import draws_key, obstacle
from budwood.train.boundary import Keeping
from budwood.train.chain import Demand, counted, rows_of
from budwood.train.features import FeatureCache, frozen_features
from budwood.train.freezing import refuse_unknown_blocks
from budwood.train.pool import Pool, PoolPart
from budwood.train.pool_views import pictures_of
from budwood.train.predict import loss_and_accuracy
from budwood.train.stages import Stage
from budwood.train.worth import allowed_bytes
from budwood.training import Trained, Trainer
from budwood.where import Chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A comparison of depths.

    stages: what fine-tunes, once for each depth. epochs: the most that an arm takes. seeds: of the trainings; the first
    one draws the versions of the pictures that all of them see. folder: for kept activations. decisions: file of what
    was decided about them.
    """

    stages: tuple[Stage, ...]
    epochs: int
    seeds: tuple[int, ...]
    folder: Path
    decisions: Path


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all arms share.

    initial: folder of the first weights, one file for each architecture and seed. chosen: the machine's arithmetic.
    freeze: the depths that are compared, if any, and where their pictures at the borders are kept.
    """

    dataset: Dataset
    split: Split
    rounds: tuple[Round, ...]
    chosen: Chosen
    initial: Path
    listen: Listener
    freeze: Freeze | None = None
    _pools: dict[str, Pool] = field(default_factory=dict)

    def close(self) -> None:
        """Delete what was kept for trainings that are still to come: there are none."""
        while self._pools:
            self._pools.popitem()[1].close()

    def answer(
        self,
        recipe: Recipe,
        *,
        seed: int,
        fold: int,
        folder: Path,
        checkpoints: bool,
        on_epoch: OnEpoch = lambda accuracy: None,
    ) -> Answered:
        """Train one arm with one seed on one fold, or take what an earlier process kept in ``folder``.

        Args:
            folder: for what a killed process leaves to the next one.
            checkpoints: keep the state within the training there, too.
            on_epoch: told the validation accuracy after each epoch; may raise to end the training.
        """
        kept = KeptTraining(folder / f"{seed}-{fold}")
        known = kept.load()
        if known is not None:
            for row in known.history.rows:
                on_epoch(row.val_accuracy)
            return known
        started = time.perf_counter()
        recipe = recipe.model_copy(update={"seed": seed})
        trainer, pixels = self._trainer(recipe, on_epoch, checkpoints=kept.path if checkpoints else None)
        train, judged = (part_of(pixels, rows) for rows in (self.rounds[fold].train, self.rounds[fold].judged))
        trained = trainer.train(train, judged)
        probs = self._answers(trainer, trained, judged)
        loss, accuracy = loss_and_accuracy(probs, judged.labels)
        seconds = time.perf_counter() - started
        answered = Answered(
            training=Training(seed=seed, fold=fold, accuracy=accuracy, log_loss=loss, seconds=seconds),
            predictions=Predictions(
                probs=probs,
                targets=judged.labels,
                paths=tuple(judged.paths[i] for i in judged.rows),
                classes=self.dataset.catalog.classes,
            ),
            history=trained.history,
            notes=(*(note for fit in trained.fits for note in fit.notes), *self._told(trainer, trained)),
        )
        kept.save(answered)
        # As a later process will read it: the file's digits, so that a resumed sweep judges by the same numbers.
        return kept.load() or answered

    def _trainer(self, recipe: Recipe, on_epoch: OnEpoch, *, checkpoints: Path | None) -> tuple[Trainer, PixelSet]:
        """Everything opened anew for one training, so that no arm leaves anything to the next."""
        if recipe.balance.method == "smote":
            check_smote()
        torch.manual_seed(recipe.seed)  # for weights that are asked to be random
        backbone = open_backbone(recipe.model)
        refuse_unknown_blocks(recipe.train, backbone)
        preprocess = working_preprocess(self.dataset, recipe, backbone)
        pixels = open_pixels(self.dataset, preprocess, listen=self.listen)
        bf16 = self.chosen.machine.bf16 if recipe.train.precision == "auto" else recipe.train.precision == "bfloat16"
        weights = first_weights(self.initial, recipe, backbone, num_classes=len(self.dataset.catalog.classes))
        source = source_of(backbone, weights, preprocess, bf16=bf16)
        train = part_of(pixels, self.split.parts["train"])
        arithmetic = [source.identity, self.dataset.catalog.fingerprint, self.chosen.arithmetic, machine.versions()]
        trainer = Trainer(
            recipe=recipe,
            dataset=self.dataset,
            backbone=backbone,
            source=source,
            views=choose_views(recipe, self.dataset, train, source, listen=self.listen),
            device=replace(self.chosen.device, bf16=bf16),
            listen=epochs_told(self.listen, on_epoch),
            balance=recipe.balance,
            initial=weights,
            checkpoints=checkpoints,
            identity=to_json(arithmetic),
        )
        if self.freeze and fine_tuned(recipe) and not _alone(trainer):
            pool = self._pool(trainer, pixels, self.freeze)
            trainer = replace(trainer, pool=pool, identity=to_json([*arithmetic, pool.key]))
        return trainer, pixels

    def _pool(self, trainer: Trainer, pixels: PixelSet, freeze: Freeze) -> Pool:
        """What all trainings with these pictures and this network share; that of others is deleted."""
        recipe, stage = trainer.recipe, fine_tuned(trainer.recipe)[0]
        settings = [recipe.model.model_dump(mode="json"), recipe.augment.model_dump(mode="json"), stage.augment]
        key = sha256_bytes(to_json([*settings, recipe.train.cache, recipe.train.cache_views]).encode())[:12]
        if key not in self._pools:
            self.close()
            folder = freeze.folder.with_name(f"{freeze.folder.name}-{key}")
            self._pools[key] = self._open_pool(trainer, pixels, freeze, folder)
        return self._pools[key]

    def _open_pool(self, trainer: Trainer, pixels: PixelSet, freeze: Freeze, folder: Path) -> Pool:
        recipe, preprocess = trainer.recipe, trainer.source.preprocess
        seed, views = freeze.seeds[0], trainer.views
        if recipe.seed != seed:  # the versions must not depend on which training came first
            first, train = recipe.model_copy(update={"seed": seed}), part_of(pixels, self.split.parts["train"])
            views = choose_views(first, self.dataset, train, trainer.source, listen=self.listen)
        augment = views.resolve(recipe.augment.with_overrides(fine_tuned(recipe)[0].augment))
        transform = Augment(augment, preprocess, seed=seed, classes=self.dataset.catalog.classes)
        num_views = min(recipe.train.cache_views, freeze.epochs)
        drawn, rest = (part_of(pixels, rows) for rows in rows_of(self.rounds))
        catalog = self.dataset.catalog
        make = partial(pictures_of, transform=transform, preprocess=preprocess)
        parts = [
            PoolPart(
                rows=part.rows,
                pictures=make(
                    part,
                    digests_of(catalog, part.rows),
                    num_views=views,
                    views_key=draws_key(augment, part, seed=seed, classes=catalog.classes),
                ),
            )
            for part, views in ((drawn, num_views), (rest, 1))
            if len(part)
        ]
        demand = Demand.of(
            self.rounds,
            views=num_views,
            epochs=freeze.epochs,
            repeats=1 if trainer.backbone.untrained else len(freeze.seeds),
            budget=allowed_bytes(folder, budget=int(cache.limit())),
            always=recipe.train.cache == "on",
        )
        return Pool(
            parts,
            stages=freeze.stages,
            demand=demand,
            # What fits was decided when the sweep began, and holds for a resumed one.
            keeping=Keeping(folder=folder, budget=sys.maxsize, preprocess=preprocess, bf16=trainer.device.bf16),
            decisions=freeze.decisions,
            listen=self.listen,
        )

    def _told(self, trainer: Trainer, trained: Trained) -> tuple[str, ...]:
        """What a comparison of depths says about the pictures that this one saw."""
        stages = fine_tuned(trainer.recipe)
        if self.freeze is None or not stages:
            return ()
        if trainer.pool is None:
            return (f"the depths share no activations: {_alone(trainer)}",)
        link = trainer.pool.link(trained.model, stages[0])
        where = f"activations before {link.border.removeprefix('backbone.')} " if link.border else ""
        versions = counted(trainer.pool.num_views, "version")
        return (f"saw the same {versions} of each picture as every depth; {where}{link.reason}",)

    def _answers(self, trainer: Trainer, trained: Trained, part: PixelSet) -> NDArray[np.float32]:
        """Probabilities ``[N, K]``: the mean over the views that the bundle would average."""
        views = trainer.views
        if not fine_tuned(trainer.recipe) and views.turns == views.predict:  # of other views no features are kept
            return self._from_features(trainer, trained.model, part)
        facts = BundleFacts(
            spec=trainer.recipe.model,
            classes=self.dataset.catalog.classes,
            preprocess=trainer.source.preprocess,
            views=views.predict,
            training={},
            versions={},
        )
        return predict_part(Bundle(Path(), facts, trained.model), part).probs

    @torch.inference_mode()
    def _from_features(self, trainer: Trainer, model: Classifier, part: PixelSet) -> NDArray[np.float32]:
        """The same, by features from the cache: the backbone is as it came."""
        features = frozen_features(
            trainer.source,
            part.pixels[part.rows],
            digests_of(self.dataset.catalog, part.rows),
            views=trainer.views.turns,
            cache=FeatureCache(cache.features_folder()),
            listen=self.listen,
        )
        views = [model.classify(torch.from_numpy(view)).double().softmax(1) for view in features]
        return np.asarray(torch.stack(views).mean(0).float().numpy(), dtype=np.float32)


def fine_tuned(recipe: Recipe) -> list[Stage]:
    """The stages that train the backbone."""
    return [stage for stage in recipe.train.stages if not stage.is_head]


def _alone(trainer: Trainer) -> str:
    """Why a training cannot share activations with those of other depths; empty where it can."""
    recipe = trainer.recipe
    *earlier, stage = fine_tuned(recipe)
    if earlier:
        return "an earlier stage trains the backbone, differently in each training"
    augment = trainer.views.resolve(recipe.augment.with_overrides(stage.augment))
    return obstacle(recipe.train, augment, input_dropout=recipe.model.input_dropout)
