"""The catalog as a CSV that a person can read (``catalog.csv``), and back without loss.

One row a picture with every field of `ImageRecord`. Two further kinds of row keep the rest of the catalog:
state ``ignored`` (the reason holds the text) and state ``class`` (a class without any picture).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import get_args

from budwood.data.fact_records import assembled
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
    plain = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    plain.writerows(map(attrgetter(*COLUMNS), catalog.records))
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
    lengths = list(map(len, rows))
    if lengths.count(len(COLUMNS)) != len(rows):
        number = next(i for i, length in enumerate(lengths) if length != len(COLUMNS))
        raise IntegrityError(f"{path}: row {number + 1} has {lengths[number]} fields, expected {len(COLUMNS)}")
    state = COLUMNS.index("state")
    ignored = [row[COLUMNS.index("reason")] for row in rows[1:] if row[state] == "ignored"]
    labels = {row[COLUMNS.index("label")] for row in rows[1:] if row[state] != "ignored"}
    numbers = [i for i, row in enumerate(rows) if i and row[state] not in ("ignored", "class")]
    records = _records([rows[i] for i in numbers], where=lambda i: f"{path}: row {numbers[i] + 1}")
    return Catalog(root=root, records=tuple(records), classes=tuple(sorted(labels)), ignored=tuple(ignored))


def _records(rows: list[list[str]], *, where: Callable[[int], str]) -> list[ImageRecord]:
    """The records of rows of as many fields as there are columns; ``where`` tells the place of a row in errors."""
    if not rows:
        return []
    columns: dict[str, Sequence[object]] = {}
    for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        kind = int if name in _INTEGERS else float if name in _FLOATS else str
        columns[name] = _typed(values, kind, where=where)
    states = get_args(State)
    for i, state in enumerate(columns["state"]):
        if state not in states:
            raise IntegrityError(f"{where(i)}: the state {state!r} is none of {', '.join(states)}")
    return assembled(columns, len(rows))


def _typed(values: Sequence[str], kind: Callable[[str], object], *, where: Callable[[int], str]) -> Sequence[object]:
    if kind is str:
        return values
    try:
        return list(map(kind, values))
    except ValueError:
        for i, value in enumerate(values):
            try:
                kind(value)
            except ValueError as error:
                raise IntegrityError(f"{where(i)}: {error}") from error
        raise
