"""Further views by random augmentation: pixels that belong to their names, also where classes differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from budwood.augment.spec import AugmentSpec
from budwood.data.preprocess import Preprocess
from budwood.train import more_views
from budwood.train.features import FeatureSource
from budwood.train.more_views import ViewMaker, augmented_pixels

SPEC = AugmentSpec(rotation=10, flip="none", classes={"rare": {"flip": "both", "rotation": 180}})
SOURCE = FeatureSource(
    module=nn.Identity(), num_features=3, preprocess=Preprocess(size=16), identity="none", bf16=False
)
MAKER = ViewMaker(source=SOURCE, flips=(), augment=SPEC, seed=1, classes=("common", "rare"))
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
DIGESTS = ["a", "b", "c"]


def test_same_picture_in_another_class_is_changed_by_its_settings_and_has_another_name() -> None:
    common, common_names = augmented_pixels(MAKER, PIXELS, DIGESTS, draw=0, targets=np.array([0, 0, 0]))
    mixed, mixed_names = augmented_pixels(MAKER, PIXELS, DIGESTS, draw=0, targets=np.array([0, 1, 0]))
    assert [a == b for a, b in zip(common_names, mixed_names, strict=True)] == [True, False, True]
    np.testing.assert_array_equal(common[[0, 2]], mixed[[0, 2]])
    assert (common[1] != mixed[1]).any()


def test_settings_of_classes_without_targets_are_refused_not_left_out() -> None:
    with pytest.raises(ValueError, match="hand in the targets"):
        augmented_pixels(MAKER, PIXELS, DIGESTS, draw=0)


def test_class_makes_no_difference_where_settings_are_alike() -> None:
    maker = replace(MAKER, augment=SPEC.model_copy(update={"classes": {}}))
    _, without = augmented_pixels(maker, PIXELS, DIGESTS, draw=0)
    _, given = augmented_pixels(maker, PIXELS, DIGESTS, draw=0, targets=np.array([0, 1, 0]))
    assert without == given


def test_features_of_another_way_to_augment_are_not_taken_for_these(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.array([0, 1, 0])
    _, before = augmented_pixels(MAKER, PIXELS, DIGESTS, draw=0, targets=targets)
    monkeypatch.setattr(more_views, "VERSION", more_views.VERSION + 1)
    _, after = augmented_pixels(MAKER, PIXELS, DIGESTS, draw=0, targets=targets)
    assert not set(before) & set(after)
