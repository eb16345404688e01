"""Orientation: free exactly where turned features cannot be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from budwood.data.orientation import preferred_orientation


def features(num: int, *, width: int, turn: float, mirror: float, seed: int = 0) -> np.ndarray:
    """Random features with a direction per view, as strong as asked."""
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(num, 1, width)) + 0.5 * generator.normal(size=(num, 8, width))
    directions = generator.normal(size=(4, width))
    flip = generator.normal(size=width)
    for view in range(8):
        made[:, view] += turn * directions[view % 4] + mirror * flip * (view >= 4)
    return made.astype(np.float32)


@pytest.mark.parametrize(
    ("turn", "mirror", "turn_free", "mirror_free"),
    [(0.0, 0.0, True, True), (0.5, 0.0, False, True), (0.0, 0.5, True, False), (0.5, 0.5, False, False)],
)
def test_orientation_is_free_exactly_where_nothing_tells_it(
    turn: float, mirror: float, turn_free: bool, mirror_free: bool
) -> None:
    result = preferred_orientation(features(150, width=40, turn=turn, mirror=mirror))
    assert (result.turn_free, result.mirror_free) == (turn_free, mirror_free)
    assert "of 150 pictures" in result.evidence


def test_few_pictures_do_not_prove_that_there_is_no_up() -> None:
    result = preferred_orientation(features(12, width=40, turn=0.0, mirror=0.0))
    assert not result.mirror_free
    assert not result.turn_free


def test_upside_down_alone_keeps_turns_from_being_free() -> None:
    made = features(150, width=40, turn=0.0, mirror=0.0)
    made[:, 2:4, 0] += 1
    result = preferred_orientation(made)
    assert result.turn_accuracy < 0.35
    assert result.half_turn_accuracy > 0.6
    assert not result.turn_free


@pytest.mark.parametrize("shape", [(10, 4, 8), (4, 8, 8), (10, 8)])
def test_orientation_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected features \[n >= 5, 8, D\]"):
        preferred_orientation(np.zeros(shape, np.float32))
