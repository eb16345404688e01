"""What a scan finds out about one file, and how it is packed: the row that a worker sends.

Only light modules are imported here: every worker process loads this one, and numpy alone would take longer than all
else that it loads. Rows by the thousand are `facts.py`'s matter.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


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
