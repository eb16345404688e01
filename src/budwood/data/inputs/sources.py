"""What the user gave as PHOTOS -> `Listing`, whatever kind of input it is. Nothing is decoded here.

Folders and tables are read where they lie; archives and arrays are unpacked into the cache once.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from budwood.data.inputs.archives import ARCHIVE_SUFFIXES, unpack_archive
from budwood.data.inputs.arrays import list_arrays
from budwood.data.inputs.extraction import TABLE_SUFFIXES
from budwood.data.inputs.folders import EXPECTED, SUFFIXES, list_folder
from budwood.data.inputs.listing import Listing
from budwood.data.inputs.tables import list_table
from budwood.errors import DataError, UsageError
from budwood.events import Listener, Warned, silent
from budwood.files import escape_name

KINDS = "a folder of class folders, a .csv or .tsv table, an .npz of arrays, or a .zip or .tar(.gz, .bz2, .xz) archive"
_MAX_WRAPPERS = 4


def check_source(photos: Path) -> None:
    """Refuse what cannot be an input, by its name and kind alone; nothing is read or unpacked.

    Raises:
        UsageError: it is missing, of no known kind, or may not be read.
    """
    if not photos.exists():
        raise UsageError(f"{photos} does not exist; give {KINDS}")
    if photos.is_dir():
        return
    if not photos.is_file():
        raise UsageError(f"{photos} is no plain file; give {KINDS}")
    if not _kind(photos):
        raise UsageError(f"{photos} is a file of a kind that is not known; give {KINDS}. {EXPECTED}")
    try:
        photos.open("rb").close()
    except OSError as error:
        raise UsageError(f"{photos} cannot be read ({error.strerror}); check its permissions") from error


def open_source(photos: Path, *, listen: Listener = silent) -> Listing:
    """List the pictures of ``photos``.

    Args:
        photos: a folder, a table, an archive or arrays.
        listen: hears of the step ``unpack`` where something is unpacked, and of doubts about tables and arrays.

    Raises:
        UsageError: it is missing, or of no kind that can be read. DataError: it holds nothing to train on, or cannot
            be understood. OutputError: the cache, where something is unpacked, cannot be written.
    """
    check_source(photos)
    if photos.is_dir():
        return list_folder(photos)
    match _kind(photos):
        case "table":
            return list_table(photos, listen=listen)
        case "arrays":
            return list_arrays(photos, listen=listen)
        case _:
            return _list_archive(photos, listen=listen)


def list_pictures(photos: Path, *, listen: Listener = silent) -> list[tuple[str, Path]]:
    """All pictures of ``photos``, whether they have labels or not: (name to show, file).

    A single picture is itself; a folder, also inside an archive, is read to its depth, hidden folders left out.

    Raises:
        UsageError: it does not exist. DataError: it holds no picture, or cannot be understood.
    """
    if not photos.exists():
        raise UsageError(f"{photos} does not exist; give pictures, or {KINDS}")
    if photos.is_dir():
        found = [(escape_name(str(place)), place) for place in _below(photos)]
    elif not (kind := _kind(photos)):
        return [(escape_name(str(photos)), photos)]
    elif kind == "archive":
        folder = unpack_archive(photos, listen=listen).folder
        found = [(escape_name(place.relative_to(folder).as_posix()), place) for place in _below(folder)]
    else:
        read = list_table if kind == "table" else list_arrays
        listing = read(photos, listen=listen, needs_labels=False)
        found = [(entry.path, Path(entry.place)) for entry in listing.entries]
    if not found:
        raise DataError(f"{photos} holds no pictures ({', '.join(sorted(SUFFIXES)[:5])}, ...); give another folder")
    return found


def _kind(file: Path) -> str:
    name = file.name.lower()
    if name.endswith(ARCHIVE_SUFFIXES):
        return "archive"
    suffix = os.path.splitext(name)[1]
    return "table" if suffix in TABLE_SUFFIXES else "arrays" if suffix == ".npz" else ""


def _list_archive(archive: Path, *, listen: Listener) -> Listing:
    found = unpack_archive(archive, listen=listen)
    root = _unwrapped(found.folder)
    listing = _inside(root, name=str(archive), listen=listen)
    return replace(listing, ignored=tuple(sorted({*listing.ignored, *found.facts["ignored"]})))


def _inside(root: Path, *, name: str, listen: Listener) -> Listing:
    """The listing of an unpacked folder: by its one table where it has no class folders, else by the folders."""
    tables = _tables(root)
    if len(tables) == 1 and not _has_classes(root):
        return list_table(tables[0], listen=listen, name=f"{tables[0].name} in {name}", within=root)
    for table in tables:
        listen(Warned(text=f"{name} holds {table.name}, which is not read; unpack it and give the table to use that"))
    return list_folder(root, name=name)


def _has_classes(root: Path) -> bool:
    try:
        return len({entry.label for entry in list_folder(root).entries}) > 1
    except DataError:
        return False


def _tables(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in TABLE_SUFFIXES and file.is_file())


def _unwrapped(folder: Path) -> Path:
    """The folder inside, where an archive holds nothing but one folder of folders, or one with a table."""
    for _ in range(_MAX_WRAPPERS):
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            break
        if not any(entry.is_dir() for entry in inside[0].iterdir()) and not _tables(inside[0]):
            break
        folder = inside[0]
    return folder


def _below(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith((".", "__MACOSX"))]
        found += [Path(place, n) for n in names if Path(n).suffix.lower() in SUFFIXES and not n.startswith(".")]
    return sorted(found)
