"""The user's cache folder: what may be deleted at any time and is only worth the time to make it again.

``BUDWOOD_CACHE`` moves it, ``BUDWOOD_CACHE_GB`` sets its size (10 unless set); the least recently used goes first.
Unpacked inputs are read for as long as a run lasts, so they stay for a day after they were opened.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from budwood.errors import UsageError
from budwood.files import ensure_writable, sha256_bytes, sweep_leftovers, sweep_scratch

_DEFAULT_GIGABYTES = 10.0
_KINDS = ("pictures", "features", "boundaries", "pixels", "inputs")
_INPUTS_STAY_SECONDS = 24 * 3600.0


def cache_folder() -> Path:
    """The root of the cache, created.

    Raises:
        OutputError: it cannot be written.
    """
    chosen = os.environ.get("BUDWOOD_CACHE")
    folder = Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("budwood", appauthor=False))
    ensure_writable(folder)
    return folder


def pictures_folder(photos: Path, *, side: int) -> Path:
    """Where the decoded pictures of ``photos`` are kept, shorter side at most ``side``."""
    place = sha256_bytes(os.fsencode(photos.resolve()))[:24]
    return _used(cache_folder() / "pictures" / f"{place}-{side}")


def features_folder() -> Path:
    """Where frozen features are kept, one folder a backbone and preprocess."""
    return _used(cache_folder() / "features")


def boundaries_folder() -> Path:
    """Where activations at frozen borders are kept, one folder a set."""
    return _used(cache_folder() / "boundaries")


def pixels_file(key: str) -> Path:
    """The cache file for working pixels with this key."""
    return _used(cache_folder() / "pixels" / key[:32]) / "pixels.u8"


def input_folder(key: str) -> Path:
    """Where an archive or arrays with this key are unpacked; not created. Hold `input_lock` to look or write there."""
    return _used(cache_folder() / "inputs") / key[:32]


def input_lock(entry: Path) -> FileLock:
    """The lock of one unpacked input, held while it is made, opened or removed."""
    return FileLock(entry.parent / f"{entry.name}.lock")


def _used(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    return folder


def prune() -> int:
    """Remove least recently used entries until the cache fits its size; returns the bytes removed.

    What killed processes left half written goes too.
    """
    sweep_scratch()
    root = cache_folder()
    for place in {left.parent for left in root.rglob(".*.tmp")}:
        sweep_leftovers(place)
    allowed = limit()
    entries = [e for kind in _KINDS for e in (root / kind).glob("*") if e.is_dir()]
    sizes = {entry: _size(entry) for entry in entries}
    total, removed = sum(sizes.values()), 0
    for entry in sorted(entries, key=lambda e: e.stat().st_mtime):
        if total - removed <= allowed:
            break
        if entry.parent.name == "inputs":
            removed += sizes[entry] if _remove_input(entry) else 0
        else:
            shutil.rmtree(entry, ignore_errors=True)
            removed += sizes[entry]
    return removed


def _remove_input(entry: Path) -> bool:
    """Remove an unpacked input unless it is in use; renamed first, so that no one opens what is half removed."""
    lock = input_lock(entry)
    try:
        with lock.acquire(timeout=0):
            if time.time() - entry.stat().st_mtime < _INPUTS_STAY_SECONDS:
                return False
            gone = entry if entry.suffix == ".gone" else entry.with_name(f"{entry.name}.gone")
            entry.rename(gone)
    except (Timeout, OSError):
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def limit() -> float:
    """The size of the cache in bytes.

    Raises:
        UsageError: ``BUDWOOD_CACHE_GB`` is no number.
    """
    text = os.environ.get("BUDWOOD_CACHE_GB", str(_DEFAULT_GIGABYTES))
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not gigabytes >= 0:  # also catches nan
        raise UsageError(f'BUDWOOD_CACHE_GB is "{text}"; give a number of gigabytes, such as 10')
    return gigabytes * 1e9


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
