"""The whole flow from top to bottom: photos -> run folder with report, predictions and bundle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from budwood import cache
from budwood.augment.balance import check_smote
from budwood.balance import compare_balance
from budwood.bundling import Held, tell_scores, write_calibrated, write_refitted
from budwood.cleaning_gain import cleaning_gain, refuse_nothing_to_compare
from budwood.data.loader import PixelSet
from budwood.data.split_nouns import Split
from budwood.errors import SettingsError, UsageError
from budwood.evaluation.calibration_score import calibration_scores
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, Warned
from budwood.explaining import explain_run
from budwood.export.bundle import Bundle, BundleFacts
from budwood.files import write_json
from budwood.material import gather
from budwood.noting import counted_look, looked, noted
from budwood.opening import Journal
from budwood.order import Order
from budwood.page import write_report
from budwood.prepare import Dataset, part_of
from budwood.recipe import Recipe
from budwood.runs import Run, RunDir
from budwood.scoring import Scores, score_test
from budwood.test_lock import Looking, Looks, looks_at
from budwood.train.history import EpochRow
from budwood.train.tensorboard import epoch_writer
from budwood.training import Trained, Trainer, open_trainer, unheard
from budwood.training_record import training_record
from budwood.where import Chosen, chosen_machine

Comparing = Literal["clean", "balance"]


def fit(
    order: Order,
    *,
    compare: Comparing | None = None,
    devices: int = 1,
    nodes: int = 1,
    tensorboard: str | Path | None = None,
    looking: Looking | None = None,
) -> Run:
    """Carry out an order for one classifier; `systems.fit` is the public function, for all recipes.

    Args:
        compare, devices, nodes, tensorboard: as for `systems.fit`.
        looking: in whose name the look at the test part is counted; in this run's own unless given.

    Raises:
        UsageError: a setting is wrong. DataError: the pictures cannot be used. Interrupted: stopped.
    """
    recipe = order.recipe
    recipe.refuse_other_systems("pipeline.fit")
    if order.split_file is not None and recipe.split.folds is not None:
        raise SettingsError("a split file and folds contradict each other: drop --split or --folds")
    if recipe.balance.method == "smote":
        check_smote()
    if done := order.finished():
        return done
    with order.opened() as (run, journal):
        precision = recipe.train.precision
        chosen = chosen_machine(run, threads=order.threads, precision=precision, devices=devices, nodes=nodes)
        with epoch_writer(Path(tensorboard)) if tensorboard else nullcontext(unheard) as on_epoch:
            work = _Work(
                recipe=recipe,
                run=run,
                journal=journal,
                listen=noted(run, journal, order.listen),
                looking=looking,
                compare=compare,
                on_epoch=on_epoch,
            )
            work.go(order.photos, chosen, split_file=order.split_file)
    return Run(order.path)


@dataclass(kw_only=True)
class _Work:
    """One run under way: its settings, its folder, and who listens."""

    recipe: Recipe
    run: RunDir
    journal: Journal
    listen: Listener
    looking: Looking | None = None
    compare: Comparing | None = None
    on_epoch: Callable[[EpochRow], None] = unheard

    def go(self, photos: Path, chosen: Chosen, *, split_file: Path | None) -> None:
        """Run all steps in order."""
        recipe, run = self.recipe, self.run
        found = gather(photos, recipe, run=run, chosen=chosen, split_file=split_file, listen=self.listen)
        dataset, splits = found.dataset, found.splits
        trainer, pixels = open_trainer(
            recipe,
            dataset,
            splits[0],
            found.backbone,
            device=chosen.device,
            listen=self.listen,
            checkpoints=run.checkpoints,
            on_epoch=self.on_epoch,
            arithmetic=found.arithmetic,
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
        scored = score_test(bundle, trainer, splits[0], pixels)
        scores = self._keep_scores(bundle, trained, held, scored, looks=looks)
        facts = tell_scores(bundle, scored.metrics)
        write_json(run.metrics, scores)  # before what may take long: a run that is stopped in it has lost no score
        if self.compare:
            plain = replace(facts, calibration=None)  # fitted on this model's answers, not on another's
            self._compare(self.compare, trainer, splits[0], parts, answers=scored.test, facts=plain)
        if recipe.refit:
            everything = part_of(pixels, tuple(sorted(i for rows in splits[0].parts.values() for i in rows)))
            refitted = trainer.refit(everything, trained).model
            write_refitted(run.bundle, refitted, facts, trainer, parts["val"])
            write_json(run.metrics, {**scores, "refit": True})
        shown = replace(trainer, views=replace(trainer.views, predict=facts.views))
        write_json(run.training, training_record(shown, trained, found.environment))
        if not recipe.tiny:
            self._explain(bundle, parts["val"], held.val)
        self.journal.write("running", step="report")
        write_report(run, dataset.store)
        cache.prune()
        self.journal.write("done", step="report")

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
        own = Looking(run=self.run.path, kind="fit", recipe=recipe.name, seed=recipe.seed, settings=recipe.to_toml())
        return counted_look(photos, split, dataset.catalog, looking=self.looking or own, listen=self.listen)

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
        scores.update(looked(looks, found.metrics))
        if held.folds:
            pooled, scores["cross_validation"] = held.with_test(found.test)
            pooled.save(run.predictions("cross-validation"))
        return scores
