"""A CSV or TSV of paths and labels -> `Listing`. The pictures stay where they are; none is opened.

Paths are relative to the table's folder (or, as in many challenges, to one folder beside the table), or absolute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budwood.data.inputs.folders import SUFFIXES
from budwood.data.inputs.listing import Entry, Listing
from budwood.data.inputs.parts import check_parts, part_of_word
from budwood.data.inputs.table_columns import Columns, choose_columns
from budwood.data.inputs.table_text import Table, read_table
from budwood.errors import DataError
from budwood.events import Listener, StepFinished, Warned, silent
from budwood.files import escape_name, unescape_name

# Tried for a name without one, as challenges give identifiers: "Train_0" for Train_0.jpg.
_ADDED_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".tif", ".tiff", ".bmp", ".webp")
_MAX_FOLDERS = 200  # beside the table, that are tried
_TRIED_ROWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What one line says; ``path`` and ``label`` as written, ``part`` canonical or empty."""

    line: int
    path: str
    label: str
    group: str
    part: str


def list_table(
    table: Path, *, listen: Listener = silent, name: str = "", within: Path | None = None, needs_labels: bool = True
) -> Listing:
    """The pictures that a table names, with label, and group and part where it has such columns.

    Args:
        table: a ``.csv`` or ``.tsv`` with a header.
        listen: hears which columns were taken, of doubts about them, and of text that is not UTF-8.
        name: what messages call it, where the user gave something else (an archive that holds it).
        within: pictures outside of this folder do not count; None: they may lie anywhere.
        needs_labels: False: a table without labels is listed with empty ones, for `predict`.

    Raises:
        UsageError: it cannot be read. DataError: columns, labels, parts or most of the files are missing, or one
            picture has two labels.
    """
    started, name = time.monotonic(), name or str(table)
    read = read_table(table, name=name)
    columns = choose_columns(read.header, name=name, needs_labels=needs_labels)
    rows = list(_rows(read, columns))
    _check_rows(rows, read, columns, name=name, needs_labels=needs_labels)
    if read.latin:
        listen(Warned(text=f"{name} is not UTF-8; it was read as Latin-1: look at the names of the classes"))
    for doubt in columns.doubts:
        listen(Warned(text=f"{name}: {doubt}"))
    base = _base(table.parent, rows, latin=read.latin, name=name)
    found = _Found(latin=read.latin, folder=base, within=os.path.realpath(within) if within else "")
    for row in rows:
        found.add(row, name=name)
    if found.num_missing * 2 > len(rows):
        raise DataError(_missing(found, rows, name=name))
    seconds = time.monotonic() - started
    beside = f"; paths begin in {base}" if base != str(table.parent) else ""
    listen(StepFinished(step="table", seconds=seconds, note=f"{len(rows)} rows: {columns.taken}{beside}"))
    listing = found.listing(name=name)
    if any(entry.part for entry in listing.entries):
        check_parts(listing.entries, where=name)
    return listing


def _rows(table: Table, columns: Columns) -> Iterator[_Row]:
    def cell(cells: tuple[str, ...], at: int | None) -> str:
        return cells[at].strip() if at is not None else ""

    for line, cells in table.rows:
        part = cell(cells, columns.part)
        yield _Row(
            line=line,
            path=cell(cells, columns.path),
            label=cell(cells, columns.label),
            group=cell(cells, columns.group),
            part=part_of_word(part) or f"?{part}" if part else "",
        )


def _check_rows(rows: list[_Row], table: Table, columns: Columns, *, name: str, needs_labels: bool) -> None:
    """Refuse rows that say too little, with their line numbers."""

    def refuse(bad: list[_Row], what: str) -> None:
        if bad:
            shown = ", ".join(str(row.line) for row in bad[:5]) + (", ..." if len(bad) > 5 else "")
            raise DataError(f"{name}: {len(bad)} of {len(rows)} rows {what} (line {shown})")

    if not rows:
        raise DataError(f"{name} has a header and no rows; one row per picture is expected")
    refuse([row for row in rows if not row.path], f'have no path in the column "{table.header[columns.path]}"')
    if needs_labels and columns.label is not None:
        column = table.header[columns.label]
        refuse([row for row in rows if not row.label], f'have no label in the column "{column}"; fill or delete them')
    if columns.part is not None and any(row.part for row in rows):
        column = table.header[columns.part]
        refuse(
            [row for row in rows if not row.part or row.part.startswith("?")],
            f'have something else than train, val or test in the column "{column}"; correct or rename it',
        )


@dataclass(slots=True, kw_only=True)
class _Found:
    """The pictures found so far, by place."""

    folder: str
    latin: bool
    within: str
    num_missing: int = 0
    ignored: list[str] = field(default_factory=list)
    _rows: dict[str, _Row] = field(default_factory=dict)
    _real: dict[str, str] = field(default_factory=dict)  # folder as written -> the same without links and ".."

    def add(self, row: _Row, *, name: str) -> None:
        """Take a row over, or note why not.

        Raises:
            DataError: an earlier row says something else of the same picture.
        """
        place = self.place_of(row)
        if place is None:
            self.num_missing += 1
            self.ignored.append(f"{escape_name(row.path)}: line {row.line} names it, and there is no such file")
            return
        first = self._rows.setdefault(place, row)
        if first is row:
            return
        for what in ("label", "part", "group"):
            ours, theirs = getattr(first, what), getattr(row, what)
            if ours != theirs:
                raise DataError(
                    f'{name}: {escape_name(row.path)} has the {what} "{ours}" on line {first.line} and'
                    f' "{theirs}" on line {row.line}; keep one of the rows'
                )
        self.ignored.append(
            f"{escape_name(row.path)}: line {row.line} names it again (first on line {first.line}); it counts once"
        )

    def place_of(self, row: _Row) -> str | None:
        written = _find(self.folder, row.path, latin=self.latin)
        if written is None:
            return None
        folder, file = os.path.split(written)
        real = self._real.get(folder) or self._real.setdefault(folder, os.path.realpath(folder))
        if self.within and os.path.commonpath([self.within, real]) != self.within:
            return None
        return os.path.join(real, file)

    def listing(self, *, name: str) -> Listing:
        """All of them as a listing; the root is the longest folder that they share."""
        try:
            root = os.path.commonpath([os.path.dirname(place) for place in self._rows])
        except ValueError as error:
            raise DataError(f"{name} names pictures on several drives; put them below one folder") from error
        entries = [
            Entry(
                path=escape_name(os.path.relpath(place, root).replace(os.sep, "/")),
                place=place,
                label=escape_name(row.label),
                group=escape_name(row.group),
                part=row.part,
            )
            for place, row in self._rows.items()
        ]
        entries.sort(key=lambda entry: entry.path)
        classes = tuple(sorted({entry.label for entry in entries}))
        return Listing(root=Path(root), entries=tuple(entries), classes=classes, ignored=tuple(sorted(self.ignored)))


def _find(folder: str, written: str, *, latin: bool) -> str | None:
    """The plain file that a cell names, or None."""
    for spelling in _spellings(written, latin=latin):
        path = os.path.join(folder, spelling)
        if os.path.isfile(path):
            return path
        if os.path.splitext(spelling)[1].lower() not in SUFFIXES:
            for suffix in _ADDED_SUFFIXES:
                if os.path.isfile(path + suffix):
                    return path + suffix
    return None


def _spellings(written: str, *, latin: bool) -> Iterator[str]:
    """As written, then as a name of raw bytes, as a path of Windows, and as Budwood itself escapes names."""
    yield written
    if latin:
        yield os.fsdecode(written.encode("latin-1"))
    if "\\" in written:
        yield written.replace("\\", "/")
        try:
            yield unescape_name(written)
        except ValueError:
            return


def _base(folder: Path, rows: list[_Row], *, latin: bool, name: str) -> str:
    """The folder that the paths begin in: the table's own, or the only one in it where they lead to files."""
    step = max(1, len(rows) // _TRIED_ROWS)
    tried = rows[::step]

    def hits(base: str) -> int:
        return sum(_find(base, row.path, latin=latin) is not None for row in tried)

    own = str(folder)
    if hits(own) * 2 >= len(tried):
        return own
    try:
        beside = sorted(entry.path for entry in os.scandir(own) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        beside = []
    fitting = [base for base in beside[:_MAX_FOLDERS] if hits(base) * 2 > len(tried)]
    if len(fitting) > 1:
        raise DataError(
            f"{name}: its paths lead to files in {fitting[0]} and also in {fitting[1]}; write the folder into the paths"
        )
    return fitting[0] if fitting else own


def _missing(found: _Found, rows: list[_Row], *, name: str) -> str:
    first = next(row for row in rows if found.place_of(row) is None)
    return (
        f"{name}: {found.num_missing} of the {len(rows)} files that it names do not exist; the first is"
        f' "{escape_name(first.path)[:200]}" (line {first.line}), looked for in {found.folder} and the folders in it.'
        " Paths are relative to the table's own folder: put the table beside the pictures, or write whole paths"
    )
