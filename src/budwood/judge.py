"""A bundle on other pictures: `predict` answers files, `evaluate` scores labelled ones.

Classes are matched by name, never by order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from budwood.data.inputs.sources import list_pictures
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.errors import DataError
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.export.bundle import Bundle, Unreadable, load
from budwood.files import escape_name, unescape_name


def picture_files(pictures: str | Path | Sequence[str | Path], *, listen: Listener = silent) -> list[Path]:
    """The files that are meant: files as they are, and all pictures of folders, archives, tables and arrays.

    Raises:
        UsageError: a path does not exist. DataError: a folder or an archive holds no picture.
    """
    return [file for _, file in named_pictures(pictures, listen=listen)]


def named_pictures(pictures: str | Path | Sequence[str | Path], *, listen: Listener = silent) -> list[tuple[str, Path]]:
    """(name in the answers, file) of `picture_files`; what is inside an archive or table goes by its name there.

    Raises:
        UsageError: a path does not exist. DataError: a folder or an archive holds no picture.
    """
    given = [Path(one) for one in ([pictures] if isinstance(pictures, str | Path) else pictures)]
    named = []
    for one in given:
        for name, file in list_pictures(one, listen=listen):
            own = name == escape_name(str(file))
            named.append((name if own or len(given) == 1 else f"{escape_name(str(one))}/{name}", file))
    return named


def predict(
    bundle: str | Path | Bundle, pictures: str | Path | Sequence[str | Path], *, listen: Listener = silent
) -> tuple[Predictions, tuple[Unreadable, ...]]:
    """Class probabilities of picture files, and the files that could not be read, with reasons.

    Args:
        bundle: a bundle, its folder, or a run's folder.
        pictures: files, or folders, archives, tables and arrays whose pictures are all meant; one or several.
    """
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    return _answer(opened, named_pictures(pictures, listen=listen), listen=listen)


def _answer(
    bundle: Bundle, named: list[tuple[str, Path]], *, listen: Listener
) -> tuple[Predictions, tuple[Unreadable, ...]]:
    files = [file for _, file in named]
    start = time.perf_counter()
    listen(StepStarted(step="predict", total=len(files)))

    def advance(count: int) -> None:
        listen(StepAdvanced(step="predict", count=count))

    answers, unreadable = bundle.predict_files(files, advance=advance)
    shown = {escape_name(str(file)): name for name, file in named}
    answers = replace(answers, paths=tuple(shown[path] for path in answers.paths))
    unreadable = tuple(replace(item, path=shown[item.path]) for item in unreadable)
    seconds = time.perf_counter() - start
    note = f"{len(files) / max(seconds, 1e-9):.0f} images/s, {len(unreadable)} unreadable"
    listen(StepFinished(step="predict", seconds=seconds, note=note))
    return answers, unreadable


def evaluate(
    bundle: str | Path | Bundle, photos: str | Path, *, seed: int = 0, listen: Listener = silent
) -> tuple[Metrics, Predictions]:
    """Score a bundle on labelled pictures: a folder, a table, an archive or arrays.

    Of pictures that their owner divided into parts, the test part is scored alone (val, where there is no test part):
    the others may have been trained on.

    Raises:
        DataError: there is a class that the bundle does not know, or no readable picture.
    """
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    catalog = _unseen(scan(photos, listen=listen, min_classes=1), photos, listen=listen)
    unknown = sorted(set(catalog.classes) - set(opened.classes))
    if unknown:
        raise DataError(
            f"{photos} holds classes that the bundle does not know: {', '.join(unknown[:5])}; it knows "
            f"{', '.join(opened.classes[:8])}. Rename the folders, or train on these classes"
        )
    usable = catalog.usable()
    if not usable.records:
        raise DataError(f"none of the {len(catalog)} pictures of {photos} that are to be scored can be read")
    files = [(record.path, catalog.root / unescape_name(record.path)) for record in usable.records]
    answers, unreadable = _answer(opened, files, listen=listen)
    if unreadable:
        raise DataError(f"{unreadable[0].path} was changed while it was being scored; run the command again")
    if len(usable) < len(catalog):
        listen(Warned(text=f"{len(catalog) - len(usable)} unreadable pictures of {photos} were left out"))
    index = {name: i for i, name in enumerate(opened.classes)}
    targets = np.array([index[r.label] for r in usable.records], dtype=np.int64)
    labelled = replace(answers, targets=targets, paths=tuple(r.path for r in usable.records))
    return summarise(labelled, seed=seed), labelled


def _unseen(catalog: Catalog, photos: str | Path, *, listen: Listener) -> Catalog:
    """The part of a divided catalog that is meant for scoring; the whole of one that is not divided."""
    parts = {record.part for record in catalog.records}
    part = next((part for part in ("test", "val") if part in parts), "")
    if not part:
        return catalog
    records = tuple(record for record in catalog.records if record.part == part)
    listen(Warned(text=f"{photos} is divided into parts: only {part} is scored ({len(records)} pictures)"))
    return replace(catalog, records=records, classes=tuple(sorted({record.label for record in records})))
