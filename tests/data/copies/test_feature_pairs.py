"""Near-duplicates by features: far nearer than all others, and alike in light."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.data.copies import feature_pairs
from budwood.data.copies.feature_pairs import alike_pairs

PATHS = tuple(f"a/{n:02}.jpg" for n in range(40))


def scene() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Forty different pictures; 7 is a copy of 3 in features and light, 9 is like 5 in features alone."""
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(size=(40, 64))).astype(np.float32)
    cells = rng.integers(0, 256, (40, 8, 8))
    features[7] = features[3] + 0.02
    features[9] = features[5] + 0.02
    cells[7] = np.clip(cells[3] + 3, 0, 255)
    return features, np.repeat(np.repeat(cells, 8, 1), 8, 2).astype(np.uint8)


def test_only_the_copy_that_also_looks_alike_is_tied() -> None:
    (pair,) = alike_pairs(PATHS, *scene())
    assert (pair.first, pair.second) == ("a/03.jpg", "a/07.jpg")
    assert 0.99 < pair.similarity <= 1


def test_the_order_of_the_pictures_does_not_matter() -> None:
    features, planes = scene()
    turned = alike_pairs(PATHS[::-1], features[::-1], planes[::-1])
    assert [(p.first, p.second) for p in turned] == [("a/03.jpg", "a/07.jpg")]


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_pairs, "_BLOCK", 7)
    assert [(p.first, p.second) for p in alike_pairs(PATHS, *scene())] == [("a/03.jpg", "a/07.jpg")]


def test_pictures_that_are_all_alike_are_not_tied() -> None:
    """Frames of one film: each is near to many, none far nearer to one."""
    rng = np.random.default_rng(1)
    features, planes = scene()
    crowd = features[:1] + rng.normal(0, 0.01, features.shape).astype(np.float32)
    light = np.clip(planes[:1] + rng.integers(0, 3, planes.shape), 0, 255).astype(np.uint8)
    assert alike_pairs(PATHS, crowd, light) == ()


def test_copies_of_one_file_do_not_hide_a_turned_copy() -> None:
    features, planes = scene()
    paths = (*PATHS, *(f"b/{n:02}.jpg" for n in range(20)))
    features, planes = (np.concatenate([values, np.repeat(values[3:4], 20, 0)]) for values in (features, planes))
    assert [(p.first, p.second) for p in alike_pairs(paths, features, planes)] == [("a/03.jpg", "a/07.jpg")]


def test_few_pictures_have_no_rivals_and_no_pairs() -> None:
    features, planes = scene()
    assert alike_pairs(PATHS[:8], features[:8], planes[:8]) == ()
    assert alike_pairs((), features[:0], planes[:0]) == ()


def test_arrays_of_other_pictures_are_refused() -> None:
    features, planes = scene()
    with pytest.raises(ValueError, match="do not belong together"):
        alike_pairs(PATHS, features[:30], planes)
