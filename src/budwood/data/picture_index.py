"""The index of the picture store: which files were read, what was found, and where each picture's bytes lie.

Rows of fixed size, so that 100,000 files load in a fraction of a second. A loaded index is either exactly what was
written or None: `store.PictureStore` then begins anew. It never repairs by guessing.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budwood.data.facts import FACTS, Rows, stored_sizes
from budwood.data.planes import PLANE_SIDE
from budwood.files import sha256_bytes, write_bytes

DATA_NAME, PLANES_NAME, INDEX_NAME = "pixels.u8", "planes.u8", "index.bin"
VERSION = 4
PLANE_BYTES = PLANE_SIDE * PLANE_SIDE

_PLACE = struct.Struct("<32s Q 4I Q Q")
_SIZES = ("rows", "columns", "height", "width")
_PLACES = np.dtype(
    [
        ("digest", "V32"),
        ("offset", "<u8"),
        *((name, "<u4") for name in _SIZES),
        ("checksum", "<u8"),
        ("plane_sum", "<u8"),
    ]
)


class Place(NamedTuple):
    """Where one stored picture lies.

    ``rows`` and ``columns`` are its size, ``height`` and ``width`` the size before it was reduced. ``checksum`` is
    the beginning of its digest, ``plane_sum`` the sum of its plane's bytes, taken as 64-bit numbers.
    """

    digest: bytes
    offset: int
    rows: int
    columns: int
    height: int
    width: int
    checksum: int
    plane_sum: int

    @property
    def end(self) -> int:
        """The offset just behind the picture."""
        return self.offset + self.rows * self.columns * 3


@dataclass
class Pictures:
    """The stored pictures, numbered in the order in which they came; a plane's place follows from the number."""

    packed: bytearray = field(default_factory=bytearray)

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        size = _PLACE.size
        digests = (bytes(self.packed[at : at + 32]) for at in range(0, len(self.packed), size))
        return {digest: number for number, digest in enumerate(digests) if any(digest)}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def count(self) -> int:
        """How many there ever were: dropped ones keep their numbers."""
        return len(self.packed) // _PLACE.size

    def number(self, digest: bytes) -> int | None:
        """The number of a picture, or None."""
        return self._numbers.get(digest)

    def place(self, number: int) -> Place:
        """Where the picture of that number lies."""
        return Place(*_PLACE.unpack_from(self.packed, number * _PLACE.size))

    def plane_sums(self) -> NDArray[np.uint64]:
        """The sums of all planes, ``[count]``."""
        sums: NDArray[np.uint64] = self.array()["plane_sum"]
        return sums

    def array(self) -> NDArray[Any]:
        """A copy of all places."""
        return np.frombuffer(bytes(self.packed), _PLACES)

    def add(self, rows: Rows, *, offset: int, plane_sums: NDArray[np.uint64]) -> int:
        """Append the pictures of these facts, which lie one after another from ``offset``; returns where they end."""
        sizes = stored_sizes(rows)
        places = np.zeros(len(rows), _PLACES)
        places["digest"] = rows["pixel_digest"]
        places["offset"] = offset + np.cumsum(sizes) - sizes
        places["plane_sum"] = plane_sums
        for name in (*_SIZES, "checksum"):
            places[name] = rows[name]
        self._numbers.update(zip(rows["pixel_digest"].tolist(), range(self.count, self.count + len(rows)), strict=True))
        self.packed += places.tobytes()
        return offset + int(sizes.sum())

    def drop(self, digest: bytes) -> None:
        """Forget a picture whose bytes are damaged."""
        number = self._numbers.pop(digest, None)
        if number is not None:
            self.packed[number * _PLACE.size : number * _PLACE.size + 32] = bytes(32)


@dataclass
class Files:
    """The files of one root: their paths, their rows of facts, and why those are unreadable that are."""

    paths: list[str] = field(default_factory=list)
    packed: bytearray = field(default_factory=bytearray)
    reasons: dict[str, str] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Path -> number of its row."""
        return dict(zip(self.paths, range(len(self.paths)), strict=True))

    def rows(self) -> Rows:
        """A copy of all rows."""
        return np.frombuffer(bytes(self.packed), FACTS)

    def put(self, paths: list[str], rows: Rows, reasons: dict[str, str]) -> None:
        """Add files, or replace what is known of them."""
        packed, size = rows.tobytes(), FACTS.itemsize
        if len(fresh := set(paths)) == len(paths) and self.numbers.keys().isdisjoint(fresh):
            # Mostly so, and one by one they would take long.
            self.numbers.update(zip(paths, range(len(self.paths), len(self.paths) + len(paths)), strict=True))
            self.paths += paths
            self.packed += packed
            self.reasons |= reasons
            return
        for at, path in enumerate(paths):
            number = self.numbers.setdefault(path, len(self.paths))
            if number == len(self.paths):
                self.paths.append(path)
            self.packed[number * size : (number + 1) * size] = packed[at * size : (at + 1) * size]
            self.reasons.pop(path, None)
        self.reasons |= reasons

    def forget(self, digest: bytes) -> None:
        """Let every file with this picture count as changed."""
        rows = np.frombuffer(self.packed, FACTS)
        rows["size"][rows["pixel_digest"] == np.void(digest)] = -1

    def without(self, paths: set[str]) -> Files:
        """All but the files of these paths."""
        kept = [path not in paths for path in self.paths]
        rows = self.rows()[np.array(kept, bool)]
        return Files(
            paths=[path for path in self.paths if path not in paths],
            packed=bytearray(rows.tobytes()),
            reasons={path: reason for path, reason in self.reasons.items() if path not in paths},
        )


@dataclass
class PictureIndex:
    """``pictures``; ``files``: root -> its files; ``end``: of the data file, in bytes."""

    end: int = 0
    pictures: Pictures = field(default_factory=Pictures)
    files: dict[str, Files] = field(default_factory=dict)

    def forget(self, digest: bytes) -> None:
        """Forget a picture whose bytes are damaged; its files are read again."""
        self.pictures.drop(digest)
        for files in self.files.values():
            files.forget(digest)


def save_index(folder: Path, index: PictureIndex, *, side: int, reader: str) -> None:
    """Replace the index file as a whole. ``reader``: what decoded the pictures, with its version."""
    parts = [bytes(index.pictures.packed)]
    roots = []
    for root, files in index.files.items():
        names = json.dumps([files.paths, files.reasons]).encode()
        parts += [bytes(files.packed), names]
        roots.append([root, len(files.packed), len(names)])
    body = b"".join(parts)
    head = {"version": VERSION, "side": side, "end": index.end, "reader": reader, "roots": roots}
    head |= {"pictures": len(parts[0]), "sha256": sha256_bytes(body)}
    write_bytes(folder / INDEX_NAME, json.dumps(head).encode() + b"\n" + body)


def load_index(folder: Path, *, side: int, reader: str) -> PictureIndex | None:
    """The index, or None when it is missing, damaged, of another side, or names bytes that are not there.

    Files that another ``reader`` could not read are left out, so that they are tried again.
    """
    try:
        line, _, body = (folder / INDEX_NAME).read_bytes().partition(b"\n")
        head: dict[str, Any] = json.loads(line)
        if head["version"] != VERSION or head["side"] != side or head["sha256"] != sha256_bytes(body):
            return None
        at = head["pictures"]
        index = PictureIndex(end=head["end"], pictures=Pictures(bytearray(body[:at])))
        for root, num_rows, num_names in head["roots"]:
            paths, reasons = json.loads(body[at + num_rows : at + num_rows + num_names])
            index.files[root] = Files(paths, bytearray(body[at : at + num_rows]), reasons)
            at += num_rows + num_names
        sound = at == len(body) and _fits(index, folder)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    if sound and head["reader"] != reader:
        index.files = {root: files.without(set(files.reasons)) for root, files in index.files.items()}
    return index if sound else None


def _fits(index: PictureIndex, folder: Path) -> bool:
    """Whether every picture lies inside the data files, and every row belongs to one path."""
    places = index.pictures.array()
    sizes = places["rows"].astype(np.float64) * places["columns"] * 3
    inside = ((sizes > 0) & (places["offset"] + sizes <= index.end)).all()
    tables = all(len(f.packed) == len(f.paths) * FACTS.itemsize for f in index.files.values())
    data, planes = folder / DATA_NAME, folder / PLANES_NAME
    if not places.size:
        return bool(tables)
    enough = data.stat().st_size >= index.end and planes.stat().st_size >= index.pictures.count * PLANE_BYTES
    return bool(inside and tables and enough)
