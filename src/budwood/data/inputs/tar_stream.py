"""A tar archive read forward, once: names, kinds and bytes of its members. Nothing is written here.

Own code rather than `tarfile`, which seeks, believes sizes and takes headers of any length into memory; all that is
needed of the format is small. Sparse files, which no camera or `tar` makes of pictures, are refused by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from budwood.errors import DataError
from budwood.files import escape_name

_BLOCK = 512
_CHUNK = 1 << 18
MAX_HEADER_BYTES = 64 * 1024  # of one long name or pax header; a path is at most some 4,000 bytes
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "",
    b"6": "a pipe",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TarMember:
    """``name`` as the operating system would give it; ``kind`` is "file", "folder" or what else it is."""

    name: str
    kind: str
    chunks: Iterator[bytes]


@dataclass(slots=True, kw_only=True)
class TarStream:
    """The members of an uncompressed stream of bytes, of which at most ``max_bytes`` are read.

    ``closed`` is true when the end mark was seen; without it the archive may be cut between two members.
    """

    source: IO[bytes]
    max_bytes: int
    closed: bool = False
    _taken: int = field(default=0, init=False)
    _left: int = field(default=0, init=False)  # bytes of the present member that were not read yet
    _padding: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[TarMember]:
        """Each member in turn; its chunks must be read before the next one is asked for, else they are skipped.

        Raises:
            DataError: the archive is cut or damaged, or holds what is not supported; the text lacks its name.
        """
        name = ""
        fields: dict[str, str] = {}
        while (header := self._header()) is not None:
            type_flag, size = header[156:157], _number(header[124:136])
            if type_flag in b"xXgLK":
                data = self._extension(size)
                if type_flag in b"xX":
                    fields = _pax_fields(data)
                elif type_flag == b"L":
                    name = os.fsdecode(data.split(b"\0", 1)[0])
                continue
            found = fields.get("path") or name or _short_name(header)
            size = _decimal(fields["size"]) if "size" in fields else size
            if type_flag == b"S" or any(key.startswith("GNU.sparse") for key in fields):
                raise DataError(f"holds {escape_name(found)[:200]} as a sparse file; pack it without --sparse")
            name, fields = "", {}
            self._begin(0 if type_flag in _KINDS else size)  # links and folders have no data, whatever they claim
            yield TarMember(name=found, kind=_kind(type_flag, found), chunks=self._chunks())
            for _ in self._chunks():
                pass
            self._read(self._padding)
        while rest := self.source.read(_CHUNK):  # the checksum of what packed the tar stands at its very end
            self._count(len(rest))

    def _begin(self, size: int) -> None:
        self._left, self._padding = size, -size % _BLOCK

    def _header(self) -> bytes | None:
        block = self.source.read(_BLOCK)
        if not block:
            return None
        if block == bytes(_BLOCK):
            self.closed = True
            return None
        # The checksum counts its own eight bytes as spaces; some old programs summed signed bytes.
        rest = block[:148] + b" " * 8 + block[156:]
        sums = (sum(rest), sum(value - 256 if value > 127 else value for value in rest))
        try:
            sound = len(block) == _BLOCK and _number(block[148:156]) in sums
        except DataError:
            sound = False
        if not sound:
            raise DataError("is no zip or tar archive, or it is cut or damaged; copy or make it again")
        return block

    def _extension(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise DataError(f"holds a header of {size} bytes, more than the {MAX_HEADER_BYTES} allowed")
        data = self._read(size)
        self._read(-size % _BLOCK)
        return data

    def _chunks(self) -> Iterator[bytes]:
        while self._left:
            chunk = self._read(min(self._left, _CHUNK))
            self._left -= len(chunk)
            yield chunk

    def _read(self, size: int) -> bytes:
        self._count(size)
        data = self.source.read(size) if size else b""
        if len(data) != size:
            raise DataError("is cut in the middle of a file; copy or download it again")
        return data

    def _count(self, size: int) -> None:
        self._taken += size
        if self._taken > self.max_bytes:
            raise DataError(f"unpacks to more than the {self.max_bytes // 10**9} GB allowed; unpack it yourself")


def _kind(type_flag: bytes, name: str) -> str:
    if type_flag == b"5" or (type_flag in b"\0" and name.endswith("/")):  # very old programs mark folders so
        return "folder"
    if type_flag in (b"0", b"\0", b"7"):
        return "file"
    return _KINDS.get(type_flag, "of an unknown kind")


def _short_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    posix = header[257:263] == b"ustar\0"  # GNU's old form keeps other things where the prefix is
    prefix = header[345:500].split(b"\0", 1)[0] if posix else b""
    return os.fsdecode(prefix + b"/" + name if prefix else name)


def _number(data: bytes) -> int:
    """An octal number, or, when its first bit is set, a binary one."""
    if data[:1] == b"\x80":
        return int.from_bytes(data[1:], "big")
    return _decimal(data.split(b"\0", 1)[0].strip().decode("latin-1") or "0", base=8)


def _decimal(text: str, *, base: int = 10) -> int:
    try:
        if not text.isascii() or not text.isalnum() or len(text) > 20:
            raise ValueError
        return int(text, base)
    except ValueError as error:
        raise DataError("holds a header that is no tar header; make the archive again") from error


def _pax_fields(data: bytes) -> dict[str, str]:
    """The records ``"%d %s=%s\\n"`` of a pax header; the length counts the whole record."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        space = data.find(b" ", at, at + 21)
        length = _decimal(data[at:space].decode("latin-1")) if space > at else 0
        record = data[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if length <= space - at or at + length > len(data) or not equals or not value.endswith(b"\n"):
            raise DataError("holds a damaged pax header; make the archive again")
        fields[os.fsdecode(key)] = os.fsdecode(value[:-1])
        at += length
    return fields
