"""What a scan finds out about files, as an array of rows of fixed size (`fact_row.py` packs one).

Workers send such rows, the index of the store keeps them, a scan turns them into records (`fact_records.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.fact_row import PACKED, Facts

Rows = NDArray[Any]  # of dtype FACTS

_KINDS = ["u1", "<i8", "<i8", "<i8", "<u8", "V32", "V32", "<u4", "<u4", "S8", "S8", "<u4", "<u4", "<u8", *["<f8"] * 7]
FACTS = np.dtype(list(zip(Facts._fields, _KINDS, strict=True)))
assert FACTS.itemsize == PACKED.size, "the two descriptions of a row differ"


def stored_sizes(rows: Rows) -> NDArray[np.int64]:
    """The bytes of each stored picture, ``[N]``; 0 where there is none."""
    sizes: NDArray[np.int64] = rows["rows"].astype(np.int64) * rows["columns"] * 3
    return sizes
