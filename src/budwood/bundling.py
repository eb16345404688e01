"""The bundle of a run: written, calibrated by held-out answers, given golden pictures, sealed, and told its scores.

The order is what matters here: nothing of the test part is known when the calibration is fitted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood import machine
from budwood.data.loader import PixelSet
from budwood.data.split_nouns import Split
from budwood.evaluation.calibrate import Calibration, apply_temperature, fit_calibration
from budwood.evaluation.metrics import Metrics
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.tta import ViewChoice
from budwood.events import StepFinished, StepStarted
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle
from budwood.export.golden import golden_form, write_golden
from budwood.export.sealing import seal
from budwood.models.build import Classifier
from budwood.prepare import Dataset, part_of
from budwood.scoring import answer_folds, cross_validated, predict_part
from budwood.test_lock import fingerprint_of_test_part
from budwood.trained import Trained
from budwood.training import Trainer
from budwood.view_choice import tuned_views

_STEP = "calibrate"
_OF_SCORED = "that of the network that was scored, not of this one, which was trained on all parts"


@dataclass(frozen=True, kw_only=True)
class Held:
    """Calibrated answers to pictures that the answering network was not trained on; no test picture is among them.

    folds: of the folds after the first, where the run has folds. views: how views were chosen, where they were.
    """

    val: Predictions
    folds: tuple[Predictions, ...]
    views: ViewChoice | None

    def with_test(self, test: Predictions) -> tuple[Predictions, dict[str, Any]]:
        """The cross-validated answers and scores; ``test``: the first fold's answers."""
        return cross_validated((test, *self.folds))


def run_facts(trainer: Trainer, split: Split) -> BundleFacts:
    """What the bundle of a run knows before anything is fitted or scored."""
    recipe, catalog = trainer.recipe, trainer.dataset.catalog
    counts = {
        part: dict(sorted(Counter(catalog.records[i].label for i in rows).items()))
        for part, rows in split.parts.items()
    }
    return BundleFacts(
        # what the bundle needs is the architecture: its weights are in the bundle, whatever they came from
        spec=recipe.model.model_copy(update={"backbone": trainer.backbone.architecture}),
        classes=catalog.classes,
        preprocess=trainer.source.preprocess,
        views=trainer.views.predict,
        average=recipe.predict.average,
        training={
            "recipe": recipe.name,
            "seed": recipe.seed,
            "catalog": catalog.fingerprint,
            "pictures": counts,
        },
        versions=machine.versions(),
        split=fingerprint_of_test_part(split, catalog),
    )


def write_calibrated(
    folder: Path, trained: Trained, trainer: Trainer, splits: Sequence[Split], pixels: PixelSet
) -> tuple[Bundle, Held]:
    """Write the bundle of ``splits[0]``'s model, calibrate it, and load it back.

    Where there are more splits, each is trained now, and the calibration is fitted on their answers.
    """
    val = part_of(pixels, splits[0].parts["val"])
    facts, choice = run_facts(trainer, splits[0]), None
    if trainer.recipe.predict.views == "tuned":
        views, choice = tuned_views(trainer, trained.model, val)
        facts = replace(facts, views=views.predict)
    write_bundle(folder, trained.model, facts)
    plain = load(folder)
    folds = answer_folds(trainer, splits, pixels, facts=facts)
    start = time.perf_counter()
    trainer.listen(StepStarted(step=_STEP, total=len(val)))
    on_val = predict_part(plain, val, listen=trainer.listen, step=_STEP)
    calibration = _calibration(on_val, folds, chose=_chosen_by_val(trained, choice))
    facts = replace(facts, calibration=calibration)
    _give_golden(folder, Bundle(folder, facts, plain.model), trainer, val)
    seal(folder, facts)
    note = f"temperature {calibration.temperature:.2f}, {calibration.num_pictures} pictures"
    trainer.listen(StepFinished(step=_STEP, seconds=time.perf_counter() - start, note=note))
    t = calibration.temperature
    held = Held(val=_at(on_val, t), folds=tuple(_at(table, t) for table in folds), views=choice)
    return load(folder), held


def tell_scores(bundle: Bundle, metrics: Metrics) -> BundleFacts:
    """Put the test part's scores into the bundle and its card; the answers stay as they are."""
    values = metrics.to_dict()
    del values["confusion"]  # K x K lines; the run's report has it
    facts = replace(bundle.facts, metrics={"test": values})
    seal(bundle.folder, facts)
    return facts


def write_refitted(folder: Path, model: Classifier, scored: BundleFacts, trainer: Trainer, val: PixelSet) -> Bundle:
    """Write the bundle of a model that was trained on all parts, with the calibration and scores of the scored one."""
    known = scored.calibration
    facts = replace(
        scored,
        calibration=replace(known, fitted_on=f"{known.fitted_on}; {_OF_SCORED}") if known else None,
        metrics={**scored.metrics, "note": f"The scores are {_OF_SCORED}."},
    )
    write_bundle(folder, model, facts)
    _give_golden(folder, Bundle(folder, facts, model), trainer, val)
    seal(folder, facts)
    return load(folder)


def _calibration(val: Predictions, folds: tuple[Predictions, ...], *, chose: str) -> Calibration:
    if not folds:
        return fit_calibration(val, fitted_on=f"the validation part{chose}")
    pooled, _ = cross_validated(folds)
    words = f"out-of-fold answers to pictures outside the test part, by {len(folds)} networks of the same recipe"
    return fit_calibration(pooled, fitted_on=words)


def _chosen_by_val(trained: Trained, choice: ViewChoice | None) -> str:
    chose = [word for word, did in (("the epoch", bool(trained.fits)), ("the views", choice is not None)) if did]
    return f", which also chose {' and '.join(chose)}" if chose else ""


def _give_golden(folder: Path, bundle: Bundle, trainer: Trainer, val: PixelSet) -> None:
    """Put some pictures of the validation part into an unsealed bundle, with the answers they get."""
    rows = _one_of_each_class(val, limit=trainer.recipe.export.golden)
    images = [_decoded(trainer.dataset, int(row)) for row in rows]
    if images:
        write_golden(folder, images, bundle.predict_images(images))


def _one_of_each_class(part: PixelSet, *, limit: int) -> NDArray[np.int64]:
    """Rows of a first picture of each class, in the order of the classes, then of second ones; at most ``limit``."""
    labels = part.labels
    turn = np.array([int((labels[:i] == label).sum()) for i, label in enumerate(labels)], dtype=np.int64)
    return np.asarray(part.rows[np.lexsort((labels, turn))[:limit]], dtype=np.int64)


def _decoded(dataset: Dataset, row: int) -> NDArray[np.uint8]:
    return golden_form(dataset.store.fetch(dataset.catalog, dataset.catalog.records[row]))


def _at(answers: Predictions, temperature: float) -> Predictions:
    return replace(answers, probs=apply_temperature(answers.probs, temperature))
