"""Records and catalogs written by hand, for checks that need no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from budwood.data.records import Catalog, ImageRecord

Make = Callable[..., ImageRecord]
Many = Callable[..., list[ImageRecord]]
Collect = Callable[..., Catalog]


def ordinary(path: str, **values: object) -> ImageRecord:
    """A picture with nothing odd about it; the label is the folder."""
    known = ImageRecord(
        path=path,
        label=path.split("/")[0],
        file_digest=f"file {path}",
        pixel_digest=f"pixels {path}",
        width=640,
        height=480,
        mode="RGB",
        format="JPEG",
        brightness=120.0,
        contrast=50.0,
        sharpness=0.8,
        red=100.0,
        green=110.0,
        blue=90.0,
    )
    return replace(known, **values)  # type: ignore[arg-type]


def varied(count: int, **values: object) -> list[ImageRecord]:
    """Ordinary pictures of two classes whose measures scatter as those of photographs do."""
    rng = np.random.default_rng(0)
    scatter = {
        "brightness": rng.normal(120, 35, count).clip(45, 180),
        "contrast": rng.normal(50, 8, count).clip(30, 80),
        "sharpness": rng.normal(0.8, 0.08, count),
        "red": rng.normal(100, 5, count),
        "green": rng.normal(110, 5, count),
        "blue": rng.normal(90, 5, count),
    }
    records = []
    for number in range(count):
        measured = {name: float(column[number]) for name, column in scatter.items()}
        records.append(ordinary(f"{'ab'[number % 2]}/{number:04}.jpg", **{**measured, **values}))
    return records


def collected(*records: ImageRecord) -> Catalog:
    return Catalog(root=Path("/p"), records=records, classes=tuple(sorted({r.label for r in records})))


@pytest.fixture
def record() -> Make:
    return ordinary


@pytest.fixture
def many() -> Many:
    return varied


@pytest.fixture
def catalog_of() -> Collect:
    return collected


@pytest.fixture
def problems() -> Catalog:
    """A hundred ordinary pictures, and one or two for each check."""
    return collected(
        *varied(100),
        ordinary("a/dark.jpg", brightness=2.0),
        ordinary("a/light.jpg", brightness=254.0),
        ordinary("a/pale.jpg", contrast=4.0),
        ordinary("a/soft.jpg", sharpness=0.2),
        ordinary("a/pink.jpg", red=160.0),
        ordinary("a/shade.jpg", shadow=0.5),
        ordinary("a/wide.jpg", width=3000),
        ordinary("a/print.jpg", mode="CMYK"),
        ordinary("a/drawn.png", format="PNG"),
        ordinary("a/twin1.jpg", pixel_digest="twin"),
        ordinary("b/twin2.jpg", pixel_digest="twin"),
        *(ordinary(f"a/again{n}.jpg", pixel_digest="again") for n in range(6)),
        ordinary("c/bad.jpg", state="unreadable", reason="empty file"),
    )
