"""The reference of a run: what its model makes of its validation pictures, kept so that others can be compared later.

Features and upright answers of at most 2,000 pictures, a few megabytes in the run's ``explain`` folder; the rest comes
from the run's tables. None of the pictures has to be there any more. No torch is needed to read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from budwood.data.ledger import read_catalog
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import IntegrityError, UsageError
from budwood.evaluation.drift import PictureSet
from budwood.evaluation.plain_measures import measures_of
from budwood.evaluation.predictions import Predictions
from budwood.files import read_json, write_bytes
from budwood.report.why_view import EXPLAIN_NAME
from budwood.runs import RunDir

REFERENCE_NAME = "reference.safetensors"
MOST_KEPT = 2000  # rows: 5 MB at 1,280 features


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a run keeps of its validation pictures: ``features`` ``[N, D]`` float32, and answers to them upright."""

    paths: tuple[str, ...]
    features: NDArray[np.float32]
    upright: NDArray[np.float32]


def save_reference(run: RunDir, reference: Reference) -> None:
    """Keep it in the run's folder, features as float16."""
    values: dict[str, NDArray[Any]] = {"features": reference.features.astype(np.float16), "upright": reference.upright}
    about = {"paths": json.dumps(reference.paths, ensure_ascii=False)}
    write_bytes(run.path / EXPLAIN_NAME / REFERENCE_NAME, save(values, metadata=about))


def load_reference(run: RunDir) -> Reference | None:
    """What `save_reference` kept; None where the run kept none.

    Raises:
        IntegrityError: it was changed.
    """
    place = run.path / EXPLAIN_NAME / REFERENCE_NAME
    if not place.is_file():
        return None
    try:
        with safe_open(str(place), framework="numpy") as file:
            paths = tuple(json.loads(file.metadata()["paths"]))
            features, upright = file.get_tensor("features"), file.get_tensor("upright")
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(
            f"{place} is not what was written ({error}); make it again with: budwood explain"
        ) from error
    if len(features) != len(paths) or len(upright) != len(paths):
        raise IntegrityError(f"{place} names {len(paths)} pictures and holds {len(features)} rows; it was changed")
    return Reference(paths=paths, features=features.astype(np.float32), upright=upright)


def reference_set(run: RunDir) -> PictureSet:
    """The validation pictures of a run that it kept, as a set to compare others with.

    Raises:
        UsageError: the run kept none. IntegrityError: its files do not agree.
    """
    kept = load_reference(run)
    if kept is None:
        raise UsageError(
            f"{run.path} kept nothing of its validation pictures; where they are still there, make it with:"
            f" budwood explain {run.path}"
        )
    answers = Predictions.load(run.predictions("val"))
    row = {path: i for i, path in enumerate(answers.paths)}
    records = {record.path: record for record in catalog_of(run).records}
    if answers.targets is None or any(path not in row or path not in records for path in kept.paths):
        raise IntegrityError(f"the reference in {run.path} names pictures that its tables do not: it was changed")
    order = [row[path] for path in kept.paths]
    return PictureSet(
        paths=kept.paths,
        classes=answers.classes,
        features=kept.features,
        probs=answers.probs[order],
        targets=answers.targets[order],
        measures=measures_of([_measures(records[path]) for path in kept.paths]),
    )


def catalog_of(run: RunDir) -> Catalog:
    """The run's ledger: every picture as it was then."""
    environment = read_json(run.environment)
    return read_catalog(run.catalog, Path(environment.get("root", environment["photos"])))


def _measures(record: ImageRecord) -> Mapping[str, float]:
    names = ("brightness", "contrast", "sharpness", "red", "green", "blue", "shadow", "width", "height")
    return {name: float(getattr(record, name)) for name in names}
