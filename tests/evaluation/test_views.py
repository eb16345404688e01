"""Views: what is written means what is said, every pixel is where it belongs, and the plain view changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.evaluation.views import MENUS, View, parse_views, seen, turned, view_to_json, views_from


def pictures(number: int = 2, side: int = 32) -> NDArray[np.uint8]:
    """Smooth pictures, so that interpolation is nearly exact; no two flips or turns of one are alike."""
    y, x = np.mgrid[0:side, 0:side] / side
    planes = np.stack([40 + 150 * x, 30 + 100 * y + 60 * x * x, 200 - 120 * y * x], axis=-1)
    return np.stack([planes + 5 * i for i in range(number)]).astype(np.uint8)


def test_a_turn_is_a_number_everywhere() -> None:
    for turn in range(8):
        np.testing.assert_array_equal(seen(pictures(), turn), turned(pictures(), turn))
        np.testing.assert_array_equal(seen(pictures(), View(turn=turn)), turned(pictures(), turn))


@pytest.mark.parametrize(("menu", "turn", "expected"), [("flips", 4, "left"), ("flips", 6, "up"), ("flips", 2, "both")])
def test_flips_are_named_by_what_they_mirror(menu: str, turn: int, expected: str) -> None:
    mirrored = {"left": np.s_[:, :, ::-1], "up": np.s_[:, ::-1], "both": np.s_[:, ::-1, ::-1]}[expected]
    assert View(turn=turn) in MENUS[menu]
    np.testing.assert_array_equal(turned(pictures(), turn), pictures()[mirrored])


@settings(max_examples=20, deadline=None)
@given(
    st.builds(
        View,
        turn=st.integers(0, 7),
        scale=st.floats(0.5, 2.0),
        right=st.floats(-0.25, 0.25),
        down=st.floats(-0.25, 0.25),
    )
)
def test_every_view_keeps_shape_and_kind_and_comes_back_from_json(view: View) -> None:
    shown = seen(pictures(), view)
    assert (shown.shape, shown.dtype) == (pictures().shape, np.uint8)
    assert views_from([json.loads(json.dumps(view_to_json(view)))]) == (view,)


def test_an_enlarged_view_shows_the_middle_and_a_moved_one_what_lies_there() -> None:
    side = 32
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side  # centres of pixels, in parts of the side
    picture = np.stack([200 * x, 200 * y, 0 * x], axis=-1)[None].astype(np.uint8)
    view = View(scale=2.0, right=0.1, down=-0.05)
    shown = seen(picture, view).astype(float)[0]
    expected = 200 * (0.5 + 0.1 + (x - 0.5) / 2), 200 * (0.5 - 0.05 + (y - 0.5) / 2)
    assert np.abs(shown[2:-2, 2:-2, 0] - expected[0][2:-2, 2:-2]).max() < 2
    assert np.abs(shown[2:-2, 2:-2, 1] - expected[1][2:-2, 2:-2]).max() < 2


def test_what_lies_beyond_the_border_is_reflected_and_not_black() -> None:
    bright = np.full((1, 16, 16, 3), 180, dtype=np.uint8)
    for view in (View(scale=0.5), View(right=0.25, down=0.25), View(scale=0.9, right=-0.06)):
        np.testing.assert_array_equal(seen(bright, view), bright)


def test_one_picture_is_shown_the_same_whatever_stands_beside_it() -> None:
    both = pictures(3)
    view = View(turn=3, scale=1.1, down=0.04)
    np.testing.assert_array_equal(seen(both, view)[1], seen(both[1:2], view)[0])


def test_the_turn_comes_before_the_window() -> None:
    view = View(turn=1, scale=1.25, right=0.1)
    np.testing.assert_array_equal(seen(pictures(), view), seen(turned(pictures(), 1), View(scale=1.25, right=0.1)))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("one", 1), ("mirror", 2), ("flips", 4), ("turns", 4), ("all", 8), ("crops5", 5), ("scales", 3)],
        *[("shifts", 5), ("flips+shifts", 8), ("turns*scales", 12), ("0+4+x1.1", 3), ("4*crops5 + 0", 6)],
    ],
)
def test_named_sets_have_so_many_views(text: str, number: int) -> None:
    assert len(parse_views(text)) == number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flip", 'no views called "flip"'),
        ("", "no views called"),
        ("8", "no views called"),
        ("x9", "scale is a number from 0.5 to 2"),
        ("turns*flips", "cannot be one view"),
        ("scales*crops5", "cannot be one view"),
    ],
)
def test_what_names_no_views_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_views(text)


@pytest.mark.parametrize(
    "value", [8, -1, True, 1.5, None, {"zoom": 2}, {"scale": "1"}, {"turn": 1.0}, {"right": float("nan")}, [0]]
)
def test_an_odd_view_in_a_list_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="view"):
        views_from([value])
