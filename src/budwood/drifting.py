"""New pictures against those that a run was judged on: described, compared, and the unusual ones picked out.

What is measured is `evaluation/drift`'s matter; pages are the report's. No picture file is changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.describing import Described, describe_files, named_files
from budwood.errors import DataError, IntegrityError, UsageError
from budwood.evaluation.drift import Drift, PictureSet, compare_sets
from budwood.evaluation.two_samples import LEAST
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.export.bundle import Bundle, load
from budwood.reference import reference_set
from budwood.runs import RunDir
from budwood.seeding import named_generator

_STEP = "drift"


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What was found, and the new pictures that it was found on; rows of ``drift.unusual`` are rows of these."""

    drift: Drift
    described: Described
    num_found: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; unusual pictures go by their names."""
        names = self.described.pictures.paths
        unusual = [{"path": names[row], "unusual": share} for row, share in self.drift.unusual]
        unreadable = [{"path": item.path, "reason": item.reason} for item in self.described.unreadable]
        return {**self.drift.to_dict(), "unusual": unusual, "unreadable": unreadable, "num_found": self.num_found}


def drift(
    run: str | Path,
    photos: str | Path | Sequence[str | Path],
    *,
    against: str | Path | None = None,
    pictures: int = 600,
    seed: int = 0,
    listen: Listener = silent,
) -> DriftReport:
    """Are new pictures like those that a run's model was judged on?

    Args:
        run: a run's folder; a bundle only together with ``against``.
        photos: files, or folders, archives, tables and arrays; labels are not needed.
        against: pictures to compare with, instead of the validation pictures that the run kept.
        pictures: of more than so many, as many are drawn.
        seed: of the drawing and of the folds.

    Raises:
        UsageError: there is no reference. DataError: too few pictures can be read.
    """
    begun = time.perf_counter()
    folder = Path(run)
    is_run = RunDir(folder).status.is_file()
    if not is_run and against is None:
        raise UsageError(
            f"{folder} is no run, and a bundle keeps no pictures to compare with: give the run's folder, or pictures"
            " that the model was judged on with --against"
        )
    bundle = load(RunDir(folder).judged_bundle() if is_run else folder)
    if against is not None:
        known, _ = _described(bundle, against, pictures=pictures, seed=seed, listen=listen)
        reference = labelled_only(known.pictures, str(against))
    else:
        reference = reference_set(RunDir(folder))
    new, found = _described(bundle, photos, pictures=pictures, seed=seed, listen=listen)
    if reference.features.shape[1] != new.pictures.features.shape[1]:
        raise IntegrityError(f"what {folder} kept is of another network than its bundle; it was changed")
    for name, number in (("to compare with", len(reference)), ("new ones", len(new.pictures))):
        if number < LEAST:
            raise DataError(f"{number} pictures {name}: fewer than {LEAST} tell nothing; give more")
    result = compare_sets(reference, new.pictures, seed=seed)
    listen(StepFinished(step=_STEP, seconds=time.perf_counter() - begun, note=result.separation.words))
    return DriftReport(drift=result, described=new, num_found=found)


def labelled_only(pictures: PictureSet, name: str) -> PictureSet:
    """The pictures whose label is known.

    Raises:
        DataError: there is none.
    """
    rows: NDArray[np.int64] = np.flatnonzero(pictures.labelled)
    if not len(rows):
        raise DataError(
            f"{name} has no folders that are called like the model's classes: {', '.join(pictures.classes[:5])}"
        )
    return PictureSet(
        paths=tuple(pictures.paths[i] for i in rows.tolist()),
        classes=pictures.classes,
        features=pictures.features[rows],
        probs=pictures.probs[rows],
        targets=pictures.targets[rows],
        measures={key: values[rows] for key, values in pictures.measures.items()},
    )


def _described(
    bundle: Bundle,
    photos: str | Path | Sequence[str | Path],
    *,
    pictures: int,
    seed: int,
    listen: Listener,
) -> tuple[Described, int]:
    """The pictures, or as many of them as are asked for; and how many there are."""
    named = named_files(photos, listen=listen)
    order = np.sort(named_generator(seed, "drift").permutation(len(named))[:pictures])
    chosen = [named[i] for i in order.tolist()]
    if len(chosen) < len(named):
        listen(Warned(text=f"{len(chosen)} of {len(named)} pictures are looked at; more with --pictures"))
    listen(StepStarted(step=_STEP, total=len(chosen)))
    found = describe_files(bundle, chosen, advance=lambda n: listen(StepAdvanced(step=_STEP, count=n)))
    if found.unreadable:
        listen(Warned(text=f"{len(found.unreadable)} unreadable pictures were left out"))
    return found, len(named)
