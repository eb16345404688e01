"""The index of the picture store: which files were read, and where each picture's bytes lie.

A loaded index is either sound or None: `pixels.PictureStore` then begins anew. It never repairs by guessing.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from budwood.data.records import ImageRecord
from budwood.errors import IntegrityError
from budwood.files import read_json, write_json

DATA_NAME, INDEX_NAME = "pixels.u8", "index.json"
VERSION = 2


class Stamp(NamedTuple):
    """Tells that a file is still the one that was read; the ctime catches copies that keep the mtime."""

    num_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of the file at ``path`` now."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Place(NamedTuple):
    """Where one picture lies in the data file, and the CRC-32 of its bytes."""

    offset: int
    height: int
    width: int
    checksum: int

    @property
    def end(self) -> int:
        """The offset just behind the picture."""
        return self.offset + self.height * self.width * 3


@dataclass(slots=True)
class PictureIndex:
    """``pictures``: pixel digest -> place; ``files``: root -> path -> (stamp, record); ``end``: in bytes."""

    end: int = 0
    pictures: dict[str, Place] = field(default_factory=dict)
    files: dict[str, dict[str, tuple[Stamp, ImageRecord]]] = field(default_factory=dict)


def save_index(folder: Path, index: PictureIndex, *, side: int) -> None:
    """Replace the index file as a whole."""
    files = {
        root: {path: [list(stamp), asdict(record)] for path, (stamp, record) in known.items()}
        for root, known in index.files.items()
    }
    pictures = {digest: list(place) for digest, place in index.pictures.items()}
    write_json(
        folder / INDEX_NAME,
        {"version": VERSION, "side": side, "end": index.end, "pictures": pictures, "files": files},
    )


def load_index(folder: Path, *, side: int) -> PictureIndex | None:
    """The index, or None when it is missing, damaged, of another side, or names bytes that are not there."""
    try:
        values: dict[str, Any] = read_json(folder / INDEX_NAME)
        if values["version"] != VERSION or values["side"] != side:
            return None
        pictures = {digest: Place(*map(int, place)) for digest, place in values["pictures"].items()}
        files = {
            root: {path: (Stamp(*stamp), ImageRecord(**record)) for path, (stamp, record) in known.items()}
            for root, known in values["files"].items()
        }
        end = int(values["end"])
        data = folder / DATA_NAME
        size = data.stat().st_size if data.exists() else 0
    except (IntegrityError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    fits = all(place.offset >= 0 and place.height > 0 and place.width > 0 for place in pictures.values())
    inside = all(place.end <= end for place in pictures.values())
    return PictureIndex(end=end, pictures=pictures, files=files) if fits and inside and size >= end else None
