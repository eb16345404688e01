"""Stages without their frozen start: what a network's frozen part makes of the pictures is computed once and kept.

`Shortener` decides for a stage whether that can be done and pays, cuts the network, and hands the training loop the
rest of it with kept activations as inputs. Every decision leaves a `CacheUse` with its reason for the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from budwood import cache
from budwood.augment.spec import AugmentSpec
from budwood.augment.transforms import VERSION
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog
from budwood.errors import OutputError
from budwood.events import Listener, Warned
from budwood.files import sha256_bytes, to_json
from budwood.models.build import Classifier
from budwood.models.cut import Cut, CutError, checked_cut
from budwood.prepare import digests_of
from budwood.train.boundary import Keeping, cache_activations
from budwood.train.feed import ActivationFeed, Feed, PixelFeed
from budwood.train.history import History
from budwood.train.kept_features import HeadOnFeatures, KeptFeatures
from budwood.train.pool import Pool, border_of
from budwood.train.pool_views import pictures_of
from budwood.train.stage_input import Shorten
from budwood.train.stages import Stage, TrainSpec
from budwood.train.worth import allowed_bytes, count_work, measure_work, predict_saving

_TIMED_PICTURES = 8
# (a part, views) -> features [V, N, D] of the backbone as it came
Features = Callable[[PixelSet, tuple[int, ...]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What was decided for one stage.

    predicted_ratio: how many times as fast the stage is with kept activations, by forecast; 1 where nothing is kept.
    real_ratio: the same from measured seconds; None where nothing is kept, or other trainings share it. seconds: what
    making them took; bytes: on the disk. frozen_seconds: what the frozen start takes for one picture, where measured.
    """

    stage: str
    use: bool
    reason: str
    predicted_ratio: float = 1.0
    real_ratio: float | None = None
    bytes: int = 0
    seconds: float = 0.0
    frozen_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)

    def measured(self, history: History, *, pictures: int) -> CacheUse:
        """With the real ratio, from the epochs that ``pictures`` pictures took on kept activations."""
        if not self.use or not self.frozen_seconds:
            return self
        spent = sum(row.seconds for row in history.rows)
        without = spent + len(history.rows) * pictures * self.frozen_seconds
        return replace(self, real_ratio=without / max(spent + self.seconds, 1e-9))


@dataclass(frozen=True, kw_only=True)
class Shortener:
    """What all stages of a training share.

    pool: of a sweep over freeze depths; the stage that first trains the backbone takes its pictures from there.
    """

    catalog: Catalog
    spec: TrainSpec
    preprocess: Preprocess
    features: Features
    views: tuple[int, ...]
    input_dropout: float
    seed: int
    bf16: bool
    listen: Listener
    pool: Pool | None = None

    def of(
        self,
        stage: Stage,
        train: PixelFeed,
        val: PixelFeed | None,
        *,
        augment: AugmentSpec,
        changed: bool,
        told: list[CacheUse],
    ) -> Shorten | None:
        """How the loop is to shorten ``stage``; None where it takes the pictures as they are.

        Args:
            train, val: the stage's own pictures. augment: what is done to the former.
            changed: whether the backbone was trained in an earlier stage.
            told: gets what was decided.
        """
        if self.pool and not stage.is_head and not changed and not self._obstacle(augment):
            return self._pooled(self.pool, stage, train.part, val.part if val else None, told)
        if stage.trains == "all" and not stage.frozen:
            return None

        def shorten(model: Classifier) -> tuple[nn.Module, Feed, Feed | None]:
            if stage.is_head and not changed and not self._obstacle(augment, on_features=True):
                return self._on_features(model, stage, train, val, told)
            found = self._at_border(model, stage, train, val, augment, told)
            return found or (model, train, val)

        return shorten

    def _obstacle(self, augment: AugmentSpec, *, on_features: bool = False) -> str:
        return obstacle(self.spec, augment, input_dropout=self.input_dropout, on_features=on_features)

    def _pooled(self, pool: Pool, stage: Stage, train: PixelSet, val: PixelSet | None, told: list[CacheUse]) -> Shorten:
        """What a sweep keeps for all its trainings, or the same versions of the pictures."""

        def shorten(model: Classifier) -> tuple[nn.Module, Feed, Feed | None]:
            found = pool.share(model, stage, train, val)
            told.append(
                CacheUse(
                    stage=stage.title,
                    use=found.link.use,
                    reason=found.link.reason,
                    predicted_ratio=found.link.predicted_ratio if found.link.use else 1.0,
                    bytes=found.link.bytes if found.link.use else 0,
                    seconds=found.seconds,
                )
            )
            return found.network, found.train, found.val

        return shorten

    def _on_features(
        self, model: Classifier, stage: Stage, train: PixelFeed, val: PixelFeed | None, told: list[CacheUse]
    ) -> tuple[nn.Module, Feed, Feed | None]:
        """Features of the backbone as it came, in the training views: shared with the solved head and the opinion."""
        kept = ActivationFeed(kept=KeptFeatures(self.features(train.part, self.views)), part=train.part)
        judged = val and ActivationFeed(kept=KeptFeatures(self.features(val.part, (0,))), part=val.part)
        each = _frozen_seconds(model, train)
        count, size = len(train.part), kept.kept.batch(np.zeros(1, np.int64), np.zeros(1, np.int64)).nbytes
        told.append(
            CacheUse(
                stage=stage.title,
                use=True,
                reason=f"used: features of the whole frozen backbone in {len(self.views)} views, computed once",
                predicted_ratio=max(1.0, stage.epochs / len(self.views)),
                bytes=size * count * len(self.views),
                seconds=each * count * len(self.views),
                frozen_seconds=each,
            )
        )
        return HeadOnFeatures(model), kept, judged

    def _at_border(
        self,
        model: Classifier,
        stage: Stage,
        train: PixelFeed,
        val: PixelFeed | None,
        augment: AugmentSpec,
        told: list[CacheUse],
    ) -> tuple[nn.Module, Feed, Feed | None] | None:
        """The part that trains, with activations at its border; None where that cannot be done or does not pay."""
        border, obstacle = border_of(model, stage), self._obstacle(augment)
        if not border:
            return None
        if obstacle:
            told.append(CacheUse(stage=stage.title, use=False, reason=f"not used: {obstacle}"))
            return None
        example = torch.zeros(2, 3, self.preprocess.size, self.preprocess.size)
        example = example.to(next(model.parameters()).device)
        folder, views = cache.boundaries_folder(), min(self.spec.cache_views, stage.epochs)
        try:
            parts = checked_cut(model, border, example)
            verdict = predict_saving(
                count_work(parts, example),
                shape=parts.shape,
                pictures=len(train.part),
                val_pictures=len(val.part) if val else 0,
                epochs=stage.epochs,
                views=views,
                budget=allowed_bytes(folder, budget=int(cache.limit())),
            )
            use = CacheUse(
                stage=stage.title,
                use=verdict.use or self.spec.cache == "on",
                reason=verdict.reason,
                predicted_ratio=verdict.predicted_ratio,
            )
            found = self._kept(parts, train, val, augment, views=views, use=use) if use.use else None
        except (CutError, OutputError) as error:
            if self.spec.cache == "on":
                self.listen(Warned(text=f"activations cannot be kept for {stage.title}: {error}"))
            told.append(CacheUse(stage=stage.title, use=False, reason=f"not used: {error}"))
            return None
        told.append(found[1] if found else use)
        return found[0] if found else None

    def _kept(
        self,
        parts: Cut,
        train: PixelFeed,
        val: PixelFeed | None,
        augment: AugmentSpec,
        *,
        views: int,
        use: CacheUse,
    ) -> tuple[tuple[nn.Module, Feed, Feed | None], CacheUse]:
        keeping = Keeping(
            folder=cache.boundaries_folder(),
            budget=int(cache.limit()),
            preprocess=self.preprocess,
            bf16=self.bf16,
        )
        sets = []
        for feed, number in ((train, views), (val, 1)):
            if feed is None:
                continue
            pictures = pictures_of(
                feed.part,
                digests_of(self.catalog, feed.part.rows),
                transform=feed.transform,
                preprocess=self.preprocess,
                num_views=number,
                views_key=draws_key(augment, feed.part, seed=self.seed, classes=self.catalog.classes),
            )
            sets.append(cache_activations(parts, pictures, keeping, listen=self.listen))
        feeds: list[Feed | None] = [
            ActivationFeed(kept=kept, part=feed.part)
            for kept, feed in zip(sets, [f for f in (train, val) if f], strict=True)
        ]
        timed = measure_work(parts, train.plain(np.arange(min(_TIMED_PICTURES, len(train.part)))), repeats=2)
        use = replace(
            use,
            bytes=sum(kept.num_bytes for kept in sets),
            seconds=sum(kept.seconds for kept in sets),
            frozen_seconds=timed.prefix,
        )
        first = feeds[0]
        assert first is not None
        return (parts.tail, first, feeds[1] if val else None), use


def obstacle(spec: TrainSpec, augment: AugmentSpec, *, input_dropout: float, on_features: bool = False) -> str:
    """Why activations cannot be kept at all; empty where they can.

    Args:
        augment: what is done in the stage. on_features: the whole backbone is frozen, and what it makes is trained on.
    """
    if spec.cache == "off":
        return 'train.cache is "off"'
    if input_dropout:
        return "dropout on the input changes what the frozen start sees in every step"
    if not on_features and augment.cutmix + augment.mixup > 0:
        return "batches are mixed (cutmix, mixup), which can only be done to pictures"
    return ""


def draws_key(augment: AugmentSpec, part: PixelSet, *, seed: int, classes: Sequence[str]) -> str:
    """A text that differs whenever draws of the augmentation for pictures with the part's pixels would."""
    own = [classes[k] if classes[k] in augment.classes else "" for k in part.labels] if augment.classes else []
    drawn = sha256_bytes(to_json([[part.paths[i] for i in part.rows], own]).encode())
    facts = {"augment": augment.model_dump(mode="json"), "seed": seed, "version": VERSION, "pictures": drawn}
    return to_json(facts)


def _frozen_seconds(model: Classifier, train: PixelFeed) -> float:
    """What the whole frozen backbone takes for one picture, as a loop without a cache would run it."""
    images = train.plain(np.arange(min(_TIMED_PICTURES, len(train.part))))
    images = images.to(next(model.parameters()).device, memory_format=torch.channels_last)
    was_training = model.training
    model.eval()
    best = float("inf")
    with torch.no_grad():
        for _ in range(2):
            start = time.perf_counter()
            model.features(images)
            best = min(best, time.perf_counter() - start)
    model.train(was_training)
    return best / len(images)
