"""Two sets of pictures: what is alike is not told apart, what differs is, and estimates follow what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from budwood.evaluation.drift import PictureSet, compare_sets, from_alike, from_confidence, unusualness
from budwood.evaluation.plain_measures import measures_of
from budwood.evaluation.two_samples import LEAST, separation, told_apart

MEASURES = ("brightness", "contrast")


def pictures(number: int, *, seed: int, shift: float = 0.0, labels: bool = True, bright: float = 0.0) -> PictureSet:
    """Features around three class centres, answers that follow them; ``shift`` moves the features."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 3, number)
    features = (np.eye(3, 16)[targets] * 4 + random.normal(size=(number, 16)) + shift).astype(np.float32)
    logits = features[:, :3] - shift
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return PictureSet(
        paths=tuple(f"{seed}/{i}.png" for i in range(number)),
        classes=("a", "b", "c"),
        features=features,
        probs=probs.astype(np.float32),
        targets=targets if labels else np.full(number, -1),
        measures={"brightness": random.normal(100 + bright, 10, number), "contrast": random.normal(30, 5, number)},
    )


def test_separation_is_the_area_under_the_curve() -> None:
    random = np.random.default_rng(0)
    low, high = random.normal(size=60).round(1), random.normal(0.7, 1, size=40).round(1)
    expected = roc_auc_score(np.repeat([0, 1], [60, 40]), np.concatenate([low, high]))
    found = separation(low, high)
    assert found.auc == pytest.approx(expected)
    assert found.interval.low < expected < found.interval.high


def test_sets_without_overlap_are_no_point() -> None:
    found = separation(np.zeros(30), np.ones(30))
    assert found.auc == 1
    assert 0.9 < found.interval.low < 1


@pytest.mark.parametrize("repeats", [12, pytest.param(500, marks=pytest.mark.slow)])
def test_equal_sets_are_told_apart_no_oftener_than_promised(repeats: int) -> None:
    random = np.random.default_rng(1)
    alarms = 0
    for k in range(repeats):
        rows = random.normal(size=(80, 60)).astype(np.float32)
        alarms += told_apart(rows[:40], rows[40:], seed=k)[0].is_seen
    assert alarms <= (1 if repeats == 12 else 0.04 * repeats)


def test_a_shift_is_seen_and_named() -> None:
    found = compare_sets(pictures(120, seed=1), pictures(100, seed=2, shift=0.8, bright=-30))
    assert found.separation.is_seen
    assert found.measures[0].name == "brightness"
    assert "What differs most is brightness: the new ones have less of it." in found.lead
    assert not found.measures[1].is_seen


def test_pictures_like_the_old_ones_are_not_accused() -> None:
    found = compare_sets(pictures(150, seed=1), pictures(150, seed=2))
    assert not found.separation.is_seen
    assert "cannot be told apart" in found.lead
    assert found.share_unusual < 0.1
    for forecast in found.forecasts:
        assert forecast.interval is not None
        assert found.reference_accuracy in forecast.interval


def test_classes_are_compared_where_labels_are_known() -> None:
    known, new = pictures(150, seed=1), pictures(150, seed=2)
    changed = new.features.copy()
    changed[new.targets == 2, 8] += 5
    moved = PictureSet(**{**_fields(new), "features": changed})
    found = compare_sets(known, moved)
    seen = {row.name: row.separation is not None and row.separation.is_seen for row in found.classes}
    assert seen == {"a": False, "b": False, "c": True}
    assert found.new_accuracy == pytest.approx((moved.probs.argmax(axis=1) == moved.targets).mean())
    assert compare_sets(known, pictures(150, seed=3, labels=False)).classes == ()
    assert compare_sets(known, pictures(150, seed=3, labels=False)).new_accuracy is None


def _fields(pictures: PictureSet) -> dict[str, object]:
    return {name: getattr(pictures, name) for name in PictureSet.__slots__}


def test_an_outlier_is_the_most_unusual() -> None:
    known, new = pictures(200, seed=1), pictures(60, seed=2)
    changed = new.features.copy()
    changed[17] = -8
    found = unusualness(known.features, changed)
    assert found.argmax() == 17
    assert found[17] == 1
    assert 0.3 < np.median(found) < 0.7


def test_accuracy_is_estimated_from_confidence() -> None:
    random = np.random.default_rng(0)
    sure = np.stack([np.full(400, 0.9), np.full(400, 0.1)], axis=1).astype(np.float32)
    torn = np.stack([np.full(400, 0.6), np.full(400, 0.4)], axis=1).astype(np.float32)
    found = from_confidence(sure, random.random(400) < 0.9, torn)
    assert found.value == pytest.approx(0.6, abs=0.04)
    assert found.interval is not None
    assert found.interval.low < 0.6 < found.interval.high


def test_accuracy_is_weighted_by_likeness_and_silent_where_nothing_is_alike() -> None:
    right = np.arange(200) < 100
    odds = np.where(right, 0.2, 0.8)  # the new pictures are like those that were named wrong
    found = from_alike(right, odds)
    assert found.value == pytest.approx(0.25 / 4.25, abs=0.01)
    few = np.full(200, 1e-6)
    few[:10] = 0.999
    assert from_alike(right, few).value is None
    assert "as if 10 of the 200" in from_alike(right, few).note
    assert "hardly any" in from_alike(right, np.full(200, 0.01)).note


def test_estimates_for_quite_different_pictures_are_not_to_be_relied_on() -> None:
    found = compare_sets(pictures(120, seed=1), pictures(100, seed=2, shift=3))
    confidence, alike = found.forecasts
    assert "do not rely on it" in confidence.note
    assert alike.value is None


def test_too_few_pictures_are_refused() -> None:
    rows = np.zeros((LEAST - 1, 4), np.float32)
    with pytest.raises(ValueError, match="at least"):
        told_apart(rows, np.zeros((50, 4), np.float32))


def test_measures_of_a_red_picture_say_so() -> None:
    row = {"brightness": 90, "contrast": 20, "sharpness": 1, "red": 200, "green": 100, "blue": 0, "shadow": 0.1}
    found = measures_of([{**row, "width": 60, "height": 30}])
    assert found["red in its light"][0] == pytest.approx(2.0)
    assert found["width against height"][0] == 2
    assert found["pixels on the shorter side"][0] == 30
