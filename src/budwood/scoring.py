"""Answers and scores of a trained model: held-out answers, the test part once, baselines, cross-validation.

All answers come from a bundle that was written and loaded back: what is scored is what ships. What the answers to
pictures that are held out are used for, calibration, is `bundling.py`'s matter.
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
from budwood.evaluation.crossed import folds_interval
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.tta import TtaGain, tta_gain
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.export.bundle import Bundle, BundleFacts
from budwood.prepare import part_of
from budwood.training import Trainer
from budwood.view_choice import tuned_views


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Answers and scores of the test part, those of trivial answers to it, and what several views brought on it."""

    test: Predictions
    metrics: Metrics
    baselines: tuple[BaselineScore, ...]
    tta: TtaGain | None


def score_test(bundle: Bundle, trainer: Trainer, split: Split, pixels: PixelSet) -> Scores:
    """Ask the bundle for the test part, once; score the answers, and the baselines beside them."""
    start = time.perf_counter()
    seed, listen = trainer.recipe.seed, trainer.listen
    train, test = (part_of(pixels, split.parts[part]) for part in ("train", "test"))
    views = bundle.facts.views
    listen(StepStarted(step="evaluate", total=len(test) * (2 if len(views) > 1 else 1)))
    answers = predict_part(bundle, test, listen=listen)
    seconds = time.perf_counter() - start
    gain = None
    if len(views) > 1:
        begun = time.perf_counter()
        one = predict_part(bundle.with_views((0,) if 0 in views else views[:1]), test, listen=listen)
        alone = time.perf_counter() - begun
        gain = tta_gain(one, answers, views=len(views), seconds_one=alone, seconds_all=seconds, seed=seed)
    metrics = summarise(answers, seed=seed)
    baselines = (
        majority_class(train.labels, answers),
        all_zero_input(train.labels, answers, trainer.zero_head(train)),
    )
    interval = metrics.accuracy.interval
    note = f"test accuracy {metrics.accuracy.value:.3f} ({interval.low:.3f}-{interval.high:.3f})"
    listen(StepFinished(step="evaluate", seconds=time.perf_counter() - start, note=note))
    return Scores(test=answers, metrics=metrics, baselines=baselines, tta=gain)


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


def answer_folds(
    trainer: Trainer, splits: Sequence[Split], pixels: PixelSet, *, facts: BundleFacts
) -> tuple[Predictions, ...]:
    """The whole fit once for each fold but the first, which is the run's own: their answers to their test parts.

    Each fold chooses penalty, epoch and views by itself, on its own training and validation part.
    """
    tables = []
    for number, split in enumerate(splits[1:], start=2):
        part = replace(trainer, fold=number)
        val = part_of(pixels, split.parts["val"])
        trained = part.train(part_of(pixels, split.parts["train"]), val)
        own = facts
        if trainer.recipe.predict.views == "tuned":
            own = replace(facts, views=tuned_views(part, trained.model, val)[0].predict)
        tables.append(predict_part(Bundle(Path(), own, trained.model), part_of(pixels, split.parts["test"])))
    return tuple(tables)


def cross_validated(tables: Sequence[Predictions]) -> tuple[Predictions, dict[str, Any]]:
    """The folds' answers as one table in which every picture is answered once.

    Returns:
        The pooled answers, and the accuracies of the folds and of all answers for metrics.json.
    """
    pooled = Predictions(
        probs=np.concatenate([t.probs for t in tables]),
        targets=np.concatenate([t.targets for t in tables if t.targets is not None]),
        paths=tuple(path for t in tables for path in t.paths),
        classes=tables[0].classes,
    )
    correct = int((pooled.predicted == pooled.targets).sum())
    interval = folds_interval(
        pooled.predicted == pooled.targets, np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    )
    return pooled, {
        "folds": [float((t.predicted == t.targets).mean()) for t in tables],
        "accuracy": {"value": correct / len(pooled), "interval": {"low": interval.low, "high": interval.high}},
    }
