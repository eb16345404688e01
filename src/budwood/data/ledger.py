"""The catalog as a CSV that a person can read (``catalog.csv``), and back without loss.

One row a picture with every field of `ImageRecord`. Two further kinds of row keep the rest of the catalog:
state ``ignored`` (the reason holds the text) and state ``class`` (a class without any picture).
"""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from pathlib import Path
from typing import get_args

from budwood.data.records import Catalog, ImageRecord, State
from budwood.errors import IntegrityError
from budwood.files import write_bytes

COLUMNS = tuple(field.name for field in fields(ImageRecord))
_INTEGERS = ("num_bytes", "width", "height")
_FLOATS = ("brightness", "contrast", "sharpness", "red", "green", "blue", "shadow")


def write_catalog(catalog: Catalog, path: Path) -> None:
    """Write ``catalog`` (without its root) to ``path`` as CSV, atomically."""
    text = io.StringIO(newline="")
    # Everything is quoted: a bare carriage return inside a name would else end the row.
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    for record in catalog.records:
        writer.writerow({name: getattr(record, name) for name in COLUMNS})
    for name in sorted(set(catalog.classes) - {record.label for record in catalog.records}):
        writer.writerow({"label": name, "state": "class"})
    for line in catalog.ignored:
        writer.writerow({"state": "ignored", "reason": line})
    write_bytes(path, text.getvalue().encode("utf-8"))


def read_catalog(path: Path, root: Path) -> Catalog:
    """Read what `write_catalog` wrote; ``root`` is the folder that the paths are relative to.

    Raises:
        IntegrityError: the file is missing, cut or changed so that it is no ledger any more.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise IntegrityError(f"{path} cannot be read as a catalog ({error})") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise IntegrityError(f"{path} is not a catalog: its first line must be {','.join(COLUMNS)}")
    records: list[ImageRecord] = []
    labels: set[str] = set()
    ignored: list[str] = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            raise IntegrityError(f"{path}: row {number} has {len(row)} fields, expected {len(COLUMNS)}")
        values = dict(zip(COLUMNS, row, strict=True))
        if values["state"] == "ignored":
            ignored.append(values["reason"])
            continue
        labels.add(values["label"])
        if values["state"] != "class":
            records.append(_record(values, where=f"{path}: row {number}"))
    return Catalog(root=root, records=tuple(records), classes=tuple(sorted(labels)), ignored=tuple(ignored))


def _record(values: dict[str, str], *, where: str) -> ImageRecord:
    if values["state"] not in get_args(State):
        raise IntegrityError(f"{where}: the state {values['state']!r} is none of {', '.join(get_args(State))}")
    typed: dict[str, str | int | float] = dict(values)
    try:
        typed.update({name: int(values[name]) for name in _INTEGERS})
        typed.update({name: float(values[name]) for name in _FLOATS})
    except ValueError as error:
        raise IntegrityError(f"{where}: {error}") from error
    return ImageRecord(**typed)  # type: ignore[arg-type]  # each field was given its type above
