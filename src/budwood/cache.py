"""The user's cache folder: what may be deleted at any time and is only worth the time to make it again.

``BUDWOOD_CACHE`` moves it, ``BUDWOOD_CACHE_GB`` sets its size (10 unless set); the least recently used goes first.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

from budwood.errors import UsageError
from budwood.files import ensure_writable, sha256_bytes

_DEFAULT_GIGABYTES = 10.0


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


def pixels_file(key: str) -> Path:
    """The cache file for working pixels with this key."""
    return _used(cache_folder() / "pixels" / key[:32]) / "pixels.u8"


def _used(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    return folder


def prune() -> int:
    """Remove least recently used entries until the cache fits its size; returns the bytes removed."""
    root = cache_folder()
    limit = _limit()
    entries = [e for kind in ("pictures", "features", "pixels") for e in (root / kind).glob("*") if e.is_dir()]
    sizes = {entry: _size(entry) for entry in entries}
    total, removed = sum(sizes.values()), 0
    for entry in sorted(entries, key=lambda e: e.stat().st_mtime):
        if total - removed <= limit:
            break
        shutil.rmtree(entry, ignore_errors=True)
        removed += sizes[entry]
    return removed


def _limit() -> float:
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
