"""Looks at all usable pictures with a frozen network and forms the `Opinion` that the checks are handed.

Every probability is out-of-fold, and pictures that belong together share a fold. An opinion is for reports, for the
review, and for cleaning the *training* part: the pictures of val and test take part in it with their labels, so
nothing may be dropped from or relabelled in these parts because of it, or the score would be of easier pictures.
Nothing is trained that ships, and no picture is judged here: that is for `data.checks`.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from budwood import cache
from budwood.allowed_views import MIRROR_VIEWS
from budwood.data.loader import PixelSet
from budwood.data.opinion import Opinion
from budwood.data.preprocess import Preprocess
from budwood.errors import DataError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.models.backbones import Backbone
from budwood.models.build import open_backbone
from budwood.prepare import Dataset, digests_of, head_folds, open_pixels, working_preprocess
from budwood.recipe import Recipe
from budwood.train.features import FeatureCache, FeatureSource, frozen_features
from budwood.train.heads import choose_head

MIDDLE_SHARE = (
    0.55  # of the area; a subject that fills the frame still shows in what is left, so compare with the whole
)
_CHUNK = 256  # pictures whose colours are measured at once: some 80 MB at 160 px


class LookSpec(BaseModel):
    """How the pictures are looked at.

    size: the longest side in pixels, unless the recipe fixes ``model.size``; 224 instead of 160 costs twice the time.
    mirror: also look at mirror images when probabilities are formed. border: also ask what the border alone tells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=160, ge=32, le=1024)
    mirror: bool = True
    border: bool = True


class BlankMiddle(nn.Module):
    """A network that is shown pictures with their middle blanked: filled with the mean of what lies around it.

    The fill must come from the border alone: the mean of the whole picture would tell the colour of the middle.
    """

    def __init__(self, network: nn.Module, *, size: int) -> None:
        super().__init__()
        self.network = network
        ring = ring_width(size)
        middle = torch.zeros(size, size, dtype=torch.bool)
        middle[ring:-ring, ring:-ring] = True
        self.register_buffer("middle", middle, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, S, S]`` -> what the network makes of them without their middles."""
        middle: Tensor = self.get_buffer("middle")
        # Not the sum of all less that of the middle: the rounding would let a trace of the middle through.
        border = images.float().masked_fill(middle, 0.0).sum((2, 3)) / (~middle).sum()
        blanked = torch.where(middle, border[:, :, None, None].to(images.dtype), images)
        out: Tensor = self.network(blanked.contiguous(memory_format=torch.channels_last))
        return out


def ring_width(size: int) -> int:
    """How many pixels the border of a square picture is wide."""
    return max(1, round(size * (1 - math.sqrt(MIDDLE_SHARE)) / 2))


def form_opinion(
    dataset: Dataset,
    recipe: Recipe,
    *,
    backbone: Backbone | None = None,
    spec: LookSpec | None = None,
    bf16: bool = False,
    listen: Listener = silent,
) -> Opinion:
    """What the recipe's network thinks of each usable picture without having been trained on it.

    A second call on the same pictures takes the features from the cache. Equal calls give equal opinions.

    Args:
        dataset: scanned and audited; the rows of the opinion are in the order of ``dataset.catalog.records``.
        recipe: gives the network, the heads' settings and the seed.
        backbone: the recipe's network where it is open already.
        bf16: compute features in bfloat16, as `machine.probe` advises.
        listen: hears of the steps ``pixels``, ``look``, ``look at borders`` and ``opinion``.

    Raises:
        DataError: fewer than two classes have pictures. SplitError: no class has two pictures. BackboneError.
    """
    spec = spec or LookSpec()
    catalog = dataset.catalog
    if len({record.label for record in catalog.records}) < 2:
        raise DataError("an opinion on labels needs usable pictures of two classes; check the findings of the scan")
    backbone = backbone or open_backbone(recipe.model)
    preprocess = look_preprocess(dataset, recipe, backbone, spec)
    pixels = open_pixels(dataset, preprocess, listen=listen)
    source = FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=preprocess,
        identity=f"{backbone.name} {backbone.source} {backbone.digest}",
        bf16=bf16,
    )
    views = MIRROR_VIEWS if spec.mirror else MIRROR_VIEWS[:1]
    features = _features(source, pixels, dataset, views=views, step="look", listen=listen)
    folds = head_folds(dataset, pixels, num_folds=recipe.head.folds, seed=recipe.seed)
    border = None
    if spec.border:
        border = _features(blanked(source), pixels, dataset, views=(0,), step="look at borders", listen=listen)
    probs, border_probs = _left_out(features, border, pixels, folds, recipe=recipe, dataset=dataset, listen=listen)
    return Opinion(
        paths=pixels.paths,
        classes=catalog.classes,
        features=features[0],
        probs=probs,
        folds=folds,
        border_probs=border_probs,
        border_colours=border_colours(pixels.pixels) if spec.border else None,
        backbone=f"{backbone.name} (untrained)" if backbone.untrained else backbone.name,
    )


def look_preprocess(dataset: Dataset, recipe: Recipe, backbone: Backbone, spec: LookSpec) -> Preprocess:
    """The run's own input, but no larger than ``spec.size`` unless the recipe or the network fixes the size."""
    chosen = working_preprocess(dataset, recipe, backbone)
    size = backbone.fixed_size or (chosen.size if recipe.model.size else min(chosen.size, spec.size))
    # The store was filled before, perhaps for a network with a larger input: its side is what can be had.
    return replace(chosen, size=size, store_side=dataset.store.side)


def blanked(source: FeatureSource) -> FeatureSource:
    """The source that sees borders only; its rows have a place of their own in the cache."""
    return replace(
        source,
        module=BlankMiddle(source.module, size=source.preprocess.size),
        identity=f"{source.identity}, middle {MIDDLE_SHARE} blanked",
    )


def border_colours(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The plain colours of the border of ``[N, S, S, 3]`` uint8 pictures: ``[N, 27]`` float32, 0-255.

    Means of the four corners and the four edges between them, three channels each; then the three channels' standard
    deviations over the whole border.
    """
    ring = ring_width(pixels.shape[1])
    spans = (slice(0, ring), slice(ring, -ring), slice(-ring, None))
    out = np.empty((len(pixels), 27), np.float32)
    for start in range(0, len(pixels), _CHUNK):
        part = pixels[start : start + _CHUNK].astype(np.float32)
        cells = [part[:, rows, columns].reshape(len(part), -1, 3) for rows in spans for columns in spans]
        del cells[4]  # the middle
        spread = np.concatenate(cells, axis=1).std(axis=1)
        out[start : start + _CHUNK] = np.concatenate([*(cell.mean(axis=1) for cell in cells), spread], axis=1)
    return out


def _features(
    source: FeatureSource, pixels: PixelSet, dataset: Dataset, *, views: tuple[int, ...], step: str, listen: Listener
) -> NDArray[np.float32]:
    return frozen_features(
        source,
        pixels.pixels,
        digests_of(dataset.catalog, pixels.rows),
        views=views,
        cache=FeatureCache(cache.features_folder()),
        listen=listen,
        step=step,
    )


def _left_out(
    features: NDArray[np.float32],
    border: NDArray[np.float32] | None,
    pixels: PixelSet,
    folds: NDArray[np.int64],
    *,
    recipe: Recipe,
    dataset: Dataset,
    listen: Listener,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Out-of-fold probabilities of the whole pictures, and of their borders."""
    started = time.monotonic()
    asked = [features] if border is None else [features, border]
    listen(StepStarted(step="opinion", total=len(asked), unit="questions"))
    answers, scores = [], []
    for rows in asked:
        num_classes = len(dataset.catalog.classes)
        head = choose_head(rows, pixels.labels, folds, num_classes=num_classes, spec=recipe.head)
        answers.append(head.out_of_fold)
        scores.append(head.selection_accuracy)
        listen(StepAdvanced(step="opinion"))
    note = f"{scores[0]:.3f} of the labels confirmed" + (f", {scores[1]:.3f} by borders" if len(scores) > 1 else "")
    listen(StepFinished(step="opinion", seconds=time.monotonic() - started, note=note))
    return answers[0], answers[1] if border is not None else None
