"""Copies: how many of each picture, what is done to them, and that a change is a change of the picture shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from budwood.augment.copies import Change, CopySpec, change_of, changed, copies_of_each, shares

SPEC = CopySpec()


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * y, 4 * x, 128 + 60 * np.sin(x / 6) * np.cos(y / 5)], axis=2).astype(np.uint8)


def test_the_first_three_copies_are_the_flips_and_the_next_four_are_random_on_top_of_each() -> None:
    found = [change_of("a/b.jpg", n, spec=SPEC, seed=0) for n in range(1, 8)]
    assert [(c.mirrored, c.upside_down) for c in found] == [
        (True, False), (False, True), (True, True), (False, False), (True, False), (False, True), (True, True)
    ]  # fmt: skip
    assert all(c.angle == 0 and c.scale == 1 for c in found[:3])
    assert all(c.angle != 0 and abs(c.angle) <= 15 and 1 <= c.scale <= 1.25 for c in found[3:])
    assert [c.words for c in found[:3]] == ["mirrored", "upside down", "half a turn"]
    assert "degrees" in found[3].words


@pytest.mark.parametrize(("flips", "plain"), [("both", 3), ("horizontal", 1), ("none", 0)])
def test_flips_that_are_not_wished_never_happen(flips: str, plain: int) -> None:
    found = [change_of("a", n, spec=CopySpec(flips=flips), seed=0) for n in range(1, 20)]
    assert sum(c.scale == 1 and c.angle == 0 for c in found) == plain
    assert any(c.upside_down for c in found) == (flips == "both")
    assert any(c.mirrored for c in found) == (flips != "none")


def test_a_change_hangs_on_picture_number_and_seed_only() -> None:
    one = change_of("a", 5, spec=SPEC, seed=0)
    assert one == change_of("a", 5, spec=SPEC, seed=0)
    others = [
        change_of("b", 5, spec=SPEC, seed=0), change_of("a", 9, spec=SPEC, seed=0), change_of("a", 5, spec=SPEC, seed=1)
    ]  # fmt: skip
    assert len({one.angle, *(c.angle for c in others)}) == 4


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change(mirrored=True, upside_down=False), np.s_[:, ::-1]),
        (Change(mirrored=False, upside_down=True), np.s_[::-1]),
        (Change(mirrored=True, upside_down=True), np.s_[::-1, ::-1]),
    ],
    ids=["mirrored", "upside down", "half a turn"],
)
def test_flips_lose_nothing(change: Change, expected: object) -> None:
    np.testing.assert_array_equal(changed(picture(), change), picture()[expected])


def test_a_turn_by_a_quarter_of_a_square_is_a_quarter_turn() -> None:
    square = picture(40, 40)
    made = changed(square, Change(mirrored=False, upside_down=False, angle=90)).astype(int)
    candidates = [np.abs(made - np.rot90(square, k).astype(int)).mean() for k in (1, 3)]
    assert min(candidates) < 1


def test_magnifying_shows_the_middle_and_keeps_the_size() -> None:
    from PIL import Image

    made = changed(picture(), Change(mirrored=False, upside_down=False, scale=2)).astype(int)
    middle = Image.fromarray(picture()[10:30, 15:45]).resize((60, 40), Image.Resampling.BICUBIC)
    assert made.shape == (40, 60, 3)
    assert np.abs(made - np.asarray(middle).astype(int))[4:-4, 4:-4].mean() < 2


def test_what_a_turn_uncovers_is_filled_by_reflection_not_black() -> None:
    light = np.full((30, 50, 3), 200, dtype=np.uint8)
    for angle in (15, 45, 170):
        made = changed(light, Change(mirrored=False, upside_down=False, angle=angle, scale=0.8))
        assert (made == 200).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 90), (300, 3), (7, 8)], ids=str)
def test_odd_shapes_survive(height: int, width: int) -> None:
    made = changed(picture(height, width), Change(mirrored=True, upside_down=True, angle=-37, scale=1.1))
    assert made.shape == (height, width, 3)
    assert made.dtype == np.uint8


def test_equal_shares_never_drop_a_picture() -> None:
    assert shares(np.array([10, 20, 0, 30]), total=120, balanced=True).tolist() == [40, 40, 0, 40]
    # the third has more than its share already: the others divide what is left
    assert shares(np.array([10, 20, 300]), total=400, balanced=True).tolist() == [50, 50, 300]
    assert shares(np.array([10, 20, 30]), total=480, balanced=False).tolist() == [80, 160, 240]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 50), min_size=1, max_size=7), more=st.integers(0, 999), balanced=st.booleans())
def test_shares_add_up_and_keep_every_original(values: list[int], more: int, balanced: bool) -> None:
    counts = np.array(values)
    if not counts.sum():
        return
    total = int(counts.sum()) + more
    found = shares(counts, total=total, balanced=balanced)
    assert found.sum() == total
    assert (found >= counts).all()
    assert (found[counts == 0] == 0).all()
    if balanced:
        grown = found[(found > counts)]
        assert not len(grown) or grown.max() - grown.min() <= 1


def test_fewer_pictures_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="already"):
        shares(np.array([5, 5]), total=9, balanced=False)


def test_copies_are_dealt_evenly_and_by_lot_that_no_order_changes() -> None:
    paths = [f"c/{i}.jpg" for i in range(10)]
    found = dict(zip(paths, copies_of_each(paths, share=34, seed=0).tolist(), strict=True))
    assert sorted(found.values()) == [2] * 6 + [3] * 4
    other = [paths[i] for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)]
    assert dict(zip(other, copies_of_each(other, share=34, seed=0).tolist(), strict=True)) == found
    assert copies_of_each(paths, share=34, seed=1).tolist() != list(found.values())


def test_settings_of_copies_are_checked() -> None:
    for wrong in ({"flips": "all"}, {"rotation": 181}, {"scale": (1.2, 1.0)}, {"scale": (0.1, 1)}, {"turn": 3}):
        with pytest.raises(ValidationError):
            CopySpec.model_validate(wrong)
