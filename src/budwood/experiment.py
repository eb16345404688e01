"""`Experiment`: a run under way that trains more than one classifier, from its folder to its split and its pixels.

What the systems of `systems.py` share: the pictures are read, looked at, cleaned and divided exactly as for a
classifier (`pipeline.py`), so that their scores can be compared with one's. What is trained and scored is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.bundling import run_facts
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog
from budwood.data.split_nouns import Split
from budwood.errors import SettingsError
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted
from budwood.export.bundle import Bundle, BundleFacts
from budwood.files import sha256_bytes, to_json
from budwood.material import gather
from budwood.noting import counted_look, noted
from budwood.noting import looked as looked
from budwood.opening import Journal
from budwood.order import Order
from budwood.prepare import Dataset, open_pixels, part_of
from budwood.recipe import Recipe
from budwood.runs import RunDir
from budwood.seeding import record_key
from budwood.test_lock import Looking, Looks
from budwood.train.autoencode import Shown
from budwood.train.epoch_keeper import EpochKeeper
from budwood.training import Trainer, open_trainer
from budwood.where import Chosen, chosen_machine

SYSTEM_NAME = "system"  # the folder in a run's folder that holds what is a system's own


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a system works on.

    trainer: trains classifiers by the recipe's stages; it never sees the test part. pixels: all usable pictures at the
    classifier's working size. arithmetic: what equal weights depend on besides pictures and recipe.
    """

    photos: Path
    recipe: Recipe
    run: RunDir
    dataset: Dataset
    split: Split
    trainer: Trainer
    pixels: PixelSet
    environment: dict[str, Any]
    arithmetic: Any
    listen: Listener

    @property
    def catalog(self) -> Catalog:
        """The usable pictures."""
        return self.dataset.catalog

    @property
    def folder(self) -> Path:
        """Where the system's own files go."""
        return self.run.path / SYSTEM_NAME

    def part(self, name: str) -> PixelSet:
        """The pictures of ``train``, ``val`` or ``test``."""
        return part_of(self.pixels, self.split.parts[name])

    def images(self, name: str, *, limit: int) -> list[NDArray[np.uint8]]:
        """The first pictures ``[H, W, 3]`` of a part, as they were decoded and stored."""
        records = [self.catalog.records[i] for i in self.split.parts[name][:limit]]
        return [self.dataset.store.fetch(self.catalog, record) for record in records]

    def small(self, size: int) -> PixelSet:
        """All usable pictures, whole, at another side in pixels."""
        preprocess = Preprocess(size=size, store_side=self.dataset.store.side)
        return open_pixels(self.dataset, preprocess, listen=self.listen)

    def shown(self, pixels: PixelSet, rows: tuple[int, ...]) -> Shown:
        """Some pictures for a training that takes flips and turns at random, where the audit finds these harmless."""
        keys = [record_key(pixels.paths[i]) for i in rows]
        return Shown(pixels=pixels.pixels[np.array(rows)], keys=keys, views=self.trainer.views.harmless)

    def keeper(self, name: str, rows: tuple[int, ...]) -> EpochKeeper:
        """Where a training on ``rows`` keeps its state from epoch to epoch."""
        facts = {
            "recipe": self.recipe.to_toml(),
            "arithmetic": self.arithmetic,
            "pictures": [[self.catalog.records[i].path, self.catalog.records[i].pixel_digest] for i in rows],
        }
        identity = sha256_bytes(to_json(facts).encode())
        return EpochKeeper(self.run.checkpoints / name, identity=identity, listen=self.listen)

    def facts(self, trainer: Trainer | None = None) -> BundleFacts:
        """What a bundle of a classifier says about itself; ``trainer``: one of `relabelled`, with other classes."""
        facts = run_facts(self.trainer, self.split)
        return facts if trainer is None else replace(facts, classes=trainer.dataset.catalog.classes)

    @contextmanager
    def evaluating(self, pictures: int) -> Iterator[Callable[[int], None]]:
        """The step ``evaluate`` over so many answers; what it yields is told how many more are done."""
        start = time.perf_counter()
        self.listen(StepStarted(step="evaluate", total=pictures))
        yield lambda count: self.listen(StepAdvanced(step="evaluate", count=count))
        seconds = time.perf_counter() - start
        note = f"{pictures / max(seconds, 1e-9):.0f} images/s"
        self.listen(StepFinished(step="evaluate", seconds=seconds, note=note))

    def answers(self, bundle: Bundle, name: str, advance: Callable[[int], None]) -> Predictions:
        """A bundle's answers to one part, with the labels."""
        part = self.part(name)
        return Predictions(
            probs=bundle.predict_pixels(part.pixels[part.rows], advance=advance),
            targets=part.labels,
            paths=tuple(part.paths[i] for i in part.rows),
            classes=bundle.classes,
        )

    def count_look(self) -> Looks | None:
        """Count that this run looks at the test part, before anything is asked of it; None where it is not counted."""
        recipe = self.recipe
        if recipe.tiny:
            return None  # untrained networks on a dozen pictures learn nothing of the test part
        looking = Looking(
            run=self.run.path, kind=recipe.system, recipe=recipe.name, seed=recipe.seed, settings=recipe.to_toml()
        )
        return counted_look(self.photos, self.split, self.catalog, looking=looking, listen=self.listen)


@contextmanager
def opened_experiment(order: Order) -> Iterator[tuple[Experiment, Journal]]:
    """Take the run's folder, read and divide the pictures; when all is done the folder is sealed.

    Raises:
        UsageError, DataError, Interrupted: see `pipeline.fit`.
    """
    recipe = order.recipe
    if recipe.predict.views == "tuned":
        raise SettingsError(f'predict.views = "tuned" is for a single classifier, not for system = "{recipe.system}"')
    with order.opened() as (run, journal):
        chosen = chosen_machine(run, threads=order.threads, precision=recipe.train.precision, devices=1, nodes=1)
        yield _prepared(order, run, chosen, listen=noted(run, journal, order.listen)), journal
        journal.write("done", step="report")


def _prepared(order: Order, run: RunDir, chosen: Chosen, *, listen: Listener) -> Experiment:
    photos, recipe = order.photos, order.recipe
    found = gather(photos, recipe, run=run, chosen=chosen, split_file=order.split_file, listen=listen)
    trainer, pixels = open_trainer(
        recipe,
        found.dataset,
        found.splits[0],
        found.backbone,
        device=chosen.device,
        listen=listen,
        checkpoints=run.checkpoints,
        arithmetic=found.arithmetic,
    )
    return Experiment(
        photos=photos,
        recipe=recipe,
        run=run,
        dataset=found.dataset,
        split=found.splits[0],
        trainer=trainer,
        pixels=pixels,
        environment=found.environment,
        arithmetic=found.arithmetic,
        listen=listen,
    )


def relabelled(experiment: Experiment, labels: tuple[str, ...], targets: Any, *, name: str) -> Trainer:
    """The trainer for the same pictures under other labels, such as the branches of a decision.

    Args:
        labels: the new classes. targets: ``[N]`` the new class of each usable picture; -1 for those that have none and
            must be in no part that is trained on. name: tells trainings of one run apart.
    """
    records = tuple(
        replace(record, label=labels[target] if target >= 0 else record.label)
        for record, target in zip(experiment.catalog.records, targets.tolist(), strict=True)
    )
    catalog = replace(experiment.catalog, records=records, classes=labels)
    trainer = experiment.trainer
    return replace(
        trainer,
        dataset=replace(trainer.dataset, catalog=catalog),
        identity=to_json([trainer.identity, name, list(labels), sha256_bytes(targets.tobytes())]),
        checkpoints=trainer.checkpoints / name if trainer.checkpoints else None,
    )
