"""The bytes of a CSV or TSV -> header and rows of text, with line numbers. What the columns mean, `tables.py` knows."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from budwood.errors import DataError, UsageError

MAX_TABLE_BYTES = 256 * 2**20
MAX_ROWS = 2_000_000
_SEPARATORS = ",;\t"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``rows``: (line number in the file, cells as many as ``header``); ``latin``: it was no UTF-8."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    latin: bool


def read_table(path: Path, *, name: str) -> Table:
    """Read a whole table: UTF-8 with or without a byte-order mark, UTF-16 with one, else Latin-1.

    Args:
        path: a ``.tsv`` is divided by tabs; any other by what divides its first line into most cells.
        name: what messages call it.

    Raises:
        UsageError: it cannot be read. DataError: it is no table, too large, or a row has too many cells.
    """
    text, latin = _decoded(_bytes_of(path, name=name), name=name)
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, tuple[str, ...]]] = []
    header: tuple[str, ...] = ()
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = tuple(cell.strip() for cell in cells)
                continue
            rows.append((reader.line_num, _squared(cells, header, line=reader.line_num, name=name)))
            if len(rows) > MAX_ROWS:
                raise DataError(f"{name} has more than the {MAX_ROWS} rows allowed; divide it")
    except csv.Error as error:
        raise DataError(
            f"{name}, line {reader.line_num}: {error}; a quote that opens a cell must close it, and be doubled inside"
        ) from error
    if not header:
        raise DataError(f"{name} is empty; a header such as path,label and one row per picture are expected")
    return Table(header=header, rows=tuple(rows), latin=latin)


def _bytes_of(path: Path, *, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read ({error.strerror}); check its permissions") from error
    if len(data) > MAX_TABLE_BYTES:
        raise DataError(f"{name} has more than the {MAX_TABLE_BYTES // 2**20} MB allowed for a table; divide it")
    return data


def _decoded(data: bytes, *, name: str) -> tuple[str, bool]:
    try:
        text, latin = data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig"), False
    except UnicodeDecodeError:
        text, latin = data.decode("latin-1"), True
    if "\0" in text:
        raise DataError(f"{name} holds NUL characters, so it is no text; save the table as CSV in UTF-8")
    return text, latin


def _separator(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=first.count)  # the comma wins a tie


def _squared(cells: list[str], header: tuple[str, ...], *, line: int, name: str) -> tuple[str, ...]:
    if any(cell.strip() for cell in cells[len(header) :]):
        raise DataError(
            f"{name}, line {line} has {len(cells)} cells, the header {len(header)}; put names that hold the"
            ' separator into "quotes"'
        )
    padded = [*cells, *([""] * (len(header) - len(cells)))]
    return tuple(padded[: len(header)])
