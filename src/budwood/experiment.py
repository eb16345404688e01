"""`Experiment`: a run under way that trains more than one classifier, from its folder to its split and its pixels.

What the systems of `systems.py` share: the pictures are read, looked at, cleaned and divided exactly as for a
classifier (`pipeline.py`), so that their scores can be compared with one's. What is trained and scored is theirs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budwood import machine
from budwood.bundling import run_facts
from budwood.data.ledger import write_catalog
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog
from budwood.data.split_file import write_split
from budwood.data.split_nouns import Split
from budwood.errors import OutputError, SettingsError
from budwood.evaluation.metrics import Metrics
from budwood.evaluation.predictions import Predictions
from budwood.events import Event, Listener, StepAdvanced, StepFinished, StepStarted, Warned
from budwood.export.bundle import Bundle, BundleFacts
from budwood.files import sha256_bytes, to_json, write_json, write_text
from budwood.look import form_opinion
from budwood.models.build import open_backbone, store_side
from budwood.opening import Journal, command_line, opened_run
from budwood.pipeline import findings_to_json
from budwood.prepare import Dataset, make_splits, open_pixels, part_of, read_photos, with_opinion
from budwood.recipe import Recipe
from budwood.runs import RunDir, StepTime
from budwood.seeding import record_key
from budwood.test_lock import Looks, count_look
from budwood.train.autoencode import Shown
from budwood.train.epoch_keeper import EpochKeeper
from budwood.train.freezing import refuse_unknown_blocks
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
        try:
            return count_look(
                self.photos,
                self.split,
                self.catalog,
                run=str(self.run.path),
                kind=recipe.system,
                recipe=recipe.name,
                seed=recipe.seed,
                settings=recipe.to_toml(),
            )
        except OutputError as error:  # what was trained must not be lost to a folder that cannot be written
            self.listen(Warned(text=f"this look at the test part is not counted: {error}"))
            return None


def looked(looks: Looks | None, metrics: Metrics) -> dict[str, Any]:
    """What metrics.json says of the looks at the test part."""
    if looks is None:
        return {}
    words = looks.words(pictures=metrics.num_pictures, accuracy=metrics.accuracy.value)
    return {"test_looks": looks.number, "looks": words}


@contextmanager
def opened_experiment(
    photos: Path,
    recipe: Recipe,
    *,
    out: Path,
    threads: int | None,
    split_file: Path | None,
    overwrite: bool,
    resume: bool,
    listen: Listener,
) -> Iterator[tuple[Experiment, Journal]]:
    """Take the run's folder, read and divide the pictures; when all is done the folder is sealed.

    Args:
        photos: as for `pipeline.fit`, and so are the others; ``out`` is the run's folder.

    Raises:
        UsageError, DataError, Interrupted: see `pipeline.fit`.
    """
    with opened_run(path=out, photos=photos, overwrite=overwrite, resume=resume, command=command_line()) as opened:
        run, journal = opened
        write_text(run.recipe, recipe.to_toml())
        chosen = chosen_machine(run, threads=threads, precision=recipe.train.precision, devices=1, nodes=1)
        told = _noted(run, journal, listen)
        yield _prepared(photos, recipe, run, chosen, split_file=split_file, listen=told), journal
        journal.write("done", step="report")
    run.seal()
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def _noted(run: RunDir, journal: Journal, listen: Listener) -> Listener:
    """Note finished steps and warnings in the run's folder, then pass events on."""

    def hear(event: Event) -> None:
        if isinstance(event, StepFinished):
            journal.finished(StepTime(name=event.step, seconds=round(event.seconds, 3), note=event.note))
        elif isinstance(event, Warned):
            run.warn(event.text)
        listen(event)

    return hear


def _prepared(
    photos: Path, recipe: Recipe, run: RunDir, chosen: Chosen, *, split_file: Path | None, listen: Listener
) -> Experiment:
    """Read, look, clean, split and open, as `pipeline.fit` does; what was found and decided is in the run's folder."""
    if recipe.predict.views == "tuned":
        raise SettingsError(f'predict.views = "tuned" is for a single classifier, not for system = "{recipe.system}"')
    torch.manual_seed(recipe.seed)  # for weights that are asked to be random
    backbone = open_backbone(recipe.model)
    refuse_unknown_blocks(recipe.train, backbone)
    if recipe.tiny:
        listen(Warned(text="--tiny: few pictures, one epoch, an untrained network; the scores mean nothing"))
    dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=listen)
    places = {"photos": str(photos.resolve()), "root": str(dataset.scanned.root.resolve())}
    environment = {
        **chosen.to_dict(),
        "versions": machine.versions(),
        **places,
        "threads": chosen.to_dict()["machine"]["threads"],
    }
    write_json(run.environment, environment)
    if recipe.audit.opinion and recipe.model.starts_trained:
        opinion = form_opinion(dataset, recipe, backbone=backbone, bf16=chosen.bf16, listen=listen)
        dataset = with_opinion(dataset, opinion, recipe, listen=listen)
    write_json(run.findings, findings_to_json(dataset))
    dataset, splits = make_splits(dataset, recipe, split_file, listen=listen)
    write_catalog(dataset.ledger(splits[0]), run.catalog)
    write_split(splits[0], dataset.catalog, run.split)
    arithmetic = [chosen.arithmetic, machine.versions()]
    trainer, pixels = open_trainer(
        recipe,
        dataset,
        splits[0],
        backbone,
        device=chosen.device,
        listen=listen,
        checkpoints=run.checkpoints,
        arithmetic=arithmetic,
    )
    return Experiment(
        photos=photos,
        recipe=recipe,
        run=run,
        dataset=dataset,
        split=splits[0],
        trainer=trainer,
        pixels=pixels,
        environment=environment,
        arithmetic=arithmetic,
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
