"""From a folder of photos to what training needs: catalog, findings, split, pixels, orientation.

The first half of the flow; `pipeline.py` calls it and goes on. Nothing here trains.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood import cache
from budwood.augment.transforms import AugmentSpec
from budwood.data.audit import AuditResult, audit
from budwood.data.loader import PixelSet
from budwood.data.orientation import Orientation, preferred_orientation
from budwood.data.pixels import working_pixels
from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.split import check_split, split, split_folds
from budwood.data.split_file import read_split
from budwood.data.split_nouns import Split
from budwood.data.store import PictureStore
from budwood.errors import SplitError
from budwood.events import Listener
from budwood.files import sha256_bytes, to_json
from budwood.models.backbones import Backbone
from budwood.models.build import choose_preprocess
from budwood.recipe import TINY_PICTURES_PER_CLASS, Recipe
from budwood.seeding import named_generator
from budwood.train.features import FeatureCache, FeatureSource, frozen_features

# The eight flips and turns, the most useful first: mirror, half turn, both, then the quarter turns.
FREE_VIEWS = (0, 4, 2, 6, 1, 3, 5, 7)
MIRROR_VIEWS = (0, 4)
TURN_VIEWS = (0, 2, 1, 3)
_ORIENTATION_PICTURES = 300


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The scanned pictures: all of them, those that can be used, and what the audit found.

    groups are pictures that must lie in one part of any split.
    """

    scanned: Catalog
    catalog: Catalog
    store: PictureStore
    audit: AuditResult


def read_photos(photos: Path, recipe: Recipe, *, side: int, listen: Listener) -> Dataset:
    """Scan and audit a folder.

    Raises:
        DataError, UsageError: see `scan`.
    """
    store = PictureStore(cache.pictures_folder(photos, side=side), side=side)
    scanned = scan(photos, store=store, listen=listen)
    if recipe.tiny:
        scanned = thinned(scanned, TINY_PICTURES_PER_CLASS)
    found = audit(scanned, store, spec=recipe.audit, listen=listen)
    return Dataset(scanned=scanned, catalog=scanned.usable(), store=store, audit=found)


def thinned(catalog: Catalog, per_class: int) -> Catalog:
    """At most ``per_class`` pictures of each class, evenly spaced in the order of their paths."""
    by_class: dict[str, list[int]] = {}
    for i, record in enumerate(catalog.records):
        by_class.setdefault(record.label, []).append(i)
    kept = set()
    for rows in by_class.values():
        spaced = np.linspace(0, len(rows) - 1, min(per_class, len(rows))).round().astype(int)
        kept |= {rows[int(i)] for i in spaced}
    return replace(catalog, records=tuple(r for i, r in enumerate(catalog.records) if i in kept))


def make_splits(dataset: Dataset, recipe: Recipe, split_file: Path | None) -> tuple[Split, ...]:
    """One split, or one for each fold; a split of the user's own is checked for leaks first.

    Raises:
        SplitError: the pictures cannot be split so. LeakError: the user's split tears near-duplicates apart.
    """
    catalog, groups = dataset.catalog, dataset.audit.groups
    if split_file is not None:
        chosen = read_split(split_file, catalog)
        check_split(chosen, catalog, groups)
        return (chosen,)
    if recipe.split.folds is not None:
        return split_folds(catalog, groups=groups, spec=recipe.split, seed=recipe.seed)
    return (split(catalog, groups=groups, spec=recipe.split, seed=recipe.seed),)


def working_preprocess(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> Preprocess:
    """The input size of this run, chosen from the pictures unless the recipe fixes it."""
    sides = [min(r.width, r.height) for r in dataset.catalog.records]
    return choose_preprocess(recipe.model, backbone.preprocess, shorter_side=int(np.median(sides)))


def open_pixels(dataset: Dataset, preprocess: Preprocess, *, listen: Listener) -> PixelSet:
    """All usable pictures at the working size, decoded once, mapped from a cache file."""
    catalog = dataset.catalog
    key = sha256_bytes(f"{catalog.fingerprint}{to_json(preprocess.to_dict())}".encode())
    pixels = working_pixels(dataset.store, catalog, preprocess, file=cache.pixels_file(key), listen=listen)
    return PixelSet(
        pixels=pixels,
        targets=np.array(catalog.targets, dtype=np.int64),
        paths=tuple(r.path for r in catalog.records),
        rows=np.arange(len(catalog)),
    )


def part_of(pixels: PixelSet, rows: tuple[int, ...]) -> PixelSet:
    """The pictures of one part."""
    return replace(pixels, rows=np.array(rows, dtype=np.int64))


def digests_of(catalog: Catalog, rows: NDArray[np.int64]) -> list[str]:
    """Pixel digests of some records: the keys of their features."""
    return [catalog.records[int(i)].pixel_digest for i in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What the orientation of the pictures allows: how to augment, what to average, and why."""

    augment: AugmentSpec
    train: tuple[int, ...]
    predict: tuple[int, ...]
    evidence: str
    orientation: Orientation | None


def choose_views(
    recipe: Recipe, dataset: Dataset, train: PixelSet, source: FeatureSource, *, listen: Listener
) -> Views:
    """Measure on the training part whether turns and mirrors change what a picture is, and decide by that."""
    measured = None
    if recipe.model.pretrained:
        measured = _measure_orientation(recipe, dataset, train, source, listen=listen)
    turn_free = measured is not None and measured.turn_free
    mirror_free = measured is not None and measured.mirror_free
    allowed: tuple[int, ...] = FREE_VIEWS if turn_free and mirror_free else MIRROR_VIEWS if mirror_free else (0,)
    if turn_free and not mirror_free:
        allowed = TURN_VIEWS
    if recipe.augment.flip == "both" and recipe.augment.rotation != "auto" and float(recipe.augment.rotation) >= 180:
        allowed = FREE_VIEWS  # the recipe says that orientation means nothing
    spec = recipe.augment.resolved(turn_free=turn_free, mirror_free=mirror_free)
    wanted = len(allowed) if recipe.predict.views == "auto" else int(recipe.predict.views)
    evidence = measured.evidence if measured else "not measured: the network is untrained, so pictures stay upright"
    return Views(
        augment=spec,
        train=allowed[: recipe.train.views],
        predict=allowed[:wanted],
        evidence=evidence,
        orientation=measured,
    )


def _measure_orientation(
    recipe: Recipe, dataset: Dataset, train: PixelSet, source: FeatureSource, *, listen: Listener
) -> Orientation | None:
    if len(train) < 10:
        return None
    generator = named_generator(recipe.seed, "orientation")
    rows = np.sort(generator.permutation(train.rows)[:_ORIENTATION_PICTURES])
    features = frozen_features(
        source,
        train.pixels[rows],
        digests_of(dataset.catalog, rows),
        views=range(8),
        cache=FeatureCache(cache.features_folder()),
        listen=listen,
        step="orientation",
    )
    return preferred_orientation(np.ascontiguousarray(features.transpose(1, 0, 2)))


def head_folds(dataset: Dataset, part: PixelSet, *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each picture of a part for choosing the head's penalty: stratified, groups of near-duplicates whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    group_of = {path: f"group {g}" for g, group in enumerate(dataset.audit.groups) for path in group}
    groups = [group_of.get(part.paths[i], part.paths[i]) for i in part.rows]
    folds = np.zeros(len(part), dtype=np.int64)
    num_folds = min(num_folds, len(set(groups)), int(np.bincount(part.labels).max()))
    if num_folds < 2:
        raise SplitError(
            "every class has 1 picture in the training part, and choosing a head needs 2 of some class: add pictures"
        )
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer pictures than folds is missing from some folds: known and harmless here.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held) in enumerate(splitter.split(np.zeros(len(part)), part.labels, groups)):
            folds[held] = fold
    return folds
