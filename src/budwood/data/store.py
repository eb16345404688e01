"""The decode-once store: pictures are decoded in the scan, reduced, and kept as raw bytes for later steps.

``pixels.u8`` and ``planes.u8`` only grow (`store_files.py`); ``index.bin`` is replaced as a whole. A store that does
not fit its index is begun anew. Pictures are checked against their digest whenever they are read and planes against a
sum; so the data need not be synced to the disk. Pictures of deleted files stay until the cache folder is cleared.
Nothing here is random, and nothing augments.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.data.fact_row import PACKED, Facts
from budwood.data.facts import FACTS, Rows, stored_sizes
from budwood.data.picture_index import (
    DATA_NAME,
    INDEX_NAME,
    PLANE_BYTES,
    PLANES_NAME,
    Files,
    PictureIndex,
    Place,
    load_index,
    save_index,
)
from budwood.data.planes import PLANE_SIDE, look_digest, luma_plane, pixel_digest
from budwood.data.preprocess import reduce_to
from budwood.data.records import Catalog, ImageRecord
from budwood.data.store_files import StoreFiles
from budwood.errors import DataError, IntegrityError
from budwood.files import escape_name, unescape_name

__all__ = ["Found", "PictureStore", "pixel_digest"]

LOCK_NAME = "lock"
FLUSH_SECONDS = 10.0  # a killed scan loses at most this much work, or 20 times what a flush takes


class Found(NamedTuple):
    """What a scan found out about some files: their paths, their facts, and why those are unreadable that are.

    ``rows``: ``[N]`` of dtype FACTS. ``pictures`` and ``planes``: the bytes of the reduced pictures and of their
    planes, of readable files only, one after another, in pieces that hold whole ones.
    """

    paths: list[str]
    rows: Rows
    reasons: dict[str, str]
    pictures: list[memoryview]
    planes: list[memoryview]


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
        self._guard = threading.RLock()
        self._files = StoreFiles(folder, guard=self._guard)
        self._reader = f"Pillow {PIL.__version__} {bool(importlib.util.find_spec('pillow_heif'))}"
        self._lock = FileLock(folder / LOCK_NAME)
        self._seen = self._files.identity()
        self._index = load_index(folder, side=side, reader=self._reader) or PictureIndex()
        self._damaged: set[bytes] = set()
        self._depth = 0
        self._changed = False
        self._flush_at = 0.0

    def __len__(self) -> int:
        return len(self._index.pictures)

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and self._number(digest) is not None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for adding: one process and thread at a time; flushed at the end."""
        with self._guard:
            if self._depth:
                yield
                return
            with self._files.disk():
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

    def known(self, root: Path, paths: Sequence[str]) -> tuple[Rows, NDArray[np.bool_], dict[int, str]]:
        """What is known of the files of ``root``.

        Returns:
            Facts ``[N]``, with zeros for files that are not known; which are known; reasons by position. Whether the
            files are still the ones that were read is for the caller to compare (size, mtime, ctime).
        """
        files = self._index.files.get(_root_key(root), Files())
        if files.paths == paths:
            rows, found = files.rows(), np.ones(len(paths), bool)
        else:
            numbers = np.array([files.numbers.get(path, -1) for path in paths], np.intp)
            found = numbers >= 0
            rows = np.zeros(len(paths), FACTS)
            rows[found] = files.rows()[numbers[found]]
        where = {path: i for i, path in enumerate(paths)} if files.reasons else {}
        reasons = {where[path]: reason for path, reason in files.reasons.items() if path in where}
        return rows, found, reasons

    def remember(self, root: Path, found: Found) -> None:
        """Keep what a scan of ``root`` found, inside `writing`."""
        self._index.files.setdefault(_root_key(root), Files()).put(found.paths, found.rows, found.reasons)
        self._append(found.rows[found.rows["readable"] == 1], found.pictures, found.planes)
        self._changed = True
        if time.monotonic() > self._flush_at:
            self._flush()

    def retain(self, root: Path, paths: Iterable[str]) -> None:
        """Forget the files of ``root`` that are not in ``paths``, inside `writing`."""
        key = _root_key(root)
        files = self._index.files.setdefault(key, Files())
        if files.paths != (kept := list(paths)) and (gone := set(files.paths).difference(kept)):
            self._index.files[key] = files.without(gone)
            self._changed = True

    def read(self, digest: str) -> NDArray[np.uint8]:
        """The stored picture ``[h, w, 3]`` uint8: a read-only view of the file, so that many need no memory.

        Raises:
            IntegrityError: it is not stored, or its bytes were changed (it is then forgotten).
        """
        number = self._number(digest)
        if number is None:
            raise IntegrityError(f"the picture {digest[:12]} is not in {self.folder}; scan the folder again")
        place = self._index.pictures.place(number)
        flat = self._files.mapped(DATA_NAME, place.end)[place.offset : place.end]
        if len(flat) != place.end - place.offset or _checksum(flat.data, place) != place.checksum:
            self._forget(place.digest)
            raise IntegrityError(f"the picture {digest[:12]} in {self.folder} was changed; scan the folder again")
        return flat.reshape(place.rows, place.columns, 3)

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
        image = np.ascontiguousarray(reduce_to(decoded, self.side))
        digest = bytes.fromhex(record.pixel_digest)
        if digest in self._damaged:
            height, width = decoded.shape[:2]
            check = int.from_bytes(look_digest(image.data, height=height, width=width)[:8], "little")
            sizes = {"height": height, "width": width, "rows": image.shape[0], "columns": image.shape[1]}
            facts = Facts(1, pixel_digest=digest, checksum=check, **sizes)
            with self.writing():
                rows = np.frombuffer(PACKED.pack(*facts), FACTS)
                self._append(rows, [image.data.cast("B")], [luma_plane(image).data.cast("B")])
                self._changed = True
        return image

    def plane(self, catalog: Catalog, record: ImageRecord) -> NDArray[np.uint8]:
        """The luma plane ``[64, 64]`` of a picture, see `planes.luma_plane`; raises as `fetch` does."""
        plane: NDArray[np.uint8] = self.planes(catalog, [record])[0]
        return plane

    def planes(self, catalog: Catalog, records: Sequence[ImageRecord]) -> NDArray[np.uint8]:
        """The luma planes of readable records, ``[N, 64, 64]`` uint8.

        Each is checked against a sum, which notices bytes that were lost or changed, though not words that changed
        places. What is missing or damaged is made again; raises as `fetch` does.
        """
        found = [self._number(record.pixel_digest) for record in records]
        numbers = np.array([-1 if number is None else number for number in found], np.intp)
        flat = self._files.mapped(PLANES_NAME, self._index.pictures.count * PLANE_BYTES)
        stored = flat[: len(flat) // PLANE_BYTES * PLANE_BYTES].reshape(-1, PLANE_BYTES)
        there = (numbers >= 0) & (numbers < len(stored))
        if there.all():
            planes: NDArray[np.uint8] = stored[numbers]
        else:
            planes = np.zeros((len(records), PLANE_BYTES), np.uint8)
            planes[there] = stored[numbers[there]]
        sums = np.zeros(len(records), np.uint64)
        sums[there] = self._index.pictures.plane_sums()[numbers[there]]
        for i in np.flatnonzero(~there | (_plane_sums(planes) != sums)).tolist():
            planes[i] = luma_plane(self.fetch(catalog, records[i])).ravel()
        return planes.reshape(-1, PLANE_SIDE, PLANE_SIDE)

    def _number(self, digest: str) -> int | None:
        return self._index.pictures.number(bytes.fromhex(digest))

    def _append(self, rows: Rows, pictures: list[memoryview], planes: list[memoryview]) -> None:
        """Write the pictures of these rows that are not stored yet, and their planes, then name them in the index."""
        known = self._index.pictures
        first = {digest: i for i, digest in reversed(list(enumerate(rows["pixel_digest"].tolist())))}
        fresh = sorted(i for digest, i in first.items() if known.number(digest) is None)
        if not fresh:
            return
        if len(fresh) < len(rows):
            pictures = _parts(pictures, stored_sizes(rows), fresh)
            planes = _parts(planes, np.full(len(rows), PLANE_BYTES), fresh)
            rows = rows[fresh]
        sums = np.concatenate(
            [_plane_sums(np.frombuffer(piece, np.uint8).reshape(-1, PLANE_BYTES)) for piece in planes]
        )
        # Not at the files' ends: an earlier write may have stopped half-way.
        self._files.write(DATA_NAME, self._index.end, pictures)
        self._files.write(PLANES_NAME, known.count * PLANE_BYTES, planes)
        self._index.end = known.add(rows, offset=self._index.end, plane_sums=sums)
        self._damaged.difference_update(rows["pixel_digest"].tolist())

    def _forget(self, digest: bytes) -> None:
        self._damaged.add(digest)
        self._changed = True
        self._index.forget(digest)

    def _sizes(self) -> dict[str, int]:
        return {DATA_NAME: self._index.end, PLANES_NAME: self._index.pictures.count * PLANE_BYTES}

    def _reload(self) -> None:
        """Take over what another process added; begin anew when data and index do not fit each other."""
        index: PictureIndex | None = self._index
        seen = self._files.identity()
        if seen is None or seen != self._seen or not self._files.hold(self._sizes()):
            index = load_index(self.folder, side=self.side, reader=self._reader)
            self._files.let_go()
        with self._files.disk():
            if index is None:
                self._files.remove(INDEX_NAME, DATA_NAME, PLANES_NAME)
                index, self._changed = PictureIndex(), True
            self._index = index
            for digest in self._damaged:
                index.forget(digest)
            self._files.fit_to(self._sizes())
        self._flush_at = time.monotonic() + FLUSH_SECONDS

    def _flush(self) -> None:
        if not self._changed:
            return
        began = time.monotonic()
        with self._files.disk():
            save_index(self.folder, self._index, side=self.side, reader=self._reader)
        self._seen, self._changed = self._files.identity(), False
        ended = time.monotonic()
        self._flush_at = ended + max(FLUSH_SECONDS, 20 * (ended - began))


def _parts(pieces: list[memoryview], sizes: NDArray[np.int64], chosen: list[int]) -> list[memoryview]:
    """The chosen ones of what lies in ``pieces`` one after another in those sizes."""
    data, ends = memoryview(b"".join(pieces)), np.cumsum(sizes).tolist()
    return [data[ends[i] - size : ends[i]] for i, size in zip(chosen, sizes[chosen].tolist(), strict=True)]


def _checksum(picture: memoryview, place: Place) -> int:
    return int.from_bytes(look_digest(picture, height=place.height, width=place.width)[:8], "little")


def _plane_sums(planes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    sums: NDArray[np.uint64] = planes.view(np.uint64).sum(axis=1, dtype=np.uint64)
    return sums


def _root_key(root: Path) -> str:
    return escape_name(str(root.resolve()))
