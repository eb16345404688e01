"""What a scan finds out about one file, as a row of fixed size.

Workers send such rows, the index of the store keeps them, a scan turns them into records (`fact_records.py`). Only
light modules are imported here: every worker process loads this one.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]  # of dtype FACTS


class Facts(NamedTuple):
    """One row. ``size``, ``mtime`` and ``ctime`` (ns) tell whether the file is still the one that was read.

    ``num_bytes`` is what was read of it. ``rows`` and ``columns`` are the size of the stored picture, ``checksum``
    the first 8 bytes of its digest. An unreadable file has zeros where there is nothing to say.
    """

    readable: int = 0
    size: int = 0
    mtime: int = 0
    ctime: int = 0
    num_bytes: int = 0
    file_digest: bytes = b""
    pixel_digest: bytes = b""
    width: int = 0
    height: int = 0
    mode: bytes = b""
    format: bytes = b""
    rows: int = 0
    columns: int = 0
    checksum: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    red: float = 0.0
    green: float = 0.0
    blue: float = 0.0
    shadow: float = 0.0


_CODES = ["<B", "3q", "Q", "32s", "32s", "2I", "8s", "8s", "2I", "Q", "7d"]
PACKED = struct.Struct("".join(_CODES))
_KINDS = ["u1", "<i8", "<i8", "<i8", "<u8", "V32", "V32", "<u4", "<u4", "S8", "S8", "<u4", "<u4", "<u8", *["<f8"] * 7]
FACTS = np.dtype(list(zip(Facts._fields, _KINDS, strict=True)))
assert FACTS.itemsize == PACKED.size, "the two descriptions of a row differ"


def stored_sizes(rows: Rows) -> NDArray[np.int64]:
    """The bytes of each stored picture, ``[N]``; 0 where there is none."""
    sizes: NDArray[np.int64] = rows["rows"].astype(np.int64) * rows["columns"] * 3
    return sizes


def stored_bytes(rows: Rows) -> int:
    """The bytes of all stored pictures."""
    return int(stored_sizes(rows).sum())
