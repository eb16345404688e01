"""The pictures at a network's size, as one array in memory or in a cache file: what the training loop reads.

A cache file is used again only for equal pictures, an equal `Preprocess` and unchanged bytes. The decode-once
store behind it lives in `store.py`. Nothing here is random, and nothing augments.
"""

from __future__ import annotations

import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog
from budwood.data.store import PictureStore, pixel_digest
from budwood.errors import DataError, IntegrityError, OutputError, UsageError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.files import read_json, sweep_leftovers, sync_folder, temporary_beside, write_json

__all__ = ["PictureStore", "pixel_digest", "working_pixels"]

WORKERS = 2
CHUNK = 64  # pictures between two progress events


def working_pixels(
    store: PictureStore,
    catalog: Catalog,
    preprocess: Preprocess,
    *,
    file: Path | None,
    listen: Listener = silent,
) -> NDArray[np.uint8]:
    """Every picture of ``catalog`` at the network's size, in order: ``[N, S, S, 3]`` uint8.

    Args:
        store: its side must be ``preprocess.store_side``.
        catalog: readable records only.
        preprocess: gives the size.
        file: where to keep them (reused by a later call with equal pictures and preprocess); None: in memory.
        listen: hears of the step ``pixels``.

    Raises:
        UsageError: the store was reduced to another side than ``preprocess`` states, so serving would differ.
        DataError: a record is not readable, or its file was changed since the scan.
        OutputError: ``file`` cannot be written.
    """
    if store.side != preprocess.store_side:
        raise UsageError(
            f"the picture store has side {store.side}, preprocess {preprocess.store_side}; make them equal"
        )
    unusable = [record.path for record in catalog.records if record.state != "ok"]
    if unusable:
        raise DataError(f"{unusable[0]} is not a usable picture; leave such records out (catalog.usable())")
    shape = (len(catalog), preprocess.size, preprocess.size, 3)
    if file is None or not len(catalog):
        pixels: NDArray[np.uint8] = np.empty(shape, np.uint8)
        _fill(pixels, store, catalog, preprocess, listen=listen)
        return pixels
    facts = {"fingerprint": catalog.fingerprint, "preprocess": _as_json(preprocess)}
    kept = _kept(file, facts, shape)
    if kept is not None:
        return kept
    try:
        return _make(file, facts, store, catalog, preprocess, listen=listen)
    except OSError as error:
        raise OutputError(f"cannot write {file} ({error.strerror or error}); free some space") from error


def _fill(
    pixels: NDArray[np.uint8],
    store: PictureStore,
    catalog: Catalog,
    preprocess: Preprocess,
    *,
    listen: Listener,
) -> None:
    started = time.monotonic()
    listen(StepStarted(step="pixels", total=len(catalog)))

    def fill(index: int) -> None:
        pixels[index] = preprocess.pixels(store.fetch(catalog, catalog.records[index]))

    with ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(catalog), CHUNK):
            chunk = range(start, min(start + CHUNK, len(catalog)))
            for _ in pool.map(fill, chunk):
                pass
            listen(StepAdvanced(step="pixels", count=len(chunk)))
    listen(StepFinished(step="pixels", seconds=time.monotonic() - started))


def _make(
    file: Path,
    facts: dict[str, Any],
    store: PictureStore,
    catalog: Catalog,
    preprocess: Preprocess,
    *,
    listen: Listener,
) -> NDArray[np.uint8]:
    """Write the pixels beside ``file``, rename them onto it, then say in the sidecar what they are."""
    shape = (len(catalog), preprocess.size, preprocess.size, 3)
    file.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(file.parent)
    handle, name = temporary_beside(file)
    try:
        # Real blocks, not a hole: on a full disk a write into a mapped hole would kill the process (SIGBUS).
        _reserve(handle, int(np.prod(shape)))
        os.close(handle)
        pixels: np.memmap[Any, np.dtype[np.uint8]] = np.memmap(name, np.uint8, "r+", shape=shape)
        _fill(pixels, store, catalog, preprocess, listen=listen)
        pixels.flush()
        checksum = _checksum(pixels)
        _sidecar(file).unlink(missing_ok=True)
        os.chmod(name, 0o644)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(file.parent)
    write_json(_sidecar(file), {**facts, "crc32": checksum})
    return np.memmap(file, np.uint8, "r", shape=shape)


def _kept(file: Path, facts: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    try:
        said = read_json(_sidecar(file))
        size = file.stat().st_size
    except (IntegrityError, OSError):
        return None
    if not isinstance(said, dict) or {**facts, "crc32": said.get("crc32")} != said or size != np.prod(shape):
        return None
    pixels: np.memmap[Any, np.dtype[np.uint8]] = np.memmap(file, np.uint8, "r", shape=shape)
    return pixels if _checksum(pixels) == said["crc32"] else None


def _reserve(handle: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, num_bytes)
    else:
        os.truncate(handle, num_bytes)


def _checksum(pixels: NDArray[np.uint8]) -> int:
    value = 0
    for start in range(0, len(pixels), CHUNK):
        value = zlib.crc32(np.ascontiguousarray(pixels[start : start + CHUNK]).data, value)
    return value


def _sidecar(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def _as_json(preprocess: Preprocess) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in preprocess.to_dict().items()}
