"""Boxes and grids: the hidden share is the one asked for, and the rest of the picture is untouched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.augment.hiding import Grid, box_of, grid_of, with_box, with_grid
from budwood.augment.spec import AugmentSpec

Pixels = NDArray[np.uint8]
Calm = Callable[..., AugmentSpec]
NUMBERS = st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8)
FILL = (1, 2, 3)
LIMITS = st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9)).map(lambda pair: (min(pair), max(pair)))


def hidden_share(before: Pixels, after: Pixels) -> float:
    """The share of the pixels that took the fill; all others must be as they were."""
    changed = (after == FILL).all(-1)
    np.testing.assert_array_equal(after[~changed], before[~changed])
    return float(changed.mean())


def grey(side: int) -> Pixels:
    return np.full((side, side, 3), 128, dtype=np.uint8)


@settings(max_examples=200, deadline=None)
@given(numbers=NUMBERS, area=LIMITS, side=st.integers(16, 100))
def test_box_hides_a_share_within_the_limits(
    calm: Calm, numbers: list[float], area: tuple[float, float], side: int
) -> None:
    box = box_of(numbers, calm(cutout=1, cutout_area=area), side=side)
    assert box is not None
    share = hidden_share(grey(side), with_box(grey(side), box, fill=FILL))
    assert share == box.height * box.width / side**2  # no part of it lies outside
    assert area[0] - 0.6 / side <= share <= area[1] + 0.6 / side  # rounded to whole columns


def test_boxes_are_of_many_shapes_and_lie_everywhere(calm: Calm) -> None:
    spec = calm(cutout=1, cutout_area=(0.1, 0.1))
    covered = np.zeros((32, 32))
    aspects = []
    for numbers in np.random.default_rng(0).random((300, 8)).tolist():
        box = box_of(numbers, spec, side=32)
        assert box is not None
        covered += (with_box(grey(32), box, fill=FILL) == FILL).all(-1)
        aspects.append(box.height / box.width)
    assert all((covered.sum(axis) > 0).all() for axis in (0, 1))
    assert min(aspects) < 0.4 < 2.5 < max(aspects)


@settings(max_examples=200, deadline=None)
@given(numbers=NUMBERS, area=LIMITS, side=st.integers(32, 128))
def test_grid_hides_a_share_within_the_limits(
    calm: Calm, numbers: list[float], area: tuple[float, float], side: int
) -> None:
    grid = grid_of(numbers, calm(gridmask=1, gridmask_area=area), side=side)
    assert grid is not None
    share = hidden_share(grey(side), with_grid(grey(side), grid, fill=FILL))
    # Each of up to five squares along a side is rounded to whole pixels.
    low, high = (np.sqrt(limit) for limit in area)
    assert max(0, low - 5 / side) ** 2 <= share <= (high + 5 / side) ** 2


def test_grid_is_regular_squares() -> None:
    grid = Grid(squares=3, share=0.5, down=0, right=4)
    mask = (with_grid(grey(24), grid, fill=FILL) == FILL).all(-1)
    rows, columns = np.arange(24) % 8 < 4, (np.arange(24) + 4) % 8 < 4
    np.testing.assert_array_equal(mask, np.outer(rows, columns))


def test_given_pixels_are_not_changed(calm: Calm, noise: Pixels) -> None:
    box = box_of([0.5] * 8, calm(cutout=1), side=24)
    grid = grid_of([0.5] * 8, calm(gridmask=1), side=24)
    assert box is not None
    assert grid is not None
    with_box(noise[0], box, fill=FILL)  # the fixture is read-only
    with_grid(noise[0], grid, fill=FILL)


def test_share_of_hidden_pictures_is_the_one_asked_for(calm: Calm) -> None:
    drawn = np.random.default_rng(0).random((1000, 8)).tolist()
    spec = calm(cutout=0.3, gridmask=0.7)
    assert np.mean([box_of(n, spec, side=32) is not None for n in drawn]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([grid_of(n, spec, side=32) is not None for n in drawn]) == pytest.approx(0.7, abs=0.05)


def test_box_without_area_hides_nothing(calm: Calm) -> None:
    assert box_of([0.0] * 8, calm(cutout=1, cutout_area=(0, 0)), side=32) is None
