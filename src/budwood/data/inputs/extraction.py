"""Writing an archive's members below one folder, and nowhere else, whatever their names and sizes say.

Bytes are counted as they are written, every file is created anew (nothing is ever overwritten or followed), and only
pictures and tables are written at all. It does not read archives: that is `archives.py`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from budwood.data.decode import MAX_FILE_BYTES
from budwood.data.inputs.folders import JUNK, SUFFIXES
from budwood.errors import DataError
from budwood.files import escape_name

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
MAX_ENTRIES = 200_000
MAX_TOTAL_BYTES = 20 * 10**9
# Pictures are compressed already; even flat drawings in a zip of BMPs stay below this.
MAX_RATIO = 200
_RATIO_COUNTS_FROM = 512 * 10**6
_MAX_DEPTH = 16
_MAX_NAME_BYTES, _MAX_PATH_BYTES = 255, 1000
_SHOWN = 200
_DRIVE = re.compile(r"^[A-Za-z]:")


class DamagedMember(Exception):
    """The bytes of one member cannot be read; the others may be sound. The text is the reason."""


@dataclass(slots=True, kw_only=True)
class Extraction:
    """The files written below ``target`` so far, and why others were not.

    ``archive_bytes`` is the size of the archive, against which what is written is measured.
    """

    target: Path
    archive_bytes: int
    num_files: int = 0
    num_damaged: int = 0
    ignored: list[str] = field(default_factory=list)
    _num_entries: int = 0
    _num_bytes: int = 0
    _folders: set[str] = field(default_factory=set)

    def take(self, name: str, *, kind: str, chunks: Iterable[bytes]) -> None:
        """Write one member, or note why not.

        Args:
            name: as the archive has it: hostile, ``/`` between folders.
            kind: "file", "folder", or the words for what else it is.
            chunks: its bytes; may raise `DamagedMember`.

        Raises:
            DataError: the archive as a whole goes beyond a limit; the text lacks its name.
        """
        self._count_entry()
        if kind == "folder":
            return
        parts, reason = _safe_parts(name)
        reason = reason or ("" if kind == "file" else f"{kind} is not unpacked") or _unwanted(parts)
        if not reason:
            reason = self._write("/".join(parts), chunks)
        if reason:
            self.ignored.append(f"{escape_name(name)[:_SHOWN]}: {reason}")

    def _count_entry(self) -> None:
        self._num_entries += 1
        if self._num_entries + len(self._folders) > MAX_ENTRIES:
            raise DataError(f"holds more than the {MAX_ENTRIES} entries allowed; unpack it yourself")

    def _write(self, name: str, chunks: Iterable[bytes]) -> str:
        """The reason why the file could not be written, or an empty text."""
        place = os.path.join(self.target, name)
        try:
            self._make_folder(os.path.dirname(name))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            handle = os.open(place, flags, 0o644)
        except (FileExistsError, NotADirectoryError):
            return "another entry of this name was unpacked before"
        except ValueError:
            return "no name that a file can have"
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise
            return "no name that a file can have here"
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in self._counted(chunks):
                    file.write(chunk)
        except DamagedMember as error:
            with suppress(FileNotFoundError):
                os.unlink(place)
            self.num_damaged += 1
            return str(error)
        self.num_files += 1
        return ""

    def _make_folder(self, name: str) -> None:
        if not name or name in self._folders:
            return
        self._make_folder(os.path.dirname(name))
        with suppress(FileExistsError):  # a file of this name is met by the next call, as no folder
            os.mkdir(os.path.join(self.target, name))
        self._folders.add(name)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            self._num_bytes += len(chunk)
            if size > MAX_FILE_BYTES:
                raise DamagedMember(f"more than the {MAX_FILE_BYTES // 2**20} MB allowed")
            if self._num_bytes > MAX_TOTAL_BYTES:
                raise DataError(f"unpacks to more than the {MAX_TOTAL_BYTES // 10**9} GB allowed; unpack it yourself")
            if self._num_bytes > max(_RATIO_COUNTS_FROM, MAX_RATIO * self.archive_bytes):
                raise DataError(f"unpacks to more than {MAX_RATIO} times its size, as no archive of pictures does")
            yield chunk


def _safe_parts(name: str) -> tuple[list[str], str]:
    """The folders and the file of a name, or the reason why it is not used."""
    backslashed = name.replace("\\", "/")
    if name.startswith("/") or backslashed.startswith("/") or _DRIVE.match(name):
        return [], "an absolute path"
    if ".." in backslashed.split("/"):
        return [], "a path out of the archive"
    if "\0" in name or (os.sep == "\\" and "\\" in name):
        return [], "no name that a file can have"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    sizes = [len(os.fsencode(part)) for part in parts]
    if not parts:
        return [], "no name"
    if max(sizes) > _MAX_NAME_BYTES or sum(sizes) + len(sizes) > _MAX_PATH_BYTES or len(parts) > _MAX_DEPTH:
        return [], "a name too long, or folders too deep"
    return parts, ""


def _unwanted(parts: list[str]) -> str:
    """Why a sound name is no picture of a class, in the words of `folders.py`."""
    if any(part.startswith(".") for part in parts):
        return "hidden"
    if any(part.lower() in JUNK for part in parts):
        return "made by an operating system, not a picture"
    if os.path.splitext(parts[-1])[1].lower() not in SUFFIXES | TABLE_SUFFIXES:
        return "not a picture file"
    return ""
