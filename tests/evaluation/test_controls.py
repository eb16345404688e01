"""Controls: nothing of what is covered shines through, patches only move, and the words say what the numbers carry."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.evaluation.controls import CONTROLS, Controls, judge_controls
from budwood.evaluation.covering import cover_middle, grey, keep_middle, low_pass, shuffle_patches
from budwood.evaluation.predictions import Predictions

SIDE = 32


def noise(seed: int, number: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, SIDE, SIDE, 3), dtype=np.uint8)


def answers(share: float, *, number: int = 200, seed: int = 0) -> Predictions:
    """Two classes, the second a quarter of the pictures; ``share`` of each are named right."""
    targets = (np.arange(number) % 4 == 3).astype(np.int64)
    right = np.random.default_rng(seed).permutation(number) < share * number
    named = np.where(right, targets, 1 - targets)
    probs = np.where(np.arange(2) == named[:, None], 0.9, 0.1).astype(np.float32)
    return Predictions(probs=probs, targets=targets, paths=tuple(f"{i}.png" for i in range(number)), classes=("a", "b"))


def judged(**shares: float) -> Controls:
    """Controls where the named kinds of them reach these shares, and all others 0.5."""
    changed = [(control, answers(shares.get(control.kind, 0.5), seed=1)) for control in CONTROLS]
    return judge_controls(answers(0.95), changed, part="validation")


@settings(max_examples=20, deadline=None)
@given(share=st.sampled_from([0.25, 0.5, 0.75]), seed=st.integers(0, 1000))
def test_nothing_of_a_covered_middle_shines_through(share: float, seed: int) -> None:
    pictures = noise(seed)
    covered = cover_middle(pictures, share)
    hidden = (covered[0] != pictures[0]).any(axis=2)
    assert abs(hidden.mean() - share) < 0.1
    other = pictures.copy()
    other[:, hidden] = 255 - other[:, hidden]
    assert np.array_equal(cover_middle(other, share), covered)
    assert not np.array_equal(keep_middle(other, share), keep_middle(pictures, share))


def test_nothing_around_a_kept_middle_shines_through() -> None:
    pictures = noise(5)
    kept = keep_middle(pictures, 0.25)
    hidden = (kept[0] != pictures[0]).any(axis=2)
    other = pictures.copy()
    other[:, hidden] = 0
    assert np.array_equal(keep_middle(other, 0.25), kept)


@settings(max_examples=20, deadline=None)
@given(grid=st.sampled_from([2, 4, 5, 8]), seed=st.integers(0, 1000))
def test_patches_only_move(grid: int, seed: int) -> None:
    pictures = noise(seed)
    moved = shuffle_patches(pictures, grid, keys=["x", "y", "z"], seed=seed)
    assert np.array_equal(np.sort(moved.reshape(3, -1, 3), axis=1), np.sort(pictures.reshape(3, -1, 3), axis=1))
    assert not np.array_equal(moved, pictures)


def test_the_order_of_patches_belongs_to_the_picture_not_to_its_place() -> None:
    pictures = noise(1)
    moved = shuffle_patches(pictures, 4, keys=["x", "y", "z"], seed=0)
    again = shuffle_patches(pictures[::-1], 4, keys=["z", "y", "x"], seed=0)
    assert np.array_equal(again[::-1], moved)
    assert not np.array_equal(shuffle_patches(pictures, 4, keys=["x", "y", "z"], seed=1), moved)


def test_grey_has_no_colour_and_low_pass_no_detail() -> None:
    pictures = noise(2)
    assert (grey(pictures).std(axis=3) == 0).all()
    fine = pictures.copy()
    fine[:, ::2, ::2] = 255  # what differs between neighbours
    assert np.abs(np.diff(low_pass(fine, 4).astype(int), axis=1)).max() < 60
    assert low_pass(pictures, 4).shape == pictures.shape


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_control_changes_pictures_and_leaves_its_input_alone(control: object) -> None:
    pictures = noise(3)
    before = pictures.copy()
    shown = control.change(pictures, ["x", "y", "z"], 0)  # type: ignore[attr-defined]
    assert shown.shape == pictures.shape
    assert shown.dtype == np.uint8
    assert not np.array_equal(shown, pictures)
    assert np.array_equal(pictures, before)


def test_a_model_that_knows_the_class_without_the_middle_may_read_the_background() -> None:
    found = judged(background=0.93)
    assert found.lead.startswith("With half of the picture covered in its middle it still names 93 % right")
    assert "(whole pictures 95 %, chance 75 %): it may read the background." in found.lead


def test_a_model_that_is_lost_without_the_middle_is_not_accused() -> None:
    assert "tells it nothing that can be seen" in judged(background=0.6).lead


def test_texture_is_told_where_shuffled_patches_do_as_well() -> None:
    assert "texture and colour do most of it" in judged(background=0.5, texture=0.95).lead
    assert "texture" not in judged(background=0.5, texture=0.8).lead


def test_differences_are_paired_and_have_intervals() -> None:
    found = judged(background=0.6)
    row = found.results[1]
    assert row.difference == pytest.approx(-0.35)
    assert row.difference_interval.low < -0.35 < row.difference_interval.high
    assert row.accuracy in row.interval
    assert row.mcnemar_p < 1e-6


def test_controls_are_the_same_after_json() -> None:
    found = judged(background=0.8)
    assert Controls.from_dict(json.loads(json.dumps(found.to_dict()))) == found
