"""`Shortener`: when a stage does without its frozen start, what it trains on then, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.errors import OutputError
from budwood.events import Warned
from budwood.models.backbones import load_backbone
from budwood.models.build import Classifier, attach_head
from budwood.shortening import CacheUse, Shortener, draws_key, obstacle
from budwood.train.boundary import Activations
from budwood.train.chain import Link
from budwood.train.feed import ActivationFeed, PixelFeed
from budwood.train.history import EpochRow, History
from budwood.train.kept_features import KeptFeatures
from budwood.train.pool import Shared
from budwood.train.pool_views import ChosenRows
from budwood.train.stages import Stage, TrainSpec

PREPROCESS = Preprocess(size=32)
PLAIN = AugmentSpec(rotation=10, flip="horizontal", cutmix=0)
LAST = Stage(trains=1, epochs=6)


@pytest.fixture
def feeds() -> tuple[PixelFeed, PixelFeed]:
    """Twelve noisy pictures to train on and six to judge by."""
    pixels = np.random.default_rng(0).integers(0, 256, (18, 32, 32, 3), dtype=np.uint8)
    paths = tuple(f"{i}.png" for i in range(18))
    transform = Augment(PLAIN, PREPROCESS, seed=0)
    train, val = (
        PixelSet(pixels=pixels, targets=np.arange(18) % 3, paths=paths, rows=rows)
        for rows in (np.arange(12), np.arange(12, 18))
    )
    return tuple(PixelFeed(part=part, transform=transform, preprocess=PREPROCESS) for part in (train, val))


@pytest.fixture
def tiny() -> Callable[[], Classifier]:
    """An untrained three-class network."""

    def make() -> Classifier:
        torch.manual_seed(0)
        return attach_head(load_backbone("test_efficientnet", pretrained=False), num_classes=3)

    return make


def shortener(feeds: tuple[PixelFeed, PixelFeed], **changes: Any) -> Shortener:
    records = [SimpleNamespace(pixel_digest=f"digest {i}") for i in range(18)]
    settings: dict[str, Any] = {
        "catalog": SimpleNamespace(records=records, classes=("a", "b", "c")),
        "spec": TrainSpec(cache="on", cache_views=2),
        "preprocess": PREPROCESS,
        "features": lambda part, views: np.zeros((len(views), len(part), 5), np.float32),
        "views": (0, 4),
        "input_dropout": 0.0,
        "seed": 0,
        "bf16": False,
        "listen": lambda event: None,
    }
    return Shortener(**{**settings, **changes})


def carried_out(
    made: Shortener, model: Classifier, stage: Stage, feeds: tuple[PixelFeed, PixelFeed], **changes: Any
) -> tuple[Any, CacheUse | None]:
    told: list[CacheUse] = []
    settings = {"augment": PLAIN, "changed": False, **changes}
    shorten = made.of(stage, *feeds, told=told, **settings)
    found = shorten(model) if shorten else None
    return found, told[0] if told else None


def test_a_stage_that_trains_everything_takes_the_pictures(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier]
) -> None:
    assert carried_out(shortener(feeds), tiny(), Stage(trains="all"), feeds) == (None, None)


def test_a_frozen_start_is_replaced_by_what_it_makes(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier]
) -> None:
    (network, train, val), use = carried_out(shortener(feeds), tiny(), LAST, feeds)
    assert isinstance(train, ActivationFeed)
    assert isinstance(train.kept, Activations)
    assert train.kept.num_views == 2
    assert val.kept.num_views == 1
    assert use.use
    assert use.bytes > 0
    assert use.frozen_seconds > 0
    assert network(train.plain(np.arange(3))).shape == (3, 3)


def test_a_head_trains_on_features_unless_the_backbone_changed(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier]
) -> None:
    head = Stage(trains="head", epochs=4)
    (_, train, _), _ = carried_out(shortener(feeds), tiny(), head, feeds)
    assert isinstance(train.kept, KeptFeatures)
    (_, train, _), _ = carried_out(shortener(feeds), tiny(), head, feeds, changed=True)
    assert isinstance(train.kept, Activations)


@pytest.mark.parametrize(
    ("spec", "augment", "input_dropout", "words"),
    [
        (TrainSpec(cache="off"), PLAIN, 0.0, 'train.cache is "off"'),
        (TrainSpec(), PLAIN, 0.1, "dropout on the input"),
        (TrainSpec(), AugmentSpec(cutmix=0.5), 0.0, "batches are mixed"),
        (TrainSpec(), AugmentSpec(cutmix=0, mixup=0.1), 0.0, "batches are mixed"),
    ],
    ids=["off", "input dropout", "cutmix", "mixup"],
)
def test_what_changes_before_the_border_keeps_the_pictures_and_says_why(
    feeds: tuple[PixelFeed, PixelFeed],
    tiny: Callable[..., Classifier],
    spec: TrainSpec,
    augment: AugmentSpec,
    input_dropout: float,
    words: str,
) -> None:
    assert words in obstacle(spec, augment, input_dropout=input_dropout)
    model, made = tiny(), shortener(feeds, spec=spec, input_dropout=input_dropout, pool=_Pool())
    found, use = carried_out(made, model, LAST, feeds, augment=augment)
    assert found == (model, *feeds)
    assert not use.use
    assert words in use.reason


def test_features_do_not_mind_mixing_for_heads_cannot_mix() -> None:
    assert not obstacle(TrainSpec(), AugmentSpec(cutmix=1), input_dropout=0, on_features=True)


class _Pool:
    """Stands in for a pool: remembers what it was asked for."""

    def __init__(self, *, use: bool = True) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.link = Link(border="backbone.x", use=use, reason="kept: why", predicted_ratio=3.0, bytes=7)

    def share(self, model: Classifier, stage: Stage, train: PixelSet, val: PixelSet | None) -> Shared:
        self.asked.append((model, stage, train, val))
        values = KeptFeatures(np.zeros((1, 12, 5), np.float32))
        feed = ActivationFeed(kept=ChosenRows(values, np.arange(12)), part=train)
        return Shared(nn.Identity(), feed, feed if val else None, self.link, 0.5)


@pytest.mark.parametrize("stage", [LAST, Stage(trains="all"), Stage(frozen="1/2")], ids=["last", "all", "share"])
def test_every_depth_of_a_sweep_takes_its_pictures_from_the_pool(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier], stage: Stage
) -> None:
    pool, model = _Pool(), tiny()
    (network, train, _), use = carried_out(shortener(feeds, pool=pool), model, stage, feeds)
    assert isinstance(network, nn.Identity)
    assert isinstance(train.kept, ChosenRows)
    assert pool.asked == [(model, stage, feeds[0].part, feeds[1].part)]
    assert (use.use, use.reason, use.predicted_ratio, use.bytes, use.seconds) == (True, "kept: why", 3.0, 7, 0.5)


def test_what_the_pool_does_not_keep_is_told_as_such(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier]
) -> None:
    _, use = carried_out(shortener(feeds, pool=_Pool(use=False)), tiny(), LAST, feeds)
    assert (use.use, use.predicted_ratio, use.bytes) == (False, 1.0, 0)


@pytest.mark.parametrize(
    ("stage", "changed"), [(LAST, True), (Stage(trains="head"), False)], ids=["backbone changed", "head"]
)
def test_a_pool_is_for_the_stage_that_first_trains_the_backbone(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier], stage: Stage, changed: bool
) -> None:
    pool = _Pool()
    carried_out(shortener(feeds, pool=pool), tiny(), stage, feeds, changed=changed)
    assert not pool.asked


def test_a_full_disk_costs_time_and_is_said(
    feeds: tuple[PixelFeed, PixelFeed], tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*args: Any, **settings: Any) -> Activations:
        raise OutputError("the disk is full")

    monkeypatch.setattr("budwood.shortening.cache_activations", full)
    heard: list[Any] = []
    model = tiny()
    found, use = carried_out(shortener(feeds, listen=heard.append), model, LAST, feeds)
    assert found == (model, *feeds)
    assert use.reason == "not used: the disk is full"
    assert any(isinstance(event, Warned) for event in heard)


def test_real_ratio_counts_what_the_frozen_start_would_have_taken() -> None:
    row = EpochRow(
        stage="s",
        epoch=1,
        lr=0.1,
        loss=1.0,
        accuracy=0.5,
        val_loss=1.0,
        val_accuracy=0.5,
        train_loss=1.0,
        train_accuracy=0.5,
        seconds=2.0,
        images_per_second=5.0,
        best=True,
    )
    use = CacheUse(stage="s", use=True, reason="", seconds=1.0, frozen_seconds=0.1)
    assert use.measured(History(rows=(row, row)), pictures=10).real_ratio == pytest.approx((4 + 2) / (4 + 1))
    shared = CacheUse(stage="s", use=True, reason="", seconds=1.0)
    assert shared.measured(History(rows=(row,)), pictures=10).real_ratio is None


def test_draws_are_keyed_by_all_that_they_depend_on(feeds: tuple[PixelFeed, PixelFeed]) -> None:
    part = feeds[0].part
    renamed = replace(part, paths=("moved.png", *part.paths[1:]))
    first = draws_key(PLAIN, part, seed=0, classes=("a", "b", "c"))
    others = [(PLAIN, part, 1), (AugmentSpec(), part, 0), (PLAIN, renamed, 0)]
    assert len({first, *(draws_key(a, p, seed=s, classes=("a", "b", "c")) for a, p, s in others)}) == 4


def test_draws_of_a_class_with_settings_of_its_own_are_not_taken_for_a_relabelled_picture(
    feeds: tuple[PixelFeed, PixelFeed],
) -> None:
    part = feeds[0].part
    rare = PLAIN.with_overrides({"classes": {"b": {"rotation": 90}}})

    def key(augment: AugmentSpec, old: int, new: int) -> str:
        targets = np.where(np.arange(18) == old, new, part.targets)
        return draws_key(augment, replace(part, targets=targets), seed=0, classes=("a", "b", "c"))

    as_it_was = key(rare, 0, 0)
    assert key(rare, 0, 1) != as_it_was, "picture 0 became one of the class with other settings"
    assert key(rare, 1, 0) != as_it_was, "picture 1 left it"
    assert key(rare, 0, 2) == as_it_was, "equal settings draw alike"
    assert key(PLAIN, 0, 1) == key(PLAIN, 0, 0)
