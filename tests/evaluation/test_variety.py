"""Made pictures beside real ones: a collapse is seen, and what is alike is said to be alike."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances

from budwood.evaluation.variety import Variety, class_variety, likeness, mean_distance


def cloud(seed: int, *, rows: int = 60, spread: float = 1.0, at: int = 0) -> np.ndarray:
    centre = np.zeros(16)
    centre[at] = 5.0
    return (centre + spread * np.random.default_rng(seed).normal(size=(rows, 16))).astype(np.float32)


def test_the_mean_distance_is_that_of_all_pairs() -> None:
    rows = cloud(0, rows=9)
    assert mean_distance(rows) == pytest.approx(cosine_distances(rows)[np.triu_indices(9, 1)].mean(), abs=1e-6)
    assert mean_distance(rows[:1]) is None


def test_a_class_that_is_always_the_same_picture_has_collapsed_and_a_varied_one_has_not() -> None:
    labels = np.repeat([0, 1], 60)
    real = np.concatenate([cloud(1), cloud(2, at=1)])
    made = np.concatenate([cloud(3), cloud(4, at=1, spread=0.1)])
    rows = class_variety((real, labels), (made, labels), classes=("varied", "same"))
    found = Variety(classes=rows, made=likeness(real, made), reference=likeness(real, real))
    assert found.collapsed == ("same",)
    assert rows[0].ratio == pytest.approx(1, abs=0.3)
    assert [row["collapsed"] for row in found.to_dict()["classes"]] == [False, True]


def test_likeness_tells_made_pictures_that_are_elsewhere_from_those_that_are_few() -> None:
    real = cloud(5, rows=200)
    assert likeness(real, cloud(6, rows=200)).precision > 0.8
    elsewhere = likeness(real, cloud(7, rows=200, at=3, spread=0.1))
    assert (elsewhere.precision, elsewhere.recall) == (0, 0)
    few = likeness(real, cloud(8, rows=200, spread=0.1))  # in the middle of the real ones, and only there
    assert few.precision > 0.9
    assert few.recall < 0.1


def test_likeness_needs_more_rows_than_neighbours() -> None:
    with pytest.raises(ValueError, match="more than 3"):
        likeness(cloud(0, rows=3), cloud(0))
