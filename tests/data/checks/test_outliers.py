"""Outliers in feature space: strangers are found, alone or several of one kind, and ordinary pictures are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.data.checks import outliers
from budwood.data.checks.outliers import OUTLYING, find_outliers, nearest_class_likeness, outlyingness
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, ImageRecord

Features = NDArray[np.float32]


def ordinary(count: int, seed: int = 0) -> tuple[Features, NDArray[np.int64]]:
    """Three classes around centres of their own, 32 features."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return (3 * np.eye(3, 32)[labels] + rng.normal(0, 0.3, (count, 32))).astype(np.float32), labels


def strangers(count: int, *, at: int, seed: int = 1) -> Features:
    """Pictures of one kind that is none of the classes."""
    near = np.random.default_rng(seed).normal(0, 0.3, (count, 32))
    return (3 * np.eye(32)[np.full(count, at)] + near).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3, 6], ids=lambda n: f"{n} of one kind")
def test_strangers_are_found_and_nothing_else(count: int) -> None:
    features, labels = ordinary(300)
    features = np.concatenate([features, strangers(count, at=10)])
    labels = np.concatenate([labels, np.arange(count) % 3])
    assert np.flatnonzero(outlyingness(features, labels) > OUTLYING).tolist() == list(range(300, 300 + count))


def test_a_wrong_label_is_no_outlier() -> None:
    features, labels = ordinary(300)
    labels[:3] = (labels[:3] + 1) % 3
    assert (outlyingness(features, labels) <= OUTLYING).all()


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_pictures_are_not_flagged(seed: int) -> None:
    assert (outlyingness(*ordinary(500, seed)) > OUTLYING).sum() <= 1


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = ordinary(100)
    at_once = nearest_class_likeness(features, labels)
    monkeypatch.setattr(outliers, "_BLOCK", 7)
    np.testing.assert_allclose(nearest_class_likeness(features, labels), at_once, atol=1e-6)


def test_no_picture_vouches_for_itself() -> None:
    apart = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(nearest_class_likeness(apart, np.zeros(4, np.int64)), 0, atol=1e-6)


def test_equal_pictures_are_no_outliers() -> None:
    assert (outlyingness(np.ones((50, 4), np.float32), np.arange(50) % 2) < OUTLYING).all()


def test_the_finding_names_the_picture(
    many: Callable[..., list[ImageRecord]], catalog_of: Callable[..., Catalog]
) -> None:
    catalog = catalog_of(*many(200))
    features, _ = ordinary(200)
    features[17] = strangers(1, at=20)[0]
    probs = np.full((200, 2), 0.5, np.float32)
    folds = np.arange(200) % 5
    paths = tuple(r.path for r in catalog.records)
    opinion = Opinion(
        paths=paths, classes=catalog.classes, features=features, probs=probs, folds=folds, backbone="lite0"
    )
    (finding,) = find_outliers(catalog, opinion)
    assert finding.paths == (paths[17],)
    assert "lite0" in finding.evidence
    assert find_outliers(catalog_of(*catalog.records[:30]), opinion) == []  # too few to know what is usual
