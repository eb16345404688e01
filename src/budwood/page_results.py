"""The part of a report page about the answers: scores, the surest mistakes, the least sure of the right ones."""

from __future__ import annotations

import numpy as np

from budwood.evaluation.intervals import Interval
from budwood.evaluation.metrics import Estimate, summarise
from budwood.evaluation.predictions import Predictions
from budwood.page_source import PageSource
from budwood.report.data import Baseline, CrossValidation, Judged, Result, SelectionScore

_MISTAKES, _UNSURE = 18, 6


def result_of(source: PageSource, predictions: Predictions) -> Result:
    """All scores: of the test part, those that were used to choose, and trivial answers beside them."""
    scores = source.metrics
    folds = scores.get("cross_validation")
    return Result(
        metrics=summarise(predictions, seed=source.recipe.seed),
        predictions=predictions,
        selection=tuple(
            SelectionScore(name=s["name"], value=s["accuracy"], kind=s["kind"], deviation=s["deviation"])
            for s in scores["selection"]
        ),
        baselines=tuple(
            Baseline(name=b["name"], accuracy=_estimate(b["accuracy"], b["interval"]), sentence=b["sentence"])
            for b in scores["baselines"]
        ),
        refit=scores["refit"],
        cross_validation=CrossValidation(
            fold_accuracies=tuple(folds["folds"]),
            pooled=_estimate(folds["accuracy"]["value"], folds["accuracy"]["interval"]),
        )
        if folds
        else None,
    )


def _estimate(value: float, interval: dict[str, float]) -> Estimate:
    return Estimate(value=value, interval=Interval(low=interval["low"], high=interval["high"]))


def _judged(source: PageSource, predictions: Predictions, row: int) -> Judged:
    assert predictions.targets is not None
    probs = predictions.probs[row]
    best = np.argsort(-probs)[:3]
    return Judged(
        picture=source.picture(predictions.paths[row]),
        true=predictions.classes[int(predictions.targets[row])],
        top=tuple((predictions.classes[int(k)], float(probs[k])) for k in best),
    )


def mistakes_of(source: PageSource, predictions: Predictions) -> tuple[Judged, ...]:
    """The most confident wrong answers first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.targets)
    order = wrong[np.argsort(-predictions.probs[wrong].max(axis=1))] if len(wrong) else wrong
    return tuple(_judged(source, predictions, int(row)) for row in order[:_MISTAKES])


def unsure_of(source: PageSource, predictions: Predictions) -> tuple[Judged, ...]:
    """Right answers with the least confidence."""
    right = np.flatnonzero(predictions.predicted == predictions.targets)
    order = right[np.argsort(predictions.probs[right].max(axis=1))] if len(right) else right
    return tuple(_judged(source, predictions, int(row)) for row in order[:_UNSURE])
