"""The two sides of `engine.py`, each run in a process of its own, and the pictures that both of them get."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

FLIPS = (0, 4, 2, 6)  # none, left-right, both, upside-down


class Clock:
    """Wall and CPU seconds, those of ended child processes too."""

    def __init__(self) -> None:
        self.start = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        used = os.times()
        return time.perf_counter(), used.user + used.system + used.children_user + used.children_system

    def seconds(self) -> tuple[float, float]:
        """Since the start."""
        now = self._now()
        return now[0] - self.start[0], now[1] - self.start[1]


def pictures(options: argparse.Namespace) -> dict[str, Any]:
    """The catalog, which rows train, validate and test, the backbone and its input."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    from budwood.data.scan import scan
    from budwood.models.build import ModelSpec, choose_preprocess, open_backbone
    from budwood.models.hub import PACKAGED

    catalog = scan(options.photos).usable()
    spec = ModelSpec(backbone=options.backbone, size=options.size, pretrained=options.backbone in PACKAGED)
    backbone = open_backbone(spec)
    targets = np.array(catalog.targets)
    train, rest = train_test_split(
        np.arange(len(targets)), train_size=options.pictures, stratify=targets, random_state=0
    )
    return {
        "catalog": catalog,
        "targets": targets,
        "train": train,
        "val": rest[: options.pictures // 4],
        "test": rest[: options.tested],
        "spec": spec,
        "backbone": backbone,
        "preprocess": choose_preprocess(spec, backbone.preprocess, shorter_side=options.size),
    }


def files(data: dict[str, Any], rows: Any) -> list[tuple[str, int]]:
    """Paths and labels, for the plain loop."""
    from budwood.files import unescape_name

    catalog = data["catalog"]
    return [(str(catalog.root / unescape_name(catalog.records[i].path)), int(data["targets"][i])) for i in rows]


def classifier(data: dict[str, Any]) -> Any:
    """The backbone with a new head."""
    import torch

    from budwood.models.build import attach_head

    torch.manual_seed(0)
    return attach_head(data["backbone"], num_classes=len(data["catalog"].classes), spec=data["spec"])


def trained_names(model: Any, depth: int | None) -> list[str] | None:
    """The backbone's parameters in its last ``depth`` blocks; None: all."""
    from budwood.models.blocks import blocks_of

    if depth is None:
        return None
    blocks = blocks_of(model.backbone)
    return [name for block in blocks[len(blocks) - depth :] for name in block.parameters]


def plain_side(options: argparse.Namespace, depth: int | None) -> dict[str, Any]:
    """``options.timed`` epochs of the plain loop, and what all epochs would take.

    depth: how many blocks train; None: all; 0: the head on a frozen network.
    """
    import plain_loop

    data, model = pictures(options), None
    model = classifier(data)
    plain = plain_loop.Plain(
        preprocess=data["preprocess"],
        epochs=options.epochs,
        workers=options.workers,
        flips_only=options.phase == "frozen",
    )
    batches = plain_loop.loader(files(data, data["train"]), plain, train=True)
    training = plain_loop.Training(model, plain, steps_per_epoch=len(batches), trained=trained_names(model, depth))
    judged = plain_loop.loader(files(data, data["val"]), plain, train=False)
    spent = []
    for _ in range(options.timed):
        clock = Clock()
        training.epoch(batches)
        if options.phase != "frozen":
            training.right(judged)
        spent.append(clock.seconds())
    wall, cpu = (sum(each[i] for each in spent) / len(spent) * options.epochs for i in (0, 1))
    full = options.timed == options.epochs and options.tested
    tested = training.right(plain_loop.loader(files(data, data["test"]), plain, train=False)) if full else []
    return {"wall": wall, "cpu": cpu, "right": tested, "note": f"{options.timed} of {options.epochs} epochs run"}


def our_frozen(options: argparse.Namespace) -> dict[str, Any]:
    """Read the pictures, features of four flips, the penalty by cross-validation, the head: all on the clock."""
    import numpy as np

    from budwood.train.heads import HeadSpec, choose_head

    data = pictures(options)
    source, labels = _source(options, data), data["targets"][data["train"]]
    clock = Clock()
    folds = np.random.default_rng(0).permutation(len(labels)) % 5
    found = _features(source, data, data["train"])
    head = choose_head(found, labels, folds, num_classes=len(data["catalog"].classes), spec=HeadSpec())
    wall, cpu = clock.seconds()
    right: list[bool] = []
    if options.timed == options.epochs and options.tested:
        logits = _features(source, data, data["test"]) @ head.weight.T + head.bias
        probs = np.exp(logits - logits.max(-1, keepdims=True))
        mean = (probs / probs.sum(-1, keepdims=True)).mean(0)
        right = (mean.argmax(1) == data["targets"][data["test"]]).tolist()
    return {"wall": wall, "cpu": cpu, "right": right, "note": f"all of it run, by {source.carried_out_by}"}


def our_stage(options: argparse.Namespace, depth: int | None) -> dict[str, Any]:
    """One gradient stage, ``options.timed`` epochs of it, with whatever its frozen start needs before."""
    from dataclasses import replace

    from budwood.train.feed import PixelFeed
    from budwood.train.loop import fine_tune
    from budwood.train.predict import predict_pixels

    data = pictures(options)
    model, stage_input = classifier(data), _stage_input(options, data, depth)
    clock = Clock()
    fit = fine_tune(model, replace(stage_input, stop_after=options.timed))
    wall, cpu = clock.seconds()
    epochs = sum(row.seconds for row in fit.history.rows)
    # What comes before the first epoch is done once; its CPU time is shared out as its wall time is.
    scaled = (wall - epochs) + epochs / options.timed * options.epochs
    right: list[bool] = []
    if options.timed == options.epochs and options.tested:
        feed = stage_input.train
        assert isinstance(feed, PixelFeed)
        pixels = _pixels(data, data["test"])[data["test"]]
        probs = predict_pixels(fit.model, pixels, data["preprocess"])
        right = (probs.argmax(1) == data["targets"][data["test"]]).tolist()
    return {
        "wall": scaled,
        "cpu": cpu * scaled / wall,
        "right": right,
        "note": f"{options.timed} of {options.epochs} epochs run; {wall - epochs:.1f} s before them",
    }


def _pixels(data: dict[str, Any], rows: Any) -> Any:
    """``[N, S, S, 3]`` of the whole catalog, of which only ``rows`` are read."""
    import numpy as np

    from budwood.data.decode import decode_file

    size = data["preprocess"].size
    pixels = np.zeros((len(data["targets"]), size, size, 3), np.uint8)
    for row, (path, _) in zip(rows, files(data, rows), strict=True):
        pixels[row] = data["preprocess"].pixels(decode_file(Path(path)).image)
    return pixels


def _source(options: argparse.Namespace, data: dict[str, Any]) -> Any:
    from budwood.machine import probe
    from budwood.train.features import FeatureSource

    backbone = data["backbone"]
    return FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=data["preprocess"],
        identity=f"{backbone.name} {backbone.digest}",
        bf16=probe(threads=options.threads).bf16,
        backend=options.backend or None,
    )


def _features(source: Any, data: dict[str, Any], rows: Any, views: tuple[int, ...] = FLIPS) -> Any:
    from budwood.train.features import frozen_features

    digests = [data["catalog"].records[i].pixel_digest for i in rows]
    return frozen_features(source, _pixels(data, rows)[rows], digests, views=views)


def _stage_input(options: argparse.Namespace, data: dict[str, Any], depth: int | None) -> Any:
    """The stage as the recipe "transfer" has it, but without CutMix, which the plain loop has not either."""
    import numpy as np

    from budwood.augment.transforms import Augment, AugmentSpec
    from budwood.data.loader import PixelSet
    from budwood.events import silent
    from budwood.shortening import Shortener
    from budwood.train.balanced_steps import Balancing
    from budwood.train.device import Device
    from budwood.train.feed import PixelFeed
    from budwood.train.stage_input import StageInput
    from budwood.train.stages import Stage, TrainSpec

    catalog, preprocess = data["catalog"], data["preprocess"]
    pixels = _pixels(data, np.concatenate([data["train"], data["val"]]))
    augment = AugmentSpec(rotation=180, flip="both", cutmix=0.0)
    transform = Augment(augment, preprocess, seed=0, classes=catalog.classes)
    parts = [
        PixelSet(
            pixels=pixels,
            targets=data["targets"],
            paths=tuple(r.path for r in catalog.records),
            rows=np.sort(data[name]),
        )
        for name in ("train", "val")
    ]
    train, val = (PixelFeed(part=part, transform=transform, preprocess=preprocess) for part in parts)
    trains = "all" if depth is None else depth or "head"
    stage = Stage(trains=trains, solve=False if depth == 0 else None, epochs=options.epochs, patience=options.epochs)
    spec, source = TrainSpec(stages=(stage,), cache_views=options.views), _source(options, data)
    shortener = Shortener(
        catalog=catalog,
        spec=spec,
        preprocess=preprocess,
        features=lambda part, views: _features(source, data, part.rows, views),
        views=FLIPS,
        input_dropout=0.0,
        seed=0,
        bf16=source.bf16,
        listen=silent,
    )
    return StageInput(
        train=train,
        val=val,
        augment=augment,
        spec=spec,
        stage=stage,
        device=Device(bf16=source.bf16, accelerator="cpu"),
        seed=0,
        balancing=Balancing(num_classes=len(catalog.classes)),
        shorten=shortener.of(stage, train, val, augment=augment, changed=False, told=[]),
    )
