"""What is odd about the files themselves: not readable, a rare colour mode, a rare format."""

from __future__ import annotations

from collections import Counter

import numpy as np

from budwood.data.checks.columns import readable
from budwood.data.checks.findings import one_each
from budwood.data.checks.light import grey_pictures
from budwood.data.records import Catalog, Finding, ImageRecord

MIN_FOR_ODD = 20  # pictures; below, nothing is usual
USUAL_SHARE = 0.8  # a mode or format is "the usual one" when this part of the pictures has it
ODD_SHARE = 0.05  # and another is odd when at most this part has it

# What a mode holds, in words; modes of one meaning are one (a palette is colour that was reduced to 256).
MODES = {
    "1": "black and white",
    "L": "grey",
    "I": "grey, 32 bit",
    "I;16": "grey, 16 bit",
    "F": "grey, floating point",
    "LA": "grey with transparency",
    "La": "grey with transparency",
    "PA": "palette with transparency",
    "P": "palette",
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "RGBa": "colour with transparency",
    "CMYK": "CMYK, made for print",
    "YCbCr": "colour",
}


def find_unreadable(catalog: Catalog) -> list[Finding]:
    """One finding per file that could not be decoded."""
    return [
        Finding(check="unreadable", severity="warning", paths=(r.path,), evidence=r.reason, score=1.0)
        for r in catalog.records
        if r.state == "unreadable"
    ]


def find_odd_mode(catalog: Catalog) -> list[Finding]:
    """Pictures of a rare colour mode; a colour file without colour counts as grey."""
    records = readable(catalog)
    grey = grey_pictures(records).tolist()
    kinds = [
        "grey" if without and MODES.get(record.mode) in ("colour", "grey") else MODES.get(record.mode, record.mode)
        for record, without in zip(records, grey, strict=True)
    ]
    return _rare("odd_mode", records, kinds)


def find_odd_format(catalog: Catalog) -> list[Finding]:
    """Pictures in a rare file format: often another source than the others."""
    records = readable(catalog)
    return _rare("odd_format", records, [record.format for record in records])


def _rare(check: str, records: list[ImageRecord], kinds: list[str]) -> list[Finding]:
    counts = Counter(kinds)
    if len(records) < MIN_FOR_ODD or len(counts) == 1:
        return []
    usual, count = counts.most_common(1)[0]
    if count < USUAL_SHARE * len(records):
        return []
    rare = {kind for kind, number in counts.items() if number <= max(1, ODD_SHARE * len(records))}
    return one_each(
        check,
        records,
        np.array([kind in rare for kind in kinds]),
        evidence=lambda i: f"{kinds[i]}; {count} of {len(records)} pictures are {usual}",
        score=np.array([1 - counts[kind] / len(records) for kind in kinds]),
    )
