"""Moves of a picture: exact where no pixel is interpolated, reflected at the borders, within the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.augment.geometry import Move, margins, move_of, moved
from budwood.augment.spec import AugmentSpec

Pixels = NDArray[np.uint8]
Calm = Callable[..., AugmentSpec]
MIDDLE = [0.5] * 8


def assert_close(found: Pixels, expected: NDArray[Any], levels: float = 1) -> None:
    assert float(np.abs(found.astype(float) - expected).max()) <= levels


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("upside_down", [False, True])
def test_flips_are_exact(noise: Pixels, mirrored: bool, upside_down: bool) -> None:
    expected = noise[0][:: -1 if upside_down else 1, :: -1 if mirrored else 1]
    np.testing.assert_array_equal(moved(noise[0], Move(mirrored=mirrored, upside_down=upside_down)), expected)


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (-90, 3), (180, 2), (-180, 2)])
@pytest.mark.parametrize("flip", [False, True], ids=["plain", "mirrored"])
def test_quarter_turns_move_each_pixel_onto_anothers_place(noise: Pixels, angle: float, turns: int, flip: bool) -> None:
    # The flip comes first where the result is traced back, so it is the last that is done to the picture.
    expected = np.rot90(noise[1], turns)[:, :: -1 if flip else 1]
    assert_close(moved(noise[1], Move(angle=angle, mirrored=flip)), expected)


def test_magnification_by_two_shows_the_middle_half(patches: Pixels) -> None:
    shown = moved(patches[0], Move(magnification=2))
    # Centres of the patches: 12 px wide before, 24 px after, and the middle half begins at a patch's border.
    np.testing.assert_array_equal(shown[12::24, 12::24], patches[0][18:36:12, 18:36:12])


def test_shift_moves_by_a_share_of_the_side_and_reflects(noise: Pixels) -> None:
    shifted = moved(noise[0], Move(right=0.25))
    np.testing.assert_array_equal(shifted[:, :18], noise[0][:, 6:])
    np.testing.assert_array_equal(shifted[:, 18:], noise[0][:, ::-1][:, :6])
    lower = moved(noise[0], Move(down=-0.25))
    np.testing.assert_array_equal(lower[6:], noise[0][:18])


def test_half_a_pixel_is_cubic_between_four(noise: Pixels) -> None:
    halfway = moved(noise[0], Move(magnification=1 + 1e-9, right=0.5 / 24))
    p = noise[0].astype(float)
    # Keys' kernel with a = -3/4, as OpenCV has it, halfway between two pixels
    expected = (19 * (p[:, 1:-2] + p[:, 2:-1]) - 3 * (p[:, :-3] + p[:, 3:])) / 32
    assert_close(halfway[:, 1:-2], expected.clip(0, 255), levels=2)


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(-180, 180), size=st.floats(0.3, 2), slant=st.floats(-45, 45), tilt=st.floats(-45, 45))
def test_source_is_flip_then_shear_then_turn_about_the_middle(
    angle: float, size: float, slant: float, tilt: float
) -> None:
    move = Move(angle=angle, magnification=size, slant=slant, tilt=tilt, mirrored=True, right=0.1, down=-0.2)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    shear = np.array([[1, np.tan(np.radians(slant))], [np.tan(np.radians(tilt)), 1]])
    linear = np.array([[cos, -sin], [sin, cos]]) @ shear @ np.diag([-1, 1]) / size
    matrix = move.source(21)
    np.testing.assert_allclose(matrix[:, :2], linear, atol=1e-9)
    np.testing.assert_allclose(matrix @ [10, 10, 1], [10 + 2.1, 10 - 4.2], atol=1e-9)


def test_shear_slants_lines_along_one_axis_only() -> None:
    stripes = np.zeros((48, 48, 3), dtype=np.uint8)
    stripes[:, 22:26] = 255
    slanted = moved(stripes, Move(slant=45))
    place = slanted[..., 0].astype(float) @ np.arange(48) / slanted[..., 0].sum(1)
    np.testing.assert_allclose(np.abs(np.diff(place[10:38])), 1, atol=0.1)  # a column further in each row
    np.testing.assert_array_equal(moved(stripes, Move(tilt=30))[:, 22:26], stripes[:, 22:26])


@settings(max_examples=50, deadline=None)
@given(
    angle=st.floats(-180, 180),
    size=st.floats(0.05, 4),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    slant=st.floats(-45, 45),
    side=st.integers(8, 60),
)
def test_borders_are_filled_by_reflection_not_black(
    angle: float, size: float, shift: tuple[float, float], slant: float, side: int
) -> None:
    white = np.full((side, side, 3), 255, dtype=np.uint8)
    move = Move(angle=angle, magnification=size, right=shift[0], down=shift[1], slant=slant)
    assert int(moved(white, move).min()) == 255


@pytest.mark.parametrize("size", [0.6, 0.2], ids=["with a margin", "too far for a margin"])
def test_reflection_is_the_pictures_own_mirror_image(patches: Pixels, size: float) -> None:
    small = moved(patches[2], Move(magnification=size))
    wide = np.pad(patches[2], ((144, 144), (144, 144), (0, 0)), mode="symmetric")
    expected = moved(wide, Move(magnification=size))[144:192, 144:192]
    assert_close(small, expected, levels=2)


@settings(max_examples=50, deadline=None)
@given(angle=st.floats(-180, 180), size=st.floats(0.3, 2), right=st.floats(-0.5, 0.5), side=st.integers(8, 60))
def test_margins_hold_all_that_the_warp_reads(angle: float, size: float, right: float, side: int) -> None:
    matrix = Move(angle=angle, magnification=size, right=right).source(side)
    left, top, beyond, below = margins(matrix, side)
    rows, columns = np.mgrid[:side, :side]
    x, y = matrix @ np.stack([columns.ravel(), rows.ravel(), np.ones(side * side)])
    assert x.min() >= -left
    assert y.min() >= -top
    assert x.max() <= side - 1 + beyond
    assert y.max() <= side - 1 + below


@settings(max_examples=100, deadline=None)
@given(
    numbers=st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8),
    rotation=st.floats(0, 180),
    low=st.floats(0.3, 1),
    span=st.floats(1, 3),
    shear=st.floats(0, 45),
)
def test_moves_stay_within_the_settings(
    calm: Calm, numbers: list[float], rotation: float, low: float, span: float, shear: float
) -> None:
    spec = calm(rotation=rotation, scale=(low, low * span), shift=0.2, shear=shear, flip="horizontal")
    move = move_of(numbers, spec)
    assert abs(move.angle) <= rotation
    assert low - 1e-9 <= move.magnification <= low * span + 1e-9
    assert max(abs(move.right), abs(move.down)) <= 0.2
    assert max(abs(move.slant), abs(move.tilt)) <= shear
    assert move.slant == 0 or move.tilt == 0
    assert not move.upside_down


def test_moves_reach_both_ends_of_the_settings(calm: Calm) -> None:
    spec = calm(rotation=30, scale=(0.5, 2), shift=0.2, shear=20)
    drawn = np.random.default_rng(0).random((400, 8)).tolist()
    moves = [move_of(numbers, spec) for numbers in drawn]
    sizes = [move.magnification for move in moves]
    assert min(move.angle for move in moves) < -28 < 28 < max(move.angle for move in moves)
    assert min(sizes) < 0.53 < 1.9 < max(sizes)
    assert np.median(sizes) == pytest.approx(1, abs=0.1)  # as often enlarged as reduced
    for sheared in ([move.slant for move in moves], [move.tilt for move in moves]):
        assert min(sheared) < -18 < 18 < max(sheared)


def test_middle_of_the_numbers_moves_nothing(calm: Calm, noise: Pixels) -> None:
    spec = calm(rotation=180, scale=(0.5, 2), shift=0.5, shear=45, flip="both")
    np.testing.assert_array_equal(moved(noise[0], move_of(MIDDLE, spec)), noise[0])


@pytest.mark.parametrize(("flip", "kinds"), [("none", 1), ("horizontal", 2), ("both", 4)])
def test_flips_are_those_that_are_allowed_and_all_of_them(calm: Calm, flip: str, kinds: int) -> None:
    drawn = np.random.default_rng(0).random((60, 8)).tolist()
    moves = {move_of(numbers, calm(flip=flip)) for numbers in drawn}
    assert len(moves) == kinds
    assert all(move.is_flip for move in moves)
    assert any(move.mirrored for move in moves) == (flip != "none")


def test_a_shift_alone_moves_whole_pixels_and_softens_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    shifted = moved(pixels, Move(right=0.1, down=-0.06))  # 2.4 and -1.44 pixels
    inner = shifted[6:18, 6:18]
    found = [
        (dx, dy)
        for dx in range(-4, 5)
        for dy in range(-4, 5)
        if np.array_equal(inner, pixels[6 + dy : 18 + dy, 6 + dx : 18 + dx])
    ]
    assert [(abs(dx), abs(dy)) for dx, dy in found] == [(2, 1)]
