"""A zip or tar -> an ordinary folder in the cache. Archives inside archives stay closed; links are never made.

What the archive is, its first bytes say, not its name. Limits are in `extraction.py`. Nothing is decoded here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from budwood.data.inputs.extraction import MAX_TOTAL_BYTES, DamagedMember, Extraction
from budwood.data.inputs.tar_stream import TarStream
from budwood.data.inputs.unpacked import Unpacked, unpacked
from budwood.data.inputs.zip_list import open_zip
from budwood.errors import DataError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_CHUNK = 1 << 18
_ENCRYPTED = 0x1 | 0x40
_UTF8 = 0x800
_UNPACKERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}


class Member(NamedTuple):
    """One entry of an archive; ``position``: bytes of the archive that are read when it is done (a guide only)."""

    name: str
    kind: str
    chunks: Iterator[bytes]
    position: int


def unpack_archive(archive: Path, *, listen: Listener = silent) -> Unpacked:
    """Unpack the pictures and tables of ``archive`` once; later calls find them in the cache.

    Args:
        archive: a zip or a tar, plain or packed by gzip, bzip2 or xz.
        listen: hears of the step ``unpack`` (in megabytes of the archive), unless it was unpacked before.

    Returns:
        The folder, and in ``facts["ignored"]`` what was passed over, with reasons.

    Raises:
        DataError: it is no archive, damaged, encrypted or beyond a limit. OutputError: the cache cannot be written.
    """
    found = unpacked(archive, fill=lambda target: _fill(archive, target, listen))
    for text in found.facts["warnings"]:
        listen(Warned(text=text))
    return found


def _fill(archive: Path, target: Path, listen: Listener) -> dict[str, Any]:
    started, size = time.monotonic(), archive.stat().st_size
    extraction = Extraction(target=target, archive_bytes=size)
    listen(StepStarted(step="unpack", total=size // 10**6 or None, unit="MB"))
    warnings: list[str] = []
    shown = 0
    try:
        with archive.open("rb") as file:
            for member in _members(file, warnings):
                extraction.take(member.name, kind=member.kind, chunks=member.chunks)
                listen(StepAdvanced(step="unpack", count=max(0, member.position // 10**6 - shown)))
                shown = max(shown, member.position // 10**6)
    except DataError as error:
        raise DataError(f"{archive} {error}") from error
    if extraction.num_damaged:
        warnings.append(f"{extraction.num_damaged} files cannot be unpacked: they are damaged, or too large")
    seconds = time.monotonic() - started
    listen(StepFinished(step="unpack", seconds=seconds, note=f"{extraction.num_files} files into the cache"))
    ignored = [f"{archive.name}: {text}" for text in warnings] + extraction.ignored
    return {"ignored": ignored, "warnings": [f"{archive}: {text}" for text in warnings]}


def _members(file: IO[bytes], warnings: list[str]) -> Iterator[Member]:
    start = file.read(6)
    file.seek(0)
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        yield from _zip_members(file)
        return
    unpack = next((unpack for sign, unpack in _UNPACKERS.items() if start.startswith(sign)), None)
    source = _Reader(unpack(file) if unpack else file)
    stream = TarStream(source=cast(IO[bytes], source), max_bytes=MAX_TOTAL_BYTES)
    num_members = 0
    for member in stream:
        num_members += 1
        yield Member(member.name, member.kind, member.chunks, file.tell())
    if not stream.closed and not num_members:
        raise DataError("is empty; give a zip or tar of pictures")
    if not stream.closed:
        warnings.append(f"the archive ends without an end mark after {num_members} entries; it may be cut")


class _Reader(io.RawIOBase):
    """Reads from a decompressor; whatever it raises becomes a `DataError`."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._source.read(size)
            return data
        except Exception as error:  # each decompressor has its own exceptions, and EOFError for a cut end
            raise DataError("is cut or damaged; copy or download it again") from error


def _zip_members(file: IO[bytes]) -> Iterator[Member]:
    archive = open_zip(file)
    position = 0
    for entry in archive.infolist():
        if entry.flag_bits & _ENCRYPTED:
            raise DataError("is encrypted; unpack it with its password and give the folder")
        position += entry.compress_size
        yield Member(_zip_name(entry), _zip_kind(entry), _zip_chunks(archive, entry), position)


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """The name's bytes as the operating system would give them; many programs write UTF-8 without saying so."""
    name = entry.orig_filename
    if not entry.flag_bits & _UTF8:
        name = os.fsdecode(name.encode("cp437", "replace"))
    from_windows = entry.create_system == 0  # some of its programs write backslashes between folders
    return name.replace("\\", "/") if from_windows else name


def _zip_kind(entry: zipfile.ZipInfo) -> str:
    if _zip_name(entry).endswith("/"):
        return "folder"
    kind = entry.external_attr >> 28  # the upper four bits of a Unix mode: 8 is a plain file, 4 a folder
    if entry.create_system == 0 or kind in (0, 8):
        return "file"
    return {4: "folder", 10: "a symbolic link"}.get(kind, "what is no plain file")


def _zip_chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(entry) as member:
            while chunk := member.read(_CHUNK):
                yield chunk
    except Exception as error:  # the unpackers' own errors, a wrong checksum, a method that Python does not know
        raise DamagedMember("damaged in the archive, or packed in a way that is not known") from error
