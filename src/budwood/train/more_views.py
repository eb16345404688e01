"""Frozen features of further views of some pictures: the flips and turns not yet used, then random augmentations.

The random ones are drawn per picture and number, so a picture's third further view is the same whoever asks; what was
computed is kept in the feature cache like any other view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from budwood.augment.transforms import Augment, AugmentSpec
from budwood.events import Listener, silent
from budwood.files import sha256_bytes, to_json
from budwood.seeding import record_key
from budwood.train.features import FeatureCache, FeatureSource, frozen_features

_STEP = "more views"
_AT_ONCE = 256  # augmented pictures held as floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewMaker:
    """Where further views come from.

    flips: flips and turns that are harmless here and not among the views already used, best first.
    augment: resolved settings of the random ones.
    """

    source: FeatureSource
    flips: tuple[int, ...]
    augment: AugmentSpec
    seed: int
    cache: FeatureCache | None = None


def further_features(
    maker: ViewMaker,
    pixels: NDArray[np.uint8],
    digests: Sequence[str],
    *,
    number: int,
    listen: Listener = silent,
) -> NDArray[np.float32]:
    """Features of ``number`` further views of each picture.

    Args:
        maker: see `ViewMaker`.
        pixels: ``[R, S, S, 3]`` uint8 at the source's input size.
        digests: the R pixel digests; they also key the random draws.
        number: views of each picture.
        listen: hears of the step ``more views``.

    Returns:
        ``[number, R, D]`` float32.
    """
    flips = maker.flips[:number]
    made = [_features(maker, pixels, digests, views=flips, listen=listen)] if flips else []
    for draw in range(number - len(flips)):
        changed, names = augmented_pixels(maker, pixels, digests, draw=draw)
        made.append(_features(maker, changed, names, views=(0,), listen=listen))
    return np.concatenate(made) if made else np.empty((0, len(digests), maker.source.num_features), np.float32)


def augmented_pixels(
    maker: ViewMaker, pixels: NDArray[np.uint8], digests: Sequence[str], *, draw: int
) -> tuple[NDArray[np.uint8], list[str]]:
    """Each picture changed by its own draw, ``[R, S, S, 3]`` uint8, and a digest of what was done to which."""
    # Neither mean nor deviation: the augmented picture itself in 0-1, not the network's input.
    bare = replace(maker.source.preprocess, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    augment = Augment(maker.augment, bare, seed=maker.seed)
    out = np.empty_like(pixels)
    for at in range(0, len(pixels), _AT_ONCE):
        some = slice(at, at + _AT_ONCE)
        images = augment(np.ascontiguousarray(pixels[some]), [record_key(d) for d in digests[some]], draw)
        out[some] = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    facts = to_json({"augment": maker.augment.model_dump(mode="json"), "seed": maker.seed, "draw": draw})
    return out, [sha256_bytes(f"{digest}{facts}".encode()) for digest in digests]


def _features(
    maker: ViewMaker, pixels: NDArray[np.uint8], digests: Sequence[str], *, views: Sequence[int], listen: Listener
) -> NDArray[np.float32]:
    return frozen_features(maker.source, pixels, digests, views=views, cache=maker.cache, listen=listen, step=_STEP)
