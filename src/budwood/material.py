"""`Material`: what a run works on, from the photos to the split, read and decided alike for one network and for many.

What was found and decided is in the run's folder afterwards. Nothing is trained here but the frozen network's opinion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from budwood import machine
from budwood.data.ledger import write_catalog
from budwood.data.split_file import write_split
from budwood.data.split_nouns import Split
from budwood.events import Listener, Warned
from budwood.files import write_json
from budwood.look import form_opinion
from budwood.models.backbones import Backbone
from budwood.models.build import open_backbone, store_side
from budwood.prepare import Dataset, make_splits, read_photos, with_opinion
from budwood.recipe import Recipe
from budwood.runs import RunDir
from budwood.train.freezing import refuse_unknown_blocks
from budwood.where import Chosen


@dataclass(frozen=True, kw_only=True)
class Material:
    """The network, the usable pictures, and one split or one for each fold. environment: what environment.json holds.

    arithmetic: what equal weights depend on besides pictures and recipe.
    """

    backbone: Backbone
    dataset: Dataset
    splits: tuple[Split, ...]
    environment: dict[str, Any]
    arithmetic: Any


def gather(
    photos: Path, recipe: Recipe, *, run: RunDir, chosen: Chosen, split_file: Path | None, listen: Listener
) -> Material:
    """Open the network, then read, look at, clean and split the pictures.

    Raises:
        UsageError: the recipe asks for what the network or the classes do not have. DataError: the pictures cannot be
            used.
    """
    torch.manual_seed(recipe.seed)  # for weights that are asked to be random
    backbone = open_backbone(recipe.model)
    refuse_unknown_blocks(recipe.train, backbone)
    if recipe.tiny:
        listen(Warned(text="--tiny: few pictures, one epoch, an untrained network; the scores mean nothing"))
    dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=listen)
    for stage in recipe.train.stages:  # a wrong class name is told before an hour of work
        recipe.augment.with_overrides(stage.augment).check_classes(dataset.catalog.classes)
    environment = _environment(photos, dataset, chosen)
    write_json(run.environment, environment)
    if recipe.audit.opinion and recipe.model.starts_trained:
        opinion = form_opinion(dataset, recipe, backbone=backbone, bf16=chosen.bf16, listen=listen)
        dataset = with_opinion(dataset, opinion, recipe, listen=listen)
    write_json(run.findings, findings_to_json(dataset))
    dataset, splits = make_splits(dataset, recipe, split_file, listen=listen)
    write_catalog(dataset.ledger(splits[0]), run.catalog)
    write_split(splits[0], dataset.catalog, run.split)
    return Material(
        backbone=backbone,
        dataset=dataset,
        splits=splits,
        environment=environment,
        arithmetic=[chosen.arithmetic, machine.versions()],
    )


def findings_to_json(dataset: Dataset) -> dict[str, Any]:
    """What the audit found, for findings.json."""
    from dataclasses import asdict

    return {
        "findings": [asdict(f) for f in dataset.audit.findings],
        "groups": [list(group) for group in dataset.audit.groups],
        "ignored": list(dataset.scanned.ignored),
    }


def _environment(photos: Path, dataset: Dataset, chosen: Chosen) -> dict[str, Any]:
    found = chosen.to_dict()
    return {
        **found,
        "versions": machine.versions(),
        "photos": str(photos.resolve()),
        "root": str(dataset.scanned.root.resolve()),
        "threads": found["machine"]["threads"],
    }
