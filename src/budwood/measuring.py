"""Labelled pictures on which the cost of an export is measured: a run's validation part, or a person's own.

The test part of a run is never among them: it is looked at for scores only. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from budwood.data.records import Catalog, ImageRecord
from budwood.data.scan import scan
from budwood.data.split_file import read_split
from budwood.doubting import own_run
from budwood.errors import DataError, UsageError
from budwood.events import Listener, silent
from budwood.export.bundle import Bundle
from budwood.export.cost import LabelledFiles
from budwood.files import sha256_file, unescape_name
from budwood.reference import catalog_of
from budwood.seeding import named_generator

_MOST = 2000  # pictures; more make the interval little narrower
_FOR_RANGES = 5  # of pictures without parts, every fifth one is kept for the ranges of int8


def run_pictures(bundle: Bundle) -> LabelledFiles:
    """The validation part of the run that ``bundle`` lies in, to measure on, and its training part.

    Raises:
        UsageError: it lies in no run. DataError: a picture of the validation part is gone or was changed since.
        IntegrityError, SplitError: the run's files were changed.
    """
    run = own_run(bundle.folder.parent)
    if run is None or not run.split.is_file():
        raise UsageError(
            f"what fewer bits cost is measured on labelled pictures, and {bundle.folder} is in no run: give a run's"
            " folder, or pictures that were not trained on with --measure FOLDER"
        )
    catalog = catalog_of(run)
    parts = read_split(run.split, catalog).parts
    measured = _spread([catalog.records[row] for row in parts["val"]])
    for record in measured:
        file = catalog.root / unescape_name(record.path)
        if not file.is_file() or sha256_file(file) != record.file_digest:
            raise DataError(
                f"{file} is gone or was changed since {run.path} was made, so nothing can be measured on its validation"
                " part; give labelled pictures that were not trained on with --measure FOLDER"
            )
    refitted = run.scored_bundle.is_dir() and bundle.folder.name == run.bundle.name
    return _labelled(
        catalog,
        measured,
        [catalog.records[row] for row in parts["train"]],
        bundle=bundle,
        what="the validation part, by which training was steered",
        note="This model was trained on them too (--refit): both accuracies flatter." if refitted else "",
    )


def given_pictures(photos: str | Path, bundle: Bundle, *, listen: Listener = silent) -> LabelledFiles:
    """Labelled pictures of any form that `scan` reads: the test part (or val) to measure on, and the training part.

    Where they are not divided, every fifth one is kept for the ranges of int8 and not measured on.

    Raises:
        DataError: there is a class that the bundle does not know, or no picture that can be read.
    """
    catalog = scan(photos, listen=listen, min_classes=1).usable()
    parts = {record.part for record in catalog.records}
    part = next((part for part in ("test", "val") if part in parts), "")
    if part:
        training = [record for record in catalog.records if record.part == "train"]
        measured = [record for record in catalog.records if record.part == part]
    else:
        mixed = _spread(catalog.records, most=len(catalog))
        training = mixed[_FOR_RANGES - 1 :: _FOR_RANGES]
        measured = [record for place, record in enumerate(mixed) if place % _FOR_RANGES != _FOR_RANGES - 1]
    return _labelled(catalog, _spread(measured), training, bundle=bundle, what=str(photos), note="")


def _labelled(
    catalog: Catalog,
    measured: Sequence[ImageRecord],
    training: Sequence[ImageRecord],
    *,
    bundle: Bundle,
    what: str,
    note: str,
) -> LabelledFiles:
    index = {name: k for k, name in enumerate(bundle.classes)}
    unknown = sorted({record.label for record in measured} - set(index))
    if unknown or not measured:
        found = f"holds classes that the bundle does not know: {', '.join(unknown[:5])}" if unknown else "is empty"
        raise DataError(f"{what} {found}; the cost is measured on pictures of {', '.join(bundle.classes[:8])}")
    usable = [record for record in _spread(training) if record.state == "ok"]
    return LabelledFiles(
        files=tuple(catalog.root / unescape_name(record.path) for record in measured),
        targets=np.array([index[record.label] for record in measured], dtype=np.int64),
        training=tuple(catalog.root / unescape_name(record.path) for record in usable),
        what=what,
        note=note,
    )


def _spread(records: Sequence[ImageRecord], *, most: int = _MOST) -> list[ImageRecord]:
    """At most so many, mixed, always in the same way."""
    return [records[row] for row in named_generator(0, "measured").permutation(len(records))[:most]]
