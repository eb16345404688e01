"""`Split`, the noun: indices per part. How it is made is in `split.py`, how it is kept in `split_file.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Indices into a catalog for each of `PARTS`, sorted; what they were made from; never copies of records.

    ``groups`` are the paths that were tied: each tuple lies in one part.
    """

    parts: Mapping[str, tuple[int, ...]]
    seed: int
    catalog_fingerprint: str
    groups: tuple[tuple[str, ...], ...] = ()
