"""Pictures that a run's model doubts, as findings for the review: its own validation pictures, and new ones.

The validation part (or, of a run with folds, every picture) was answered by a model that was not trained on it; the
training part is left out, since a network believes what it was taught. For pictures that the run never saw the bundle
is asked. Decisions are a person's, in the review.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from budwood.data.records import Catalog, Finding
from budwood.errors import IntegrityError, UsageError
from budwood.evaluation.doubts import Doubt, find_doubts
from budwood.evaluation.drift import unusualness
from budwood.evaluation.predictions import Predictions
from budwood.reference import load_reference, reference_set
from budwood.runs import RunDir

if TYPE_CHECKING:
    from budwood.describing import Described

CHECK = "doubt"
MOST = 500  # findings: a list that nobody gets through is no list


@dataclass(frozen=True, kw_only=True)
class DoubtedPicture:
    """A picture and what speaks for looking at it."""

    path: str
    doubt: Doubt


def doubts_of_run(run: RunDir) -> tuple[DoubtedPicture, ...]:
    """The doubtful ones among the pictures that the run's models answered without having been trained on them.

    Raises:
        UsageError: the run kept no such answers. IntegrityError: its files do not agree.
    """
    folds, val = run.predictions("cross-validation"), run.predictions("val")
    if not folds.is_file() and not val.is_file():
        raise UsageError(f"{run.path} kept no answers to its validation part; fit it again with this Budwood")
    answers = Predictions.load(folds if folds.is_file() else val)
    kept = load_reference(run)
    upright = unusual = None
    if kept is not None and set(kept.paths) == set(answers.paths):
        row = {path: i for i, path in enumerate(kept.paths)}
        order = np.array([row[path] for path in answers.paths])
        upright, unusual = kept.upright[order], _own_unusualness(kept.features)[order]
    found = find_doubts(
        answers.probs, classes=answers.classes, targets=answers.targets, other_views=upright, unusual=unusual
    )
    return tuple(DoubtedPicture(path=answers.paths[doubt.row], doubt=doubt) for doubt in found)


def doubts_of_pictures(described: Described, run: RunDir | None) -> tuple[Doubt, ...]:
    """The doubtful ones among new pictures; with a run also those that are unlike its own.

    Raises:
        IntegrityError: the run's files do not agree.
    """
    pictures = described.pictures
    unusual = None
    if run is not None and load_reference(run) is not None:
        reference = reference_set(run)
        if reference.features.shape[1] != pictures.features.shape[1]:
            raise IntegrityError(f"the reference in {run.path} is of another network than its bundle: it was changed")
        unusual = unusualness(reference.features, pictures.features)
    return find_doubts(
        pictures.probs,
        classes=pictures.classes,
        targets=pictures.targets,
        other_views=described.upright,
        unusual=unusual,
    )


def as_findings(doubted: Sequence[DoubtedPicture], catalog: Catalog) -> tuple[Finding, ...]:
    """Findings of the check ``doubt`` on pictures of ``catalog``, the most doubtful first; others are left out."""
    known = {record.path for record in catalog.records if record.state == "ok"}
    return tuple(
        Finding(
            check=CHECK,
            severity="warning" if each.doubt.suggestion else "info",
            paths=(each.path,),
            evidence=each.doubt.sentence,
            score=each.doubt.score,
            suggestion=each.doubt.suggestion,
        )
        for each in doubted
        if each.path in known
    )[:MOST]


def findings_for_review(run: RunDir, catalog: Catalog) -> tuple[Finding, ...]:
    """What a review of ``catalog`` shows of the run's doubts.

    Raises:
        UsageError: the run kept no answers, or it is of other pictures.
    """
    doubted = doubts_of_run(run)
    found = as_findings(doubted, catalog)
    if doubted and not found:
        raise UsageError(
            f"none of the pictures that {run.path} doubts is in {catalog.root}; give the photos that it was fitted on"
        )
    return found


def own_run(folder: Path) -> RunDir | None:
    """The run that ``folder`` is, or None for a bundle."""
    run = RunDir(folder)
    return run if run.status.is_file() and run.metrics.is_file() else None


def _own_unusualness(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unusual each kept picture is among the others, halves against each other: none is its own neighbour."""
    out = np.zeros(len(features))
    if len(features) < 20:
        return out
    even, odd = np.arange(0, len(features), 2), np.arange(1, len(features), 2)
    out[even], out[odd] = unusualness(features[odd], features[even]), unusualness(features[even], features[odd])
    return out
