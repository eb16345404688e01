"""The whole flow from top to bottom: photos -> run folder with report, predictions and bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from budwood import cache, machine
from budwood.augment.balance import check_smote
from budwood.balance import compare_balance
from budwood.bundling import Held, tell_scores, write_calibrated, write_refitted
from budwood.cleaning_gain import cleaning_gain, refuse_nothing_to_compare
from budwood.data.inputs.sources import check_source
from budwood.data.ledger import write_catalog
from budwood.data.loader import PixelSet
from budwood.data.split_file import write_split
from budwood.data.split_nouns import Split
from budwood.errors import OutputError, SettingsError, UsageError
from budwood.evaluation.calibration_score import calibration_scores
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.events import Event, Listener, StepFinished, Warned, silent
from budwood.explaining import explain_run
from budwood.export.bundle import Bundle, BundleFacts
from budwood.files import write_json, write_text
from budwood.look import form_opinion
from budwood.models.backbones import Backbone, check_name
from budwood.models.build import open_backbone, store_side
from budwood.opening import Journal, command_line, new_run_path, opened_run
from budwood.page import write_report
from budwood.prepare import (
    Dataset,
    make_splits,
    part_of,
    read_photos,
    with_opinion,
)
from budwood.recipe import Recipe, load_recipe
from budwood.runs import Run, RunDir, StepTime
from budwood.scoring import Scores, score_test
from budwood.test_lock import Looks, count_look, looks_at
from budwood.train.freezing import refuse_unknown_blocks
from budwood.train.history import EpochRow
from budwood.train.tensorboard import epoch_writer
from budwood.training import Trained, Trainer, open_trainer, unheard
from budwood.training_record import training_record
from budwood.where import Chosen, chosen_machine

Comparing = Literal["clean", "balance"]


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
    clean: bool = False,
    compare: Comparing | None = None,
    threads: int | None = None,
    split_file: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    tensorboard: str | Path | None = None,
    listen: Listener = silent,
) -> Run:
    """Scan, audit, split, train, score the test part once, and leave report, predictions and bundle in a run folder.

    Args:
        photos: a folder of class folders, of train/val/test folders, a table, an archive or arrays (docs/inputs.md).
        recipe: a packaged recipe's name, a TOML file, or a `Recipe`.
        out: the run's folder; ``runs/<time>-<recipe>`` unless given.
        overrides: settings such as ``"train.lr=3e-4"``, applied over the recipe.
        seed, folds, refit, tiny: shorthands for the recipe's settings of these names.
        clean: leave out copies and equal pictures of two classes, where the recipe has no policy of its own.
        compare: also train on the pictures before cleaning ("clean"), or try ways against imbalance ("balance").
        threads: use exactly so many; None measures.
        split_file: a split made before (``budwood split``), instead of a new one; refused when it leaks.
        overwrite: replace an earlier run in ``out``.
        resume: go on with the run in ``out`` where it stopped; one that never began is begun.
        tensorboard: a folder that gets the epochs as TensorBoard reads them; needs the extra of this name.
        devices, nodes: processes a host, and hosts, that share each batch (docs/devices.md).
        listen: hears of progress.

    Raises:
        UsageError: the call or a setting is wrong. DataError: the pictures cannot be used. Interrupted: stopped.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, overrides=overrides, seed=seed, folds=folds, refit=refit, tiny=tiny, clean=clean)
    elif overrides or seed is not None or folds is not None or refit or tiny or clean:
        raise SettingsError(
            "a Recipe already holds seed, folds, refit, tiny, clean and all settings: change them in it"
        )
    recipe.refuse_other_systems("pipeline.fit")
    if split_file is not None and recipe.split.folds is not None:
        raise SettingsError("a split file and folds contradict each other: drop --split or --folds")
    photos = Path(photos).expanduser()
    # Mistyped paths are refused before a run folder exists: the corrected call must find its --out free.
    check_source(photos)
    if split_file is not None and not Path(split_file).is_file():
        raise UsageError(f"the split file {split_file} does not exist; make one with: budwood split {photos}")
    check_name(recipe.model.backbone)
    if recipe.balance.method == "smote":
        check_smote()
    if resume and out is None:
        raise UsageError("resume needs the run's folder: give it with --out")
    path = Path(out).expanduser() if out is not None else new_run_path(recipe.name)
    if resume and RunDir(path).is_complete():
        shutil.rmtree(RunDir(path).checkpoints, ignore_errors=True)
        listen(Warned(text=f"{path} holds a run that is done: nothing was left to do"))
        return Run(path)
    with opened_run(path, photos=photos, overwrite=overwrite, resume=resume, command=command_line()) as (run, journal):
        write_text(run.recipe, recipe.to_toml())
        found = chosen_machine(run, threads=threads, precision=recipe.train.precision, devices=devices, nodes=nodes)
        with epoch_writer(Path(tensorboard)) if tensorboard else nullcontext(unheard) as on_epoch:
            work = _Work(recipe=recipe, run=run, journal=journal, outer=listen, compare=compare, on_epoch=on_epoch)
            work.go(photos, found, split_file=Path(split_file) if split_file else None)
    run.seal()
    shutil.rmtree(run.checkpoints, ignore_errors=True)  # last: a run that is killed before this loses nothing
    return Run(path)


@dataclass(kw_only=True)
class _Work:
    """One run under way: its settings, its folder, and who listens."""

    recipe: Recipe
    run: RunDir
    journal: Journal
    outer: Listener
    compare: Comparing | None = None
    on_epoch: Callable[[EpochRow], None] = unheard

    def listen(self, event: Event) -> None:
        """Note finished steps and warnings in the run's folder, then pass the event on."""
        if isinstance(event, StepFinished):
            self.journal.finished(StepTime(name=event.step, seconds=round(event.seconds, 3), note=event.note))
        elif isinstance(event, Warned):
            self.run.warn(event.text)
        self.outer(event)

    def go(self, photos: Path, chosen: Chosen, *, split_file: Path | None) -> None:
        """Run all steps in order."""
        recipe, run = self.recipe, self.run
        torch.manual_seed(recipe.seed)  # for weights that are asked to be random
        backbone = open_backbone(recipe.model)
        refuse_unknown_blocks(recipe.train, backbone)
        environment = {**chosen.to_dict(), "versions": machine.versions()}
        if recipe.tiny:
            self.listen(Warned(text="--tiny: few pictures, one epoch, an untrained network; the scores mean nothing"))
        dataset, splits = self._pictures(photos, backbone, environment, split_file=split_file)

        trainer, pixels = open_trainer(
            recipe,
            dataset,
            splits[0],
            backbone,
            device=chosen.device,
            listen=self.listen,
            checkpoints=run.checkpoints,
            on_epoch=self.on_epoch,
            arithmetic=[chosen.arithmetic, machine.versions()],
        )
        if self.compare == "clean":
            refuse_nothing_to_compare(trainer)
        if not recipe.tiny:
            looks_at(photos, splits[0], dataset.catalog)  # a damaged count is told before an hour of training
        parts = {part: part_of(pixels, rows) for part, rows in splits[0].parts.items()}
        trained = trainer.train(parts["train"], parts["val"])
        trained.history.save(run.history)

        place = run.scored_bundle if recipe.refit else run.bundle
        bundle, held = write_calibrated(place, trained, trainer, splits, pixels)
        looks = self._count_look(photos, dataset, splits[0])
        found = score_test(bundle, trainer, splits[0], pixels)
        scores = self._keep_scores(bundle, trained, held, found, looks=looks)
        facts = tell_scores(bundle, found.metrics)
        write_json(run.metrics, scores)  # before what may take long: a run that is stopped in it has lost no score
        if self.compare:
            plain = replace(facts, calibration=None)  # fitted on this model's answers, not on another's
            self._compare(self.compare, trainer, splits[0], parts, answers=found.test, facts=plain)
        if recipe.refit:
            everything = part_of(pixels, tuple(sorted(i for rows in splits[0].parts.values() for i in rows)))
            refitted = trainer.refit(everything, trained).model
            write_refitted(run.bundle, refitted, facts, trainer, parts["val"])
            write_json(run.metrics, {**scores, "refit": True})
        shown = replace(trainer, views=replace(trainer.views, predict=facts.views))
        write_json(run.training, training_record(shown, trained, environment))
        if not recipe.tiny:
            self._explain(bundle, parts["val"], held.val)
        self.journal.write("running", step="report")
        write_report(run, dataset.store)
        cache.prune()
        self.journal.write("done", step="report")

    def _pictures(
        self, photos: Path, backbone: Backbone, environment: dict[str, Any], *, split_file: Path | None
    ) -> tuple[Dataset, tuple[Split, ...]]:
        """Read, look, clean, split; what was found and decided is in the run's folder after this."""
        recipe, run = self.recipe, self.run
        dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=self.listen)
        places = {"photos": str(photos.resolve()), "root": str(dataset.scanned.root.resolve())}
        for stage in recipe.train.stages:  # a wrong class name is told before an hour of work
            recipe.augment.with_overrides(stage.augment).check_classes(dataset.catalog.classes)
        threads = environment["machine"]["threads"]
        write_json(run.environment, {**environment, **places, "threads": threads})
        if recipe.audit.opinion and recipe.model.starts_trained:
            opinion = form_opinion(dataset, recipe, backbone=backbone, bf16=environment["bf16"], listen=self.listen)
            dataset = with_opinion(dataset, opinion, recipe, listen=self.listen)
        write_json(run.findings, findings_to_json(dataset))
        dataset, splits = make_splits(dataset, recipe, split_file, listen=self.listen)
        write_catalog(dataset.ledger(splits[0]), run.catalog)
        write_split(splits[0], dataset.catalog, run.split)
        return dataset, splits

    def _explain(self, bundle: Bundle, val: PixelSet, answers: Predictions) -> None:
        """Look into why the model answers as it does; a run that is scored is not lost to a network without maps."""
        seconds = sum(step.seconds for step in self.journal.steps)
        spec, seed = self.recipe.explain, self.recipe.seed
        try:
            explain_run(
                self.run,
                bundle,
                val.pixels[val.rows],
                answers,
                spec=spec,
                seed=seed,
                seconds=seconds,
                listen=self.listen,
            )
        except UsageError as error:
            self.listen(Warned(text=f"the report says nothing of why the model answers so: {error}"))

    def _compare(
        self,
        what: Comparing,
        trainer: Trainer,
        split: Split,
        parts: dict[str, PixelSet],
        *,
        answers: Predictions,
        facts: BundleFacts,
    ) -> None:
        """Carry out the comparison that was asked for, and keep it as comparison.json."""
        if what == "clean":
            gain = cleaning_gain(trainer, split, cleaned=answers, facts=facts)
            gain.original.save(self.run.predictions("test-original"))
            found = gain.to_dict()
        else:
            found = compare_balance(trainer, parts["train"], listen=self.listen).to_dict()
        write_json(self.run.comparison, {"what": what, **found})

    def _count_look(self, photos: Path, dataset: Dataset, split: Split) -> Looks | None:
        """Count this look at the test part; None where it cannot be counted, which is told."""
        recipe = self.recipe
        if recipe.tiny:
            return None  # an untrained network on a dozen pictures learns nothing of the test part
        try:
            return count_look(
                photos,
                split,
                dataset.catalog,
                run=str(self.run.path),
                kind="fit",
                recipe=recipe.name,
                seed=recipe.seed,
                settings=recipe.to_toml(),
            )
        except OutputError as error:  # hours of training must not be lost to a folder that cannot be written
            self.listen(Warned(text=f"this look at the test part is not counted: {error}"))
        return None

    def _keep_scores(
        self, bundle: Bundle, trained: Trained, held: Held, found: Scores, *, looks: Looks | None
    ) -> dict[str, Any]:
        """Keep the answers; returns what goes into metrics.json."""
        run, seed = self.run, self.recipe.seed
        held.val.save(run.predictions("val"))
        found.test.save(run.predictions("test"))
        scores: dict[str, Any] = {
            "test": found.metrics.to_dict(),
            "validation": summarise(held.val, seed=seed).to_dict(),
            "selection": trained.selection(),
            "baselines": [b.to_dict() for b in found.baselines],
            "refit": False,
            "scored": "bundle-scored" if self.recipe.refit else "bundle",
        }
        if bundle.facts.calibration:
            scores["calibration"] = calibration_scores(bundle.facts.calibration, found.test)
        if found.tta:
            scores["tta"] = found.tta.to_dict()
        if held.views:
            scores["view_choice"] = held.views.to_dict()
        if looks:
            accuracy = found.metrics.accuracy.value
            scores["test_looks"] = looks.number
            scores["looks"] = looks.words(pictures=len(found.test), accuracy=accuracy)
        if held.folds:
            pooled, scores["cross_validation"] = held.with_test(found.test)
            pooled.save(run.predictions("cross-validation"))
        return scores


def findings_to_json(dataset: Dataset) -> dict[str, Any]:
    """What the audit found, for findings.json."""
    from dataclasses import asdict

    return {
        "findings": [asdict(f) for f in dataset.audit.findings],
        "groups": [list(group) for group in dataset.audit.groups],
        "ignored": list(dataset.scanned.ignored),
    }
