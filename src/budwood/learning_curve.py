"""`learning_curve`: what would more pictures bring? Trains on parts of the training part; the validation part judges.

The test part is not opened: what comes out is a selection score, and no look is counted. The parts are nested and
stratified, and pictures that belong together stay together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from budwood import cache, machine
from budwood.data.inputs.sources import check_source
from budwood.data.leaks import tied_groups
from budwood.data.loader import PixelSet
from budwood.errors import SettingsError
from budwood.evaluation.learning import LearningCurve, fit_curve
from budwood.events import Event, Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.export.bundle import Bundle, BundleFacts
from budwood.models.build import Classifier, open_backbone, store_side
from budwood.prepare import Dataset, make_splits, part_of, read_photos
from budwood.recipe import Recipe
from budwood.scoring import predict_part
from budwood.seeding import named_generator
from budwood.train.device import Device
from budwood.train.freezing import refuse_unknown_blocks
from budwood.training import Trainer, open_trainer

SIZES = (0.125, 0.25, 0.5, 1.0)
_STEP = "learning curve"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveRun:
    """The curve, and what it was made with. seconds: of training, all repeats of all sizes."""

    curve: LearningCurve
    recipe: str
    repeats: int
    seconds: float


def learning_curve(
    photos: str | Path,
    *,
    recipe: Recipe,
    sizes: Sequence[float] = SIZES,
    repeats: int = 3,
    split_file: str | Path | None = None,
    threads: int | None = None,
    listen: Listener = silent,
) -> CurveRun:
    """Train on ever larger parts of the training pictures, and say what twice the pictures would bring.

    Args:
        photos: see `fit`; training and validation part are used, the test part is not.
        recipe: how each is trained; a head on frozen features takes seconds.
        sizes: shares of the training part, three or more, above 0 to 1.
        repeats: how often each size is drawn and trained, with another seed.
        split_file: see `fit`.
        threads: CPU threads; None measures.

    Raises:
        SettingsError: sizes or repeats make no sense. DataError: too few pictures for three sizes.
    """
    wanted = _checked(sizes, repeats)
    recipe.refuse_other_systems("a learning curve")
    if recipe.split.folds is not None:
        raise SettingsError("a learning curve is judged by one validation part: drop folds")
    photos = Path(photos).expanduser()
    check_source(photos)
    torch.manual_seed(recipe.seed)
    backbone = open_backbone(recipe.model)
    refuse_unknown_blocks(recipe.train, backbone)
    found = machine.probe(threads=threads, tuned_allocator=machine.tune_allocator())
    bf16 = {"auto": found.bf16, "bfloat16": True, "float32": False}[recipe.train.precision]
    dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=listen)
    dataset, splits = make_splits(dataset, recipe, Path(split_file) if split_file else None, listen=listen)
    trainer, pixels = open_trainer(recipe, dataset, splits[0], backbone, device=Device(bf16=bf16), listen=listen)
    train, val = (part_of(pixels, splits[0].parts[part]) for part in ("train", "val"))
    trainer.frozen.features(train)  # once for all sizes: from here on heads take them from the cache
    started = time.perf_counter()
    counts, right = _trained(trainer, train, val, sizes=wanted, repeats=repeats)
    cache.prune()
    # Groups that are kept whole make equal shares differ by a picture or two from repeat to repeat.
    means = [round(float(np.mean(list(each)))) for each in counts]
    kept = [i for i, size in enumerate(means) if size not in means[:i]]
    curve = fit_curve([means[i] for i in kept], [np.array(right[i]) for i in kept], seed=recipe.seed)
    return CurveRun(curve=curve, recipe=recipe.name, repeats=repeats, seconds=time.perf_counter() - started)


def _trained(
    trainer: Trainer, train: PixelSet, val: PixelSet, *, sizes: Sequence[float], repeats: int
) -> tuple[list[set[int]], list[list[NDArray[np.bool_]]]]:
    """For each size the numbers of pictures that its repeats had, and whether each named ``val``'s pictures right."""
    clock = time.perf_counter()
    trainer.listen(StepStarted(step=_STEP, total=len(sizes) * repeats, unit="trainings"))
    counts: list[set[int]] = [set() for _ in sizes]
    right: list[list[NDArray[np.bool_]]] = [[] for _ in sizes]
    told: set[str] = set()

    def hear(event: Event) -> None:  # of a dozen trainings in seconds, only what they warn of, and once
        if isinstance(event, Warned) and event.text not in told:
            told.add(event.text)
            trainer.listen(event)

    for repeat in range(repeats):
        seed = trainer.recipe.seed + repeat
        own = replace(trainer, listen=hear, recipe=trainer.recipe.model_copy(update={"seed": seed}))
        for number, part in enumerate(nested_parts(train, trainer.dataset, sizes, seed=seed)):
            trained = own.train(part, val, name=f"size-{number}-{repeat}")
            right[number].append(_answers(own, trained.model, val).argmax(axis=1) == val.labels)
            counts[number].add(len(part))
            trainer.listen(StepAdvanced(step=_STEP))
    seconds = time.perf_counter() - clock
    trainer.listen(StepFinished(step=_STEP, seconds=seconds, note=f"{len(sizes)} sizes, {repeats} repeats"))
    return counts, right


def nested_parts(train: PixelSet, dataset: Dataset, sizes: Sequence[float], *, seed: int) -> list[PixelSet]:
    """For each share a part of ``train`` that holds the smaller ones: each class alike, groups whole.

    Every class keeps at least two pictures (all, where it has fewer): with one, no penalty could be chosen.
    """
    generator = named_generator(seed, "nested_parts")
    tied = tied_groups(dataset.catalog, dataset.audit.groups)
    group_of = {path: number for number, group in enumerate(tied) for path in group}
    order: list[NDArray[np.int64]] = []  # for each class its rows, whole groups one after the other
    for k in np.unique(train.labels):
        rows = train.rows[train.labels == k]
        groups: dict[int, list[int]] = {}
        for row in rows:
            groups.setdefault(group_of.get(train.paths[row], -1 - int(row)), []).append(int(row))
        names = list(groups)
        order.append(np.array([row for i in generator.permutation(len(names)) for row in groups[names[int(i)]]]))
    found = []
    for size in sizes:
        rows = [own[: _whole(own, max(2, round(size * len(own))), train.paths, group_of)] for own in order]
        found.append(replace(train, rows=np.sort(np.concatenate(rows))))
    return found


def _whole(rows: NDArray[np.int64], count: int, paths: Sequence[str], group_of: dict[str, int]) -> int:
    """``count``, raised until no group is cut."""
    count = min(count, len(rows))
    while 0 < count < len(rows):
        last, following = (group_of.get(paths[int(rows[i])]) for i in (count - 1, count))
        if last is None or last != following:
            break
        count += 1
    return count


def _checked(sizes: Sequence[float], repeats: int) -> tuple[float, ...]:
    wanted = tuple(sorted(set(sizes)))
    if len(wanted) < 3 or not wanted[0] > 0 or wanted[-1] > 1:
        raise SettingsError(
            f"sizes {', '.join(f'{size:g}' for size in sizes)}: expected three or more shares of the training part,"
            " above 0 and up to 1, such as 0.125,0.25,0.5,1"
        )
    if repeats < 1:
        raise SettingsError(f"{repeats} repeats: expected 1 or more")
    return wanted


@torch.inference_mode()
def _answers(trainer: Trainer, model: Classifier, part: PixelSet) -> NDArray[np.float32]:
    """Probabilities ``[N, K]``; of a head on frozen features from the cache, else by the network."""
    views = trainer.views.turns or (0,)
    if any(not stage.is_head for stage in trainer.recipe.train.stages):
        facts = BundleFacts(
            spec=trainer.recipe.model,
            classes=trainer.dataset.catalog.classes,
            preprocess=trainer.source.preprocess,
            views=views,
            training={},
            versions={},
        )
        return predict_part(Bundle(Path(), facts, model), part).probs
    features = trainer.frozen.features(part, views=views)
    each = [model.classify(torch.from_numpy(view)).double().softmax(1) for view in features]
    return np.asarray(torch.stack(each).mean(0).float().numpy(), dtype=np.float32)
