"""A bundle on other pictures: `predict` answers files, `evaluate` scores a labelled folder.

Classes are matched by name, never by order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from budwood.data.folders import SUFFIXES
from budwood.data.scan import scan
from budwood.errors import DataError, UsageError
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.export.bundle import Bundle, Unreadable, load
from budwood.files import unescape_name


def picture_files(pictures: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that are meant: files as they are, folders with all pictures below them (hidden ones left out).

    Raises:
        UsageError: a path does not exist. DataError: a folder holds no picture.
    """
    files: list[Path] = []
    for given in map(Path, [pictures] if isinstance(pictures, str | Path) else pictures):
        if given.is_dir():
            found = sorted(_below(given))
            if not found:
                raise DataError(
                    f"{given} holds no pictures ({', '.join(sorted(SUFFIXES)[:5])}, ...); give another folder"
                )
            files += found
        elif given.exists():
            files.append(given)
        else:
            raise UsageError(f"{given} does not exist; give picture files or folders")
    return files


def _below(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith((".", "__MACOSX"))]
        found += [Path(place, n) for n in names if Path(n).suffix.lower() in SUFFIXES and not n.startswith(".")]
    return found


def predict(
    bundle: str | Path | Bundle, pictures: str | Path | Sequence[str | Path], *, listen: Listener = silent
) -> tuple[Predictions, tuple[Unreadable, ...]]:
    """Class probabilities of picture files, and the files that could not be read, with reasons.

    Args:
        bundle: a bundle, its folder, or a run's folder.
        pictures: files, or folders whose pictures are all meant; one or several.
    """
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    files = picture_files(pictures)
    start = time.perf_counter()
    listen(StepStarted(step="predict", total=len(files)))

    def advance(count: int) -> None:
        listen(StepAdvanced(step="predict", count=count))

    answers, unreadable = opened.predict_files(files, advance=advance)
    seconds = time.perf_counter() - start
    note = f"{len(files) / max(seconds, 1e-9):.0f} images/s, {len(unreadable)} unreadable"
    listen(StepFinished(step="predict", seconds=seconds, note=note))
    return answers, unreadable


def evaluate(
    bundle: str | Path | Bundle, photos: str | Path, *, seed: int = 0, listen: Listener = silent
) -> tuple[Metrics, Predictions]:
    """Score a bundle on a folder of class folders.

    Raises:
        DataError: the folder holds a class that the bundle does not know, or no readable picture.
    """
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    root = Path(photos)
    catalog = scan(root, listen=listen, min_classes=1)
    unknown = sorted(set(catalog.classes) - set(opened.classes))
    if unknown:
        raise DataError(
            f"{root} holds classes that the bundle does not know: {', '.join(unknown[:5])}; it knows "
            f"{', '.join(opened.classes[:8])}. Rename the folders, or train on these classes"
        )
    usable = catalog.usable()
    answers, unreadable = predict(opened, [root / unescape_name(r.path) for r in usable.records], listen=listen)
    if unreadable:
        raise DataError(f"{unreadable[0].path} was changed while it was being scored; run the command again")
    if len(usable) < len(catalog):
        listen(Warned(text=f"{len(catalog) - len(usable)} unreadable pictures of {root} were left out"))
    index = {name: i for i, name in enumerate(opened.classes)}
    targets = np.array([index[r.label] for r in usable.records], dtype=np.int64)
    labelled = replace(answers, targets=targets, paths=tuple(r.path for r in usable.records))
    return summarise(labelled, seed=seed), labelled
