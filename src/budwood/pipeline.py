"""The whole flow from top to bottom: photos -> run folder with report, predictions and bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from budwood import cache, machine
from budwood.data.ledger import write_catalog
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.data.split_file import write_split
from budwood.data.split_nouns import Split
from budwood.errors import SettingsError, UsageError
from budwood.events import Event, Listener, StepFinished, Warned, silent
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle
from budwood.files import write_json, write_text
from budwood.models.backbones import Backbone, check_name
from budwood.models.build import num_parameters, open_backbone, store_side
from budwood.opening import Journal, command_line, new_run_path, opened_run
from budwood.page import write_report
from budwood.prepare import (
    Dataset,
    Views,
    choose_views,
    make_splits,
    open_pixels,
    part_of,
    read_photos,
    working_preprocess,
)
from budwood.recipe import Recipe, load_recipe
from budwood.runs import Run, RunDir, StepTime
from budwood.scoring import cross_validate, score
from budwood.train.features import FeatureSource
from budwood.training import Trained, Trainer


def fit(
    photos: str | Path,
    *,
    recipe: str | Recipe = "probe",
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    folds: int | None = None,
    refit: bool = False,
    tiny: bool = False,
    threads: int | None = None,
    split_file: str | Path | None = None,
    overwrite: bool = False,
    listen: Listener = silent,
) -> Run:
    """Scan, audit, split, train, score the test part once, and leave report, predictions and bundle in a run folder.

    Args:
        photos: a folder with one folder per class.
        recipe: a packaged recipe's name, a TOML file, or a `Recipe`.
        out: the run's folder; ``runs/<time>-<recipe>`` unless given.
        overrides: settings such as ``"train.lr=3e-4"``, applied over the recipe.
        seed, folds, refit, tiny: shorthands for the recipe's settings of these names.
        threads: use exactly so many; None measures.
        split_file: a split made before (``budwood split``), instead of a new one; refused when it leaks.
        overwrite: replace an earlier run in ``out``.
        listen: hears of progress.

    Raises:
        UsageError: the call or a setting is wrong. DataError: the pictures cannot be used. Interrupted: stopped.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, overrides=overrides, seed=seed, folds=folds, refit=refit, tiny=tiny)
    elif overrides or seed is not None or folds is not None or refit or tiny:
        raise SettingsError("a Recipe already holds seed, folds, refit, tiny and all settings: change them in it")
    if split_file is not None and recipe.split.folds is not None:
        raise SettingsError("a split file and folds contradict each other: drop --split or --folds")
    photos = Path(photos).expanduser()
    # Mistyped paths are refused before a run folder exists: the corrected call must find its --out free.
    if not photos.is_dir():
        found = "is a file" if photos.exists() else "does not exist"
        raise UsageError(f"{photos} {found}; give a folder of class folders (one folder per class)")
    if split_file is not None and not Path(split_file).is_file():
        raise UsageError(f"the split file {split_file} does not exist; make one with: budwood split {photos}")
    check_name(recipe.model.backbone)
    path = Path(out).expanduser() if out is not None else new_run_path(recipe.name)
    with opened_run(path, photos=photos, overwrite=overwrite, command=command_line()) as (run, journal):
        write_text(run.recipe, recipe.to_toml())
        work = _Work(recipe=recipe, run=run, journal=journal, outer=listen)
        work.go(photos, threads=threads, split_file=Path(split_file) if split_file else None)
    run.seal()
    return Run(path)


@dataclass(kw_only=True)
class _Work:
    """One run under way: its settings, its folder, and who listens."""

    recipe: Recipe
    run: RunDir
    journal: Journal
    outer: Listener

    def listen(self, event: Event) -> None:
        """Note finished steps and warnings in the run's folder, then pass the event on."""
        if isinstance(event, StepFinished):
            self.journal.finished(StepTime(name=event.step, seconds=round(event.seconds, 3), note=event.note))
        elif isinstance(event, Warned):
            self.run.warn(event.text)
        self.outer(event)

    def go(self, photos: Path, *, threads: int | None, split_file: Path | None) -> None:
        """Run all steps in order."""
        recipe, run = self.recipe, self.run
        torch.manual_seed(recipe.seed)  # for weights that are asked to be random
        backbone = open_backbone(recipe.model)
        found = machine.probe(threads=threads, tuned_allocator=machine.tune_allocator())
        bf16 = {"auto": found.bf16, "bfloat16": True, "float32": False}[recipe.train.precision]
        environment = {"machine": found.to_dict(), "versions": machine.versions(), "bf16": bf16}
        write_json(run.environment, {**environment, "photos": str(photos.resolve()), "threads": found.threads})
        if recipe.tiny:
            self.listen(Warned(text="--tiny: few pictures, one epoch, an untrained network; the scores mean nothing"))

        dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=self.listen)
        write_catalog(dataset.scanned, run.catalog)
        write_json(run.findings, findings_to_json(dataset))
        splits = make_splits(dataset, recipe, split_file)
        write_split(splits[0], dataset.catalog, run.split)

        preprocess = working_preprocess(dataset, recipe, backbone)
        pixels = open_pixels(dataset, preprocess, listen=self.listen)
        trainer = self._trainer(dataset, pixels, preprocess, backbone, splits[0], bf16=bf16)
        trained = trainer.train(part_of(pixels, splits[0].parts["train"]), part_of(pixels, splits[0].parts["val"]))
        trained.history.save(run.history)

        facts = self._facts(trainer, dataset, preprocess)
        judged = self._write_bundle(run.scored_bundle if recipe.refit else run.bundle, trained, facts)
        scores = self._score(judged, trainer, trained, splits[0], pixels)
        if len(splits) > 1:
            pooled, folds = cross_validate(trainer, splits, pixels, first=judged, facts=facts)
            pooled.save(run.predictions("cross-validation"))
            scores["cross_validation"] = folds
        write_json(run.metrics, scores)  # before the refit: a run that is stopped in it has lost no score
        if recipe.refit:
            refitted = trainer.refit(pixels, trained)
            self._write_bundle(run.bundle, refitted, facts)
            write_json(run.metrics, {**scores, "refit": True})
        write_json(run.training, trainer.to_json(trained, environment, num_parameters(trained.model)))
        self.journal.write("running", step="report")
        write_report(run, dataset.store)
        cache.prune()
        self.journal.write("done", step="report")

    def _trainer(
        self,
        dataset: Dataset,
        pixels: PixelSet,
        preprocess: Preprocess,
        backbone: Backbone,
        split: Split,
        *,
        bf16: bool,
    ) -> Trainer:
        source = FeatureSource(
            module=backbone.module,
            num_features=backbone.num_features,
            preprocess=preprocess,
            identity=f"{backbone.name} {backbone.source} {backbone.digest}",
            bf16=bf16,
        )
        train = part_of(pixels, split.parts["train"])
        views: Views = choose_views(self.recipe, dataset, train, source, listen=self.listen)
        return Trainer(
            recipe=self.recipe,
            dataset=dataset,
            backbone=backbone,
            source=source,
            views=views,
            bf16=bf16,
            listen=self.listen,
        )

    def _facts(self, trainer: Trainer, dataset: Dataset, preprocess: Preprocess) -> BundleFacts:
        return BundleFacts(
            # what the bundle needs is the architecture: its weights are in the bundle, whatever they came from
            spec=self.recipe.model.model_copy(update={"backbone": trainer.backbone.architecture}),
            classes=dataset.catalog.classes,
            preprocess=preprocess,
            views=trainer.views.predict,
            training={
                "recipe": self.recipe.name,
                "seed": self.recipe.seed,
                "catalog": dataset.catalog.fingerprint,
            },
            versions=machine.versions(),
        )

    def _write_bundle(self, folder: Path, trained: Trained, facts: BundleFacts) -> Bundle:
        """Write a bundle and load it back: what is scored from here on is what ships."""
        write_bundle(folder, trained.model, facts)
        return load(folder)

    def _score(
        self, bundle: Bundle, trainer: Trainer, trained: Trained, split: Split, pixels: PixelSet
    ) -> dict[str, Any]:
        """Score, keep the answers, and put everything together for metrics.json."""
        found = score(bundle, trainer, split, pixels)
        found.val.save(self.run.predictions("val"))
        found.test.save(self.run.predictions("test"))
        return {
            "test": found.test_metrics.to_dict(),
            "validation": found.val_metrics.to_dict(),
            "selection": trained.selection(),
            "baselines": [b.to_dict() for b in found.baselines],
            "refit": False,
            "scored": "bundle-scored" if self.recipe.refit else "bundle",
        }


def findings_to_json(dataset: Dataset) -> dict[str, Any]:
    """What the audit found, for findings.json."""
    from dataclasses import asdict

    return {
        "findings": [asdict(f) for f in dataset.audit.findings],
        "groups": [list(group) for group in dataset.audit.groups],
        "ignored": list(dataset.scanned.ignored),
    }
