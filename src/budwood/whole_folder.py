"""`whole_folder`: a folder of many files that appears as a whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from budwood.errors import OutputError
from budwood.files import sync_folder


@contextmanager
def whole_folder(folder: Path, *, mark: str) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place when all is written; what a killed run left there is removed.

    Args:
        folder: new, or an empty folder.
        mark: name of a file in a folder that is being made, by which it is known as Budwood's; also its lock.

    Raises:
        OutputError: something else stands where the folder is made, another process makes it, or the disk is full.
    """
    place = folder.with_name(f".{folder.name}.partial")
    try:
        if place.exists() and not (place / mark).is_file() and any(place.iterdir()):
            raise OutputError(f"{place} is in the way, and Budwood did not make it; remove it, or choose another --out")
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / mark, timeout=0)
        with lock:
            for entry in place.iterdir():
                if entry.name != mark:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            try:
                yield place
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
            if hasattr(os, "sync"):
                os.sync()  # thousands of files: one call for all, before the name says that they are complete
        (place / mark).unlink(missing_ok=True)
        if folder.exists():
            folder.rmdir()  # empty; a rename onto a folder is refused by Windows
        place.rename(folder)
        sync_folder(folder.parent)
    except Timeout as error:
        raise OutputError(
            f"{folder} is being made by another Budwood process; wait, or choose another --out"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write {folder} ({error.strerror or error}); free some space, or choose another --out"
        ) from error
