"""What cleaning brought: one more model, trained on the pictures as they came, scored on the same test pictures.

Both models start from the same weights, use the same settings, and stop by the same validation part. Pictures that
were cleaned away go back into training only where no val or test picture shows the same, so that neither side leaks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from budwood.data.audit import audit
from budwood.data.leaks import tied_groups
from budwood.data.loader import PixelSet
from budwood.data.records import Catalog
from budwood.data.split_nouns import Split
from budwood.errors import DataError, UsageError
from budwood.evaluation.compare import Comparison, paired_difference
from budwood.evaluation.predictions import Predictions
from budwood.events import StepFinished, StepStarted
from budwood.export.bundle import Bundle, BundleFacts
from budwood.prepare import open_pixels
from budwood.scoring import predict_part
from budwood.training import Trainer

_STEP = "compare"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningGain:
    """Cleaned minus original on the same test pictures.

    comparison: A is the model of the original pictures, B that of the cleaned ones. original: A's answers.
    num_original, num_cleaned: training pictures of each. relabelled: training pictures with another label.
    """

    comparison: Comparison
    original: Predictions
    num_original: int
    num_cleaned: int
    relabelled: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "comparison": self.comparison.to_dict(),
            "num_original": self.num_original,
            "num_cleaned": self.num_cleaned,
            "relabelled": self.relabelled,
        }


def refuse_nothing_to_compare(trainer: Trainer) -> None:
    """Say so before an hour of training when cleaning changed nothing.

    Raises:
        UsageError: the policy and the decisions leave all pictures as they came.
    """
    if not trainer.dataset.actions:
        raise UsageError(
            "--compare clean has nothing to compare: no picture is left out or relabelled. Give a policy, such as"
            " --clean or --set clean.exclude='[\"blurred\"]', or decide in: budwood review"
        )


def cleaning_gain(trainer: Trainer, split: Split, *, cleaned: Predictions, facts: BundleFacts) -> CleaningGain:
    """Train on the original pictures and compare.

    Args:
        trainer: of the run, whose dataset is the cleaned one.
        split: of the cleaned dataset.
        cleaned: the run's own answers to the test part.
        facts: of the run's bundle.

    Raises:
        DataError: cleaning merged one class into another, so that the two answer different questions.
    """
    dataset = trainer.dataset
    paths = {part: [dataset.catalog.records[i].path for i in rows] for part, rows in split.parts.items()}
    original = _original(dataset.scanned.usable(), classes=dataset.catalog.classes)
    found = audit(dataset.scanned, dataset.store, spec=trainer.recipe.audit, listen=trainer.listen)
    both = replace(dataset, catalog=original, audit=found)
    pixels = open_pixels(both, trainer.source.preprocess, listen=trainer.listen)
    row = {path: i for i, path in enumerate(pixels.paths)}
    training = _training_rows(original, paths, groups=(*found.groups, *dataset.audit.groups))
    truth = {r.path: k for r, k in zip(dataset.catalog.records, dataset.catalog.targets, strict=True)}
    val = _part(pixels, [row[path] for path in paths["val"]], truth)
    test = _part(pixels, [row[path] for path in paths["test"]], truth)
    other = replace(trainer, dataset=both)
    trained = other.train(replace(pixels, rows=training), val, name="original")
    started = time.perf_counter()
    trainer.listen(StepStarted(step=_STEP, total=len(test)))
    answers = predict_part(Bundle(Path(), facts, trained.model), test, listen=trainer.listen, step=_STEP)
    trainer.listen(StepFinished(step=_STEP, seconds=time.perf_counter() - started))
    before = {record.path: record.label for record in original.records}
    now = {record.path: record.label for record in dataset.catalog.records}
    return CleaningGain(
        comparison=paired_difference(answers, cleaned, seed=trainer.recipe.seed),
        original=answers,
        num_original=len(training),
        num_cleaned=len(paths["train"]),
        relabelled=sum(before[path] != now[path] for path in paths["train"]),
    )


def _original(catalog: Catalog, *, classes: tuple[str, ...]) -> Catalog:
    extra = sorted({record.label for record in catalog.records} - set(classes))
    if extra:
        raise DataError(
            f'cleaning left nothing of the class "{extra[0]}", so that the two models would answer different questions:'
            " drop --compare clean"
        )
    return replace(catalog, classes=classes)


def _training_rows(
    catalog: Catalog, paths: dict[str, list[str]], *, groups: tuple[tuple[str, ...], ...]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """All pictures that are neither judged nor tied to one that is."""
    judged = {*paths["val"], *paths["test"]}
    for tied in tied_groups(catalog, groups):
        if judged.intersection(tied):
            judged.update(tied)
    # The run's own training pictures stay in: its split was checked.
    judged -= set(paths["train"])
    return np.array([i for i, r in enumerate(catalog.records) if r.path not in judged], dtype=np.int64)


def _part(pixels: PixelSet, rows: list[int], truth: dict[str, int]) -> PixelSet:
    """Some pictures with the labels that both models are judged by: those after cleaning."""
    targets = np.array([truth.get(path, int(k)) for path, k in zip(pixels.paths, pixels.targets, strict=True)])
    return replace(pixels, rows=np.array(rows, dtype=np.int64), targets=targets.astype(np.int64))
