"""Where multiplied pictures go: ``part/class/name``, names that every scan finds again and no two files share.

Names come from other people's files and tables, so they are tamed here: nothing leads out of the folder, nothing is
hidden, nothing is too long. Class names are never changed; one that cannot be a folder is refused.
"""

from __future__ import annotations

import os
import unicodedata

from budwood.data.inputs.folders import JUNK, SUFFIXES
from budwood.data.records import ImageRecord
from budwood.errors import DataError
from budwood.files import sha256_bytes, unescape_name

_MAX_STEM_BYTES = 180  # file systems allow 255 bytes; the copy's number and the suffix come on top
_KEPT_STEM = 40


class CopyNames:
    """Hands out names, ``part/class/file`` with the system's separator, each once (also where case does not count)."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._tried: dict[tuple[str, str], int] = {}  # how often a stem was asked for: thousands may be alike

    def take(self, record: ImageRecord, *, part: str, num_copies: int) -> tuple[str, list[str]]:
        """The name of the picture itself, and of so many copies of it.

        Copies of a JPEG are JPEGs, all others PNGs: were rare classes alone compressed anew, that would give them away.

        Raises:
            DataError: its class cannot be a folder.
        """
        folder = os.path.join(part, folder_of(record.label))
        stem, suffix = os.path.splitext(unescape_name(record.path).rsplit("/", 1)[-1])
        if suffix.lower() not in SUFFIXES:
            stem, suffix = stem + suffix, f".{record.format.lower()}"
        stem = _tamed(stem)
        copied = ".jpg" if record.format == "JPEG" else ".png"
        while True:
            attempt = self._tried[folder, stem] = self._tried.get((folder, stem), 0) + 1
            base = stem if attempt == 1 else f"{stem}-{attempt}"
            names = [f"{base}{suffix}", *(f"{base}~{number}{copied}" for number in range(1, num_copies + 1))]
            keys = {(folder, _key(name)) for name in names}
            if not keys & self._taken:
                self._taken |= keys
                own, *copies = (os.path.join(folder, name) for name in names)
                return own, copies


def folder_of(label: str) -> str:
    """The folder of a class, whose name is the class's.

    Raises:
        DataError: a folder cannot be called so, or a scan would pass it over.
    """
    name = unescape_name(label)
    bad = not name.strip() or "/" in name or os.sep in name or "\0" in name or name.startswith(".")
    if bad or name.lower() in JUNK or len(os.fsencode(name)) > 255:
        raise DataError(
            f'the class "{label[:100]}" cannot be the name of a folder that is read again: rename the class (no "/", no'
            " point in front, at most 255 bytes)"
        )
    return name


def _tamed(stem: str) -> str:
    stem = stem.lstrip(".").replace("\0", "") or "picture"
    encoded = os.fsencode(stem)
    if len(encoded) > _MAX_STEM_BYTES:
        stem = f"{stem[:_KEPT_STEM]}-{sha256_bytes(encoded)[:16]}"
    return stem


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
