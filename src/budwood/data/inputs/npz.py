"""The arrays inside an ``.npz``: their headers first, their values row by row. Objects are never unpickled.

An ``.npz`` is a zip, so sizes are checked against limits before anything is loaded, and reads are counted.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from budwood.data.inputs.zip_list import open_zip
from budwood.errors import DataError
from budwood.files import escape_name

MAX_ARRAYS = 1000
MAX_LABEL_BYTES = 256 * 2**20
# An array in Fortran order cannot be read picture by picture: it is loaded as a whole.
_MAX_FORTRAN_BYTES = 2 * 10**9
_HEADER_BYTES = 64 * 1024
_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayInfo:
    """What the header of one array says; nothing of it is to be believed before its bytes were counted."""

    file: Path
    member: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def num_bytes(self) -> int:
        """The bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.name} {' x '.join(map(str, self.shape)) or 'of no shape'} {self.dtype}"


def array_infos(file: Path) -> list[ArrayInfo]:
    """The headers of all arrays in ``file``; no values are read.

    Raises:
        DataError: it is no ``.npz``, or holds objects, which only pickle could read.
    """
    with _opened(file) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        if len(entries) > MAX_ARRAYS:
            raise DataError(f"{file} holds {len(entries)} arrays, more than the {MAX_ARRAYS} allowed")
        return [_info(file, archive, entry) for entry in entries]


def load_array(info: ArrayInfo) -> NDArray[Any]:
    """One small array as a whole: labels, groups, parts.

    Raises:
        DataError: it is larger than labels can be, or damaged.
    """
    if info.num_bytes > MAX_LABEL_BYTES:
        raise DataError(f"{info.file}: {info} is larger than the {MAX_LABEL_BYTES // 2**20} MB allowed for labels")
    return _whole(info)


def array_rows(info: ArrayInfo) -> Iterator[NDArray[Any]]:
    """Blocks of rows ``[b, ...]`` of an array ``[N, ...]``, in order, some 16 MB at a time.

    Raises:
        DataError: it is cut, damaged, or too large in an order that must be loaded as a whole.
    """
    row_bytes = math.prod(info.shape[1:]) * info.dtype.itemsize
    count = max(1, _BLOCK_BYTES // max(1, row_bytes))
    if info.fortran:
        if info.num_bytes > _MAX_FORTRAN_BYTES:
            raise DataError(f"{info.file}: {info} is in Fortran order; save it after {info.name}.copy(order='C')")
        whole = _whole(info)
        yield from (whole[at : at + count] for at in range(0, len(whole), count))
        return
    with _opened(info.file) as archive, _member(archive, info) as member:
        for at in range(0, info.shape[0], count):
            num = min(count, info.shape[0] - at)
            block = np.frombuffer(_read(member, num * row_bytes, info), dtype=info.dtype)
            yield block.reshape(num, *info.shape[1:])
        _read_end(member, info)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    with file.open("rb") as opened:
        try:
            archive = open_zip(opened)
        except DataError as error:
            raise DataError(f"{file} is no .npz file: it {error}") from error
        yield archive


def _info(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> ArrayInfo:
    name = escape_name(entry.filename.removesuffix(".npy"))[:80]
    try:
        with archive.open(entry) as member:
            head = io.BytesIO(member.read(_HEADER_BYTES))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = npy.read_magic(head)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(head)
        if any(side < 0 for side in shape):
            raise ValueError("a negative side")
    except Exception as error:  # whatever hostile bytes raise in the zip reader and in numpy's parser
        raise DataError(f"{file}: the array {name} is damaged or encrypted; save it again") from error
    if dtype.hasobject:
        raise DataError(
            f"{file}: the array {name} holds Python objects, which could run any program when they are read."
            f' Save pictures as numpy.stack({name}).astype("uint8") and labels as {name}.astype(str)'
        )
    return ArrayInfo(
        file=file, member=entry.filename, name=name, shape=shape, dtype=dtype, fortran=fortran, offset=head.tell()
    )


def _member(archive: zipfile.ZipFile, info: ArrayInfo) -> IO[bytes]:
    try:
        member = archive.open(info.member)
    except Exception as error:
        raise DataError(f"{info.file}: {info} cannot be read; save it again") from error
    _read(member, info.offset, info)
    return member


def _whole(info: ArrayInfo) -> NDArray[Any]:
    with _opened(info.file) as archive, _member(archive, info) as member:
        values = np.frombuffer(_read(member, info.num_bytes, info), dtype=info.dtype)
        _read_end(member, info)
    return values.reshape(info.shape, order="F" if info.fortran else "C")


def _read(member: IO[bytes], size: int, info: ArrayInfo) -> bytearray:
    data = bytearray()
    try:
        while len(data) < size and (piece := member.read(min(size - len(data), _BLOCK_BYTES))):
            data += piece
    except Exception as error:  # the unpackers' own errors, a wrong checksum
        raise DataError(f"{info.file}: {info} is damaged; save it again") from error
    if len(data) != size:
        raise DataError(f"{info.file}: {info} is cut: bytes are missing; save it again")
    return data


def _read_end(member: IO[bytes], info: ArrayInfo) -> None:
    """The checksum of a zip's member is compared when its end is read."""
    try:
        if not member.read(1):
            return
    except Exception as error:
        raise DataError(f"{info.file}: {info} is damaged; save it again") from error
    raise DataError(f"{info.file}: {info} holds more bytes than its shape; save it again")
