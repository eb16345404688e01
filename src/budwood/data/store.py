"""The decode-once store: pictures are decoded in the scan, reduced, and kept as raw bytes for later steps.

``pixels.u8`` only grows; ``index.json`` is replaced as a whole and names only bytes that reached the disk.
A store that does not fit its index is begun anew, and every read is checked against a CRC-32. Pictures of
deleted files stay until the cache folder is cleared. Nothing here is random, and nothing augments.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.data.picture_index import (
    DATA_NAME,
    INDEX_NAME,
    PictureIndex,
    Place,
    Stamp,
    load_index,
    save_index,
)
from budwood.data.planes import luma_plane
from budwood.data.preprocess import reduce_to
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import DataError, IntegrityError, OutputError
from budwood.files import escape_name, sha256_bytes, unescape_name

LOCK_NAME = "lock"
FLUSH_SECONDS = 10.0  # a killed scan loses at most this much work


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """The SHA-256 over shape and all RGB bytes of a decoded picture ``[H, W, 3]``, before any reduction."""
    return sha256_bytes(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes())


class PictureStore:
    """Decoded pictures, shorter side at most ``side``, in ``folder``, a cache that may be deleted."""

    def __init__(self, folder: str | Path, *, side: int) -> None:
        """Open or create the store.

        Raises:
            OutputError: the folder cannot be created.
        """
        folder = Path(folder)
        self.folder = folder
        self.side = side
        with self._disk():
            folder.mkdir(parents=True, exist_ok=True)
        self._guard = threading.RLock()
        self._lock = FileLock(folder / LOCK_NAME)
        self._index = load_index(folder, side=side) or PictureIndex()
        self._map: NDArray[np.uint8] | None = None
        self._damaged: set[str] = set()
        self._depth = 0
        self._end = self._index.end
        self._flushed_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._index.pictures)

    def __contains__(self, digest: object) -> bool:
        return digest in self._index.pictures

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for adding: one process and thread at a time; flushed at the end."""
        with self._guard:
            if self._depth:
                yield
                return
            with self._disk():
                self._lock.acquire()
            self._depth += 1
            try:
                self._reload()
                try:
                    yield
                finally:
                    self._flush()
            finally:
                self._depth -= 1
                self._lock.release()

    def known(self, root: Path, path: str, stamp: Stamp) -> ImageRecord | None:
        """The record of an unchanged file whose picture is stored, else None."""
        found = self._index.files.get(_root_key(root), {}).get(path)
        if found is None or found[0] != stamp:
            return None
        record = found[1]
        return record if record.state != "ok" or record.pixel_digest in self else None

    def remember(self, root: Path, record: ImageRecord, *, stamp: Stamp, image: NDArray[np.uint8] | None) -> None:
        """Keep what a scan found, inside `writing`; ``image`` is the decoded picture of a readable record."""
        if image is not None:
            self._append(record.pixel_digest, reduce_to(image, self.side))
        self._index.files.setdefault(_root_key(root), {})[record.path] = (stamp, record)
        if time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self._flush()

    def retain(self, root: Path, paths: Iterable[str]) -> None:
        """Forget the files of ``root`` that are not in ``paths``, inside `writing`."""
        files = self._index.files.setdefault(_root_key(root), {})
        for path in files.keys() - set(paths):
            del files[path]

    def read(self, digest: str) -> NDArray[np.uint8]:
        """The stored picture ``[h, w, 3]`` uint8: a read-only view of the file, so that many need no memory.

        Raises:
            IntegrityError: it is not stored, or its bytes were changed (it is then forgotten).
        """
        place = self._index.pictures.get(digest)
        if place is None:
            raise IntegrityError(f"the picture {digest[:12]} is not in {self.folder}; scan the folder again")
        flat = self._mapped(place.end)[place.offset : place.end]
        if len(flat) != place.end - place.offset or zlib.crc32(flat.data) != place.checksum:
            self._damaged.add(digest)
            self._index.pictures.pop(digest, None)
            raise IntegrityError(f"the picture {digest[:12]} in {self.folder} was changed; scan the folder again")
        return flat.reshape(place.height, place.width, 3)

    def fetch(self, catalog: Catalog, record: ImageRecord) -> NDArray[np.uint8]:
        """`read`, but a picture that is missing or damaged in the store is decoded again from its file.

        Raises:
            DataError: the file is no longer the picture that was scanned.
        """
        with contextlib.suppress(IntegrityError):
            return self.read(record.pixel_digest)
        decoded = decode_file(catalog.root / unescape_name(record.path)).image
        if pixel_digest(decoded) != record.pixel_digest:
            raise DataError(f"{record.path} was changed since the scan; run the command again")
        image = reduce_to(decoded, self.side)
        if record.pixel_digest in self._damaged:
            with self.writing():
                self._append(record.pixel_digest, image)
        return image

    def plane(self, catalog: Catalog, record: ImageRecord) -> NDArray[np.uint8]:
        """The luma plane ``[64, 64]`` of a picture, see `planes.luma_plane`; raises as `fetch` does."""
        return luma_plane(self.fetch(catalog, record))

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write the picture cache {self.folder} ({reason}); free some space") from error

    def _mapped(self, end: int) -> NDArray[np.uint8]:
        with self._guard:
            if self._map is None or len(self._map) < end:
                try:
                    self._map = np.asarray(np.memmap(self.folder / DATA_NAME, np.uint8, "r"))
                except (OSError, ValueError):
                    return np.empty(0, np.uint8)  # deleted or emptied under us: the caller sees too few bytes
            return self._map

    def _append(self, digest: str, image: NDArray[np.uint8]) -> None:
        if digest in self._index.pictures:
            return
        data = np.ascontiguousarray(image).tobytes()
        with self._disk(), (self.folder / DATA_NAME).open("r+b") as file:
            file.seek(self._end)  # not the file's end: an earlier write may have stopped half-way
            file.write(data)
        self._index.pictures[digest] = Place(self._end, image.shape[0], image.shape[1], zlib.crc32(data))
        self._end += len(data)
        self._damaged.discard(digest)

    def _reload(self) -> None:
        """Take over what another process added; begin anew when data and index do not fit each other."""
        path = self.folder / DATA_NAME
        index = load_index(self.folder, side=self.side)
        self._map = None
        with self._disk():
            if index is None:
                # Removed, not emptied: a process that still maps the old file keeps its pages.
                (self.folder / INDEX_NAME).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                index = PictureIndex()
            path.touch()
            os.truncate(path, index.end)  # what a killed scan left behind; no index names it
        for digest in self._damaged:
            index.pictures.pop(digest, None)
        self._index, self._end, self._flushed_at = index, index.end, time.monotonic()

    def _flush(self) -> None:
        with self._disk():
            with (self.folder / DATA_NAME).open("r+b") as file:
                os.fsync(file.fileno())
            self._index.end = self._end
            save_index(self.folder, self._index, side=self.side)
        self._flushed_at = time.monotonic()


def _root_key(root: Path) -> str:
    return escape_name(str(root.resolve()))
