"""Frozen features of further views of some pictures: the flips and turns not yet used, then random augmentations.

The random ones are drawn per picture and number, so a picture's third further view is the same whoever asks; what was
computed is kept in the feature cache like any other view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.augment.transforms import VERSION, Augment, AugmentSpec
from budwood.events import Listener, silent
from budwood.files import sha256_bytes, to_json
from budwood.seeding import record_key
from budwood.train.features import FeatureCache, FeatureSource, frozen_features

_STEP = "more views"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewMaker:
    """Where further views come from.

    flips: flips and turns that are harmless here and not among the views already used, best first.
    augment: resolved settings of the random ones.
    classes: names of the classes, needed where ``augment`` has settings of single ones.
    """

    source: FeatureSource
    flips: tuple[int, ...]
    augment: AugmentSpec
    seed: int
    cache: FeatureCache | None = None
    classes: tuple[str, ...] = ()


def further_features(
    maker: ViewMaker,
    pixels: NDArray[np.uint8],
    digests: Sequence[str],
    *,
    number: int,
    targets: NDArray[np.int64] | None = None,
    listen: Listener = silent,
) -> NDArray[np.float32]:
    """Features of ``number`` further views of each picture.

    Args:
        maker: see `ViewMaker`.
        pixels: ``[R, S, S, 3]`` uint8 at the source's input size.
        digests: the R pixel digests; they also key the random draws.
        number: views of each picture.
        targets: ``[R]`` class indices, needed where the settings differ between classes.
        listen: hears of the step ``more views``.

    Returns:
        ``[number, R, D]`` float32.
    """
    flips = maker.flips[:number]
    made = [_features(maker, pixels, digests, views=flips, listen=listen)] if flips else []
    for draw in range(number - len(flips)):
        changed, names = augmented_pixels(maker, pixels, digests, draw=draw, targets=targets)
        made.append(_features(maker, changed, names, views=(0,), listen=listen))
    return np.concatenate(made) if made else np.empty((0, len(digests), maker.source.num_features), np.float32)


def augmented_pixels(
    maker: ViewMaker,
    pixels: NDArray[np.uint8],
    digests: Sequence[str],
    *,
    draw: int,
    targets: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Each picture changed by its own draw, ``[R, S, S, 3]`` uint8, and a digest of what was done to which."""
    augment = Augment(maker.augment, maker.source.preprocess, seed=maker.seed, classes=maker.classes)
    changed = augment.pixels(pixels, [record_key(digest) for digest in digests], draw, targets=targets)
    facts = {"augment": maker.augment.model_dump(mode="json"), "seed": maker.seed, "draw": draw, "version": VERSION}
    if targets is None or not maker.augment.classes:
        done = [to_json(facts)] * len(digests)
    else:  # the same picture in another class may have been changed by other settings
        done = [to_json({**facts, "class": maker.classes[int(k)]}) for k in targets]
    return changed, [sha256_bytes(f"{digest}{what}".encode()) for digest, what in zip(digests, done, strict=True)]


def _features(
    maker: ViewMaker, pixels: NDArray[np.uint8], digests: Sequence[str], *, views: Sequence[int], listen: Listener
) -> NDArray[np.float32]:
    return frozen_features(maker.source, pixels, digests, views=views, cache=maker.cache, listen=listen, step=_STEP)
