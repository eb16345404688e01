"""A sheet of pictures as the network will see them, drawn before an hour is spent on training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from budwood import cache
from budwood.augment.sheet import augment_sheet
from budwood.augment.spec import AugmentSpec
from budwood.augment.transforms import Augment
from budwood.data.loader import PixelSet
from budwood.events import Listener, silent
from budwood.files import ensure_writable, refuse_inside, write_bytes
from budwood.models.build import open_backbone, store_side
from budwood.prepare import make_splits, part_of, read_photos
from budwood.recipe import Recipe
from budwood.seeding import record_key
from budwood.train.device import Device
from budwood.training import open_trainer

_PICTURES = 8  # at most so many lines of a sheet


def show_augment(photos: Path, recipe: Recipe, out: Path, *, listen: Listener = silent) -> tuple[Path, ...]:
    """Draw what the recipe does to some training pictures, one of each class as far as they go.

    Args:
        out: a PNG file; a plan whose stages augment in different ways gives one file for each, numbered.

    Returns:
        The files written, one for each way of augmenting.

    Raises:
        UsageError: a setting is wrong. DataError: the pictures cannot be used. OutputError: ``out`` cannot be written.
    """
    refuse_inside(out, photos)
    ensure_writable(out.parent)
    recipe.refuse_other_systems("--show-augment")
    torch.manual_seed(recipe.seed)
    backbone = open_backbone(recipe.model)
    dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=listen)
    dataset, splits = make_splits(dataset, recipe, None, listen=listen)
    trainer, pixels = open_trainer(recipe, dataset, splits[0], backbone, device=Device(), listen=listen)
    train = part_of(pixels, splits[0].parts["train"])
    specs = [trainer.views.resolve(recipe.augment.with_overrides(stage.augment)) for stage in recipe.train.stages]
    different = [spec for i, spec in enumerate(specs) if spec not in specs[:i]]
    files = [out] if len(different) == 1 else [out.with_stem(f"{out.stem}-{n}") for n in range(1, len(different) + 1)]
    for file, spec in zip(files, different, strict=True):
        augment = Augment(spec, trainer.source.preprocess, seed=recipe.seed, classes=dataset.catalog.classes)
        write_bytes(file, _sheet(train, augment, spec, classes=dataset.catalog.classes))
    cache.prune()
    return tuple(files)


def _sheet(train: PixelSet, augment: Augment, spec: AugmentSpec, *, classes: tuple[str, ...]) -> bytes:
    spec.check_classes(classes)
    first = [int(np.flatnonzero(train.labels == k)[0]) for k in np.unique(train.labels)][:_PICTURES]
    more = [i for i in range(len(train)) if i not in first][: max(0, _PICTURES // 2 - len(first))]
    rows = train.rows[[*first, *more]]
    return augment_sheet(
        np.ascontiguousarray(train.pixels[rows]),
        train.targets[rows],
        classes=classes,
        augment=augment,
        records=[record_key(train.paths[i]) for i in rows],
    )
