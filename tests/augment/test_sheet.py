"""The contact sheet shows the very pictures that a training would see, and takes names as text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from budwood.augment.sheet import augment_sheet
from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.preprocess import Preprocess

Pixels = NDArray[np.uint8]
SIDE, GAP, TOP = 128, 6, 29  # of a tile, between tiles, and where the first line begins
WILD: dict[str, Any] = {"rotation": 180, "flip": "both", "cutmix": 0, "cutout": 1}


def sheet(pixels: Pixels, spec: AugmentSpec, classes: tuple[str, ...] = ("oak", "elm"), **options: Any) -> Pixels:
    augment = Augment(spec, Preprocess(size=pixels.shape[1]), seed=2, classes=classes)
    targets = np.arange(len(pixels)) % len(classes)
    png = augment_sheet(pixels, targets, classes=classes, augment=augment, records=range(len(pixels)), **options)
    return np.asarray(Image.open(io.BytesIO(png)))


def tile(image: Pixels, line: int, column: int) -> Pixels:
    height = SIDE + 17 + GAP
    top, left = TOP + line * height, GAP + column * (SIDE + GAP)
    return image[top : top + SIDE, left : left + SIDE]


@pytest.fixture
def pictures() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_each_line_is_a_picture_as_it_is_and_then_as_the_network_sees_it(pictures: Pixels) -> None:
    spec = AugmentSpec(**WILD)
    image = sheet(pictures, spec, epoch=4, columns=4)
    augment = Augment(spec, Preprocess(size=64), seed=2)
    for line in range(3):
        np.testing.assert_array_equal(tile(image, line, 0)[::2, ::2], pictures[line])
        for draw in range(3):
            seen = augment.pixels(pictures, range(3), 4 + draw)[line]
            np.testing.assert_array_equal(tile(image, line, 1 + draw)[::2, ::2], seen)


def test_mixed_batches_have_lines_of_their_own_where_they_happen(pictures: Pixels) -> None:
    calm = AugmentSpec(rotation=0, flip="none", cutmix=0)
    plain = sheet(pictures, calm)
    mixed = sheet(pictures, calm.with_overrides({"cutmix": 0.1, "mixup": 0.1}))
    assert len(mixed) >= len(plain) + 2 * SIDE
    np.testing.assert_array_equal(mixed[: len(plain)], plain)


def test_mixed_line_shows_two_classes_in_their_shares() -> None:
    pixels = np.full((2, 64, 64, 3), 60, dtype=np.uint8)
    pixels[1] = 200
    spec = AugmentSpec(rotation=0, flip="none", scale=(1, 1), shift=0, brightness=0, contrast=0, cutmix=1)
    image = sheet(pixels, spec.with_overrides({"cutmix_area": [0.25, 0.25], "saturation": 0}), columns=6)
    shares = {round(float((tile(image, 2, column) > 127).mean()), 2) for column in range(6)}
    assert shares <= {0.0, 0.25, 0.75, 1.0}
    assert shares & {0.25, 0.75}
    assert {level for column in range(6) for level in np.unique(tile(image, 2, column))} == {60, 200}


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "a\nb\x00\x1b[31m", "long " * 500, "", "caf\udce9", "‮evil", "雪と氷"],
    ids=["markup", "control", "long", "empty", "not utf-8", "right to left", "other letters"],
)
def test_any_class_name_is_drawn_as_text_inside_its_tile(pictures: Pixels, name: str) -> None:
    spec = AugmentSpec(rotation=0, flip="none", scale=(1, 1), shift=0)
    usual, hostile = (sheet(pictures[:1], spec, classes=(label, "elm")) for label in ("oak", name))
    assert hostile.shape == usual.shape
    below = slice(TOP + SIDE, TOP + SIDE + 17)
    np.testing.assert_array_equal(hostile[:, GAP + SIDE + 1 :][below], usual[:, GAP + SIDE + 1 :][below])


def test_same_arguments_give_the_same_bytes(calm: Callable[..., AugmentSpec], pictures: Pixels) -> None:
    augment = Augment(calm(rotation=90, cutmix=1), Preprocess(size=64), seed=0)
    first, second = (
        augment_sheet(pictures, np.zeros(3, np.int64), classes=("a",), augment=augment, records=range(3))
        for _ in range(2)
    )
    assert first == second


def test_sheet_of_nothing_is_refused(pictures: Pixels) -> None:
    spec = AugmentSpec(rotation=0, flip="none")
    with pytest.raises(ValueError, match="needs a picture and two columns"):
        sheet(pictures[:0], spec)
    with pytest.raises(ValueError, match="found 3 and 1"):
        sheet(pictures, spec, columns=1)
