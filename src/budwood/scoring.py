"""Scores of a trained model: the test part once, the validation part for the record, baselines, cross-validation.

All answers come from a bundle that was written and loaded back: what is scored is what ships.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from budwood.data.loader import PixelSet
from budwood.data.split_nouns import Split
from budwood.evaluation.baselines import BaselineScore, all_zero_input, majority_class
from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.export.bundle import Bundle, BundleFacts
from budwood.prepare import part_of
from budwood.training import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Answers and scores of the validation and the test part, and of the trivial answers to the latter."""

    val: Predictions
    test: Predictions
    val_metrics: Metrics
    test_metrics: Metrics
    baselines: tuple[BaselineScore, ...]


def score(bundle: Bundle, trainer: Trainer, split: Split, pixels: PixelSet) -> Scores:
    """Validation scores for the record; the test part, once; the baselines beside it."""
    start = time.perf_counter()
    seed, listen = trainer.recipe.seed, trainer.listen
    train, val, test = (part_of(pixels, split.parts[part]) for part in ("train", "val", "test"))
    listen(StepStarted(step="evaluate", total=len(val) + len(test)))
    on_val = predict_part(bundle, val, listen=listen)
    on_test = predict_part(bundle, test, listen=listen)
    metrics = summarise(on_test, seed=seed)
    baselines = (
        majority_class(train.labels, on_test),
        all_zero_input(train.labels, on_test, trainer.zero_head(train)),
    )
    interval = metrics.accuracy.interval
    note = f"test accuracy {metrics.accuracy.value:.3f} ({interval.low:.3f}-{interval.high:.3f})"
    listen(StepFinished(step="evaluate", seconds=time.perf_counter() - start, note=note))
    return Scores(
        val=on_val, test=on_test, val_metrics=summarise(on_val, seed=seed), test_metrics=metrics, baselines=baselines
    )


def predict_part(bundle: Bundle, part: PixelSet, *, listen: Listener = silent, step: str = "evaluate") -> Predictions:
    """The bundle's answers to the pictures of one part, with their labels; ``listen`` hears of ``step``'s advance."""

    def advance(count: int) -> None:
        listen(StepAdvanced(step=step, count=count))

    return Predictions(
        probs=bundle.predict_pixels(part.pixels[part.rows], advance=advance),
        targets=part.labels,
        paths=tuple(part.paths[i] for i in part.rows),
        classes=bundle.classes,
    )


def cross_validate(
    trainer: Trainer, splits: Sequence[Split], pixels: PixelSet, *, first: Bundle, facts: BundleFacts
) -> tuple[Predictions, dict[str, Any]]:
    """The whole fit once a fold; fold 1 is the run's own model ``first``. Every picture is answered once.

    Returns:
        The pooled answers, and the accuracies of the folds and of all answers for metrics.json.
    """
    tables = [predict_part(first, part_of(pixels, splits[0].parts["test"]))]
    for number, split in enumerate(splits[1:], start=2):
        part = replace(trainer, fold=number)
        trained = part.train(part_of(pixels, split.parts["train"]), part_of(pixels, split.parts["val"]))
        bundle = Bundle(Path(), facts, trained.model)
        tables.append(predict_part(bundle, part_of(pixels, split.parts["test"])))
    pooled = Predictions(
        probs=np.concatenate([t.probs for t in tables]),
        targets=np.concatenate([t.targets for t in tables if t.targets is not None]),
        paths=tuple(path for t in tables for path in t.paths),
        classes=tables[0].classes,
    )
    correct = int((pooled.predicted == pooled.targets).sum())
    interval = wilson(correct, len(pooled))
    return pooled, {
        "folds": [float((t.predicted == t.targets).mean()) for t in tables],
        "accuracy": {"value": correct / len(pooled), "interval": {"low": interval.low, "high": interval.high}},
    }
