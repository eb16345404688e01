"""`Split`: indices per part; `SplitSpec`: what is wished. `split.py` makes splits, `split_file.py` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Indices into a catalog for each of `PARTS`, sorted; what they were made from; never copies of records.

    ``groups`` are the paths that were tied: each tuple lies in one part. ``left_out`` are usable pictures that are in
    no part on purpose, such as training pictures that show what a test picture shows.
    """

    parts: Mapping[str, tuple[int, ...]]
    seed: int
    catalog_fingerprint: str
    groups: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[int, ...] = ()


class SplitSpec(BaseModel):
    """Settings of `split`.

    val, test: the share of each class, 0-0.5; at least one picture of each class.
    folds: for `split_folds`; each fold is the test part once. None: one holdout.
    own: what to do with parts that the pictures came with: keep them, or ignore them and split anew.
    leaks: what to do where such parts leak: refuse, or drop the training pictures (and val pictures) that show what a
        test picture shows. Test pictures are never dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(default=0.1, gt=0, lt=0.5)
    test: float = Field(default=0.1, gt=0, lt=0.5)
    folds: int | None = Field(default=None, ge=3)
    own: Literal["keep", "ignore"] = "keep"
    leaks: Literal["refuse", "drop"] = "refuse"
