"""Unpacked inputs in the cache: made once, complete or not there at all, found again while the source is unchanged.

An entry is filled in a folder of another name, gets its marker, and is renamed; a killed process leaves nothing that
is ever used. It does not know what is unpacked: `archives.py` and `arrays.py` bring the function that fills.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budwood.cache import input_folder, input_lock
from budwood.errors import IntegrityError, OutputError
from budwood.files import read_json, sha256_bytes, sync_folder, write_json

FILES_NAME = "files"
MARKER_NAME = "complete.json"
# Raised when what is unpacked changes its form: older entries are then not found any more.
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """``folder`` holds the files; ``facts`` are the plain JSON values that the filling function returned."""

    folder: Path
    facts: dict[str, Any]


def unpacked(source: Path, *, fill: Callable[[Path], dict[str, Any]]) -> Unpacked:
    """The unpacked form of the file ``source``, from the cache or made now.

    Args:
        source: an archive or the like; its place, size and times are the key.
        fill: writes files into the empty folder that it is given and returns facts about them.

    Raises:
        OutputError: the cache cannot be written. What ``fill`` raises is passed on, and nothing is kept.
    """
    entry = input_folder(_key(source))
    with input_lock(entry):
        for left in entry.parent.glob(f"{entry.name}.partial-*"):  # a killed process left it
            shutil.rmtree(left, ignore_errors=True)
        found = _complete(entry)
        if found is None:
            _make(entry, fill)
            found = _complete(entry)
        if found is None:
            raise OutputError(f"{entry} was changed while {source} was unpacked; run the command again")
        os.utime(entry)
    return found


def _key(source: Path) -> str:
    status = source.stat()
    times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return sha256_bytes(os.fsencode(source.resolve()) + f"\0{times} {_VERSION}".encode())


def _make(entry: Path, fill: Callable[[Path], dict[str, Any]]) -> None:
    shutil.rmtree(entry, ignore_errors=True)  # complete it is not
    partial = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f"{entry.name}.partial-"))
    try:
        (partial / FILES_NAME).mkdir()
        facts = fill(partial / FILES_NAME)
        num_files, num_bytes = _count(partial / FILES_NAME)
        write_json(partial / MARKER_NAME, {"files": num_files, "bytes": num_bytes, "facts": facts})
        os.rename(partial, entry)
        sync_folder(entry.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot unpack into the cache {entry.parent} ({reason}); free some space, or move it with BUDWOOD_CACHE"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _complete(entry: Path) -> Unpacked | None:
    """The entry, when all of its files are there in full: cleaners of caches take single files, crashes cut them."""
    try:
        marker = read_json(entry / MARKER_NAME)
        if [marker["files"], marker["bytes"]] != [*_count(entry / FILES_NAME)]:
            return None
        return Unpacked(folder=entry / FILES_NAME, facts=dict(marker["facts"]))
    except (IntegrityError, OSError, KeyError, TypeError, ValueError):
        return None


def _count(folder: Path) -> tuple[int, int]:
    """Number and bytes of the files below ``folder``."""
    files = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    return len(files), sum(os.lstat(file).st_size for file in files)
