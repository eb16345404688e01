"""Pictures whose size or shape is rare beside a usual one. A rare size is often another kind of content."""

from __future__ import annotations

from collections import Counter

import numpy as np

from budwood.data.checks.columns import Column, column, readable
from budwood.data.checks.findings import one_each
from budwood.data.records import Catalog, Finding, ImageRecord

MIN_FOR_ODD = 20  # pictures; below, no size is usual
MODAL_SHARE = 0.6  # a size or shape is "the usual one" when this part of the pictures has it
ODD_SHARE = 0.02  # and another is odd when at most this part has it (or one picture among 20 or more)
ODD_RATIO = 1.25  # and a side, or the aspect, is off by this factor
# Where nearly all pictures were cut to one size, any other size is odd, but for a rounding: 641 x 480 is not.
UNIFORM_SHARE, UNIFORM_RATIO = 0.95, 1.03


def find_odd_dimensions(catalog: Catalog) -> list[Finding]:
    """Pictures of a rare size, where most have one size."""
    records = readable(catalog)
    if len(records) < MIN_FOR_ODD:
        return []
    long, short = _sides(records)
    sizes, which, counts = np.unique(np.stack([long, short]), axis=1, return_inverse=True, return_counts=True)
    most = int(counts.argmax())
    share = counts[most] / len(records)
    if share < MODAL_SHARE:
        return []
    off = np.maximum(_ratio(long, sizes[0, most]), _ratio(short, sizes[1, most]))
    odd = _rare(counts[which.ravel()], len(records)) & (off >= (UNIFORM_RATIO if share >= UNIFORM_SHARE else ODD_RATIO))
    usual = f"{counts[most]} of {len(records)} pictures have {sizes[0, most]:.0f} x {sizes[1, most]:.0f} pixels"
    return one_each(
        "odd_dimensions",
        records,
        odd,
        evidence=lambda i: f"{records[i].width} x {records[i].height} pixels; {usual}",
        score=off,
    )


def find_odd_aspect(catalog: Catalog) -> list[Finding]:
    """Pictures of a rare shape, where sizes vary but most have one shape."""
    records = readable(catalog)
    if len(records) < MIN_FOR_ODD:
        return []
    long, short = _sides(records)
    if Counter(zip(long, short, strict=True)).most_common(1)[0][1] >= MODAL_SHARE * len(records):
        return []  # the size says it already
    shapes = np.round(long / short, 1)
    values, which, counts = np.unique(shapes, return_inverse=True, return_counts=True)
    most = int(counts.argmax())
    if counts[most] < MODAL_SHARE * len(records):
        return []
    off = _ratio(shapes, values[most])
    return one_each(
        "odd_aspect",
        records,
        _rare(counts[which], len(records)) & (off >= ODD_RATIO),
        evidence=lambda i: (
            f"{records[i].width} x {records[i].height} pixels;"
            f" the sides of {counts[most]} of {len(records)} pictures are as {values[most]:g} to 1"
        ),
        score=off,
    )


def _sides(records: list[ImageRecord]) -> tuple[Column, Column]:
    """Longer and shorter sides: portrait and landscape of one camera are one size."""
    width, height = column(records, "width"), column(records, "height")
    return np.maximum(width, height), np.minimum(width, height)


def _rare(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.intp]], total: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return counts <= max(1, int(ODD_SHARE * total))


def _ratio(values: Column, usual: float) -> Column:
    return np.maximum(values / usual, usual / values)
