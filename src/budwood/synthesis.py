"""The conditional GAN of report A3, and the question that it left open: are its pictures any use to a classifier?

A GAN is trained on the training pictures; what it paints is measured for collapse, then added to the real pictures that
a linear head on frozen features is trained on. Heads with and without painted pictures are compared on the real test
pictures. The head on real pictures alone ships, whatever came out: a choice between the two would need other pictures.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budwood.bundling import tell_scores, write_calibrated
from budwood.errors import SettingsError
from budwood.evaluation.baselines import majority_class
from budwood.evaluation.compare import Comparison, paired_difference
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.variety import NEAREST, Features, Variety, class_variety, likeness
from budwood.experiment import Experiment, looked
from budwood.export.bundle import Bundle
from budwood.files import write_bytes, write_json
from budwood.models.build import Classifier
from budwood.models.generator import Generator
from budwood.report.picture_sheet import SheetRow, picture_sheet
from budwood.test_lock import Looks
from budwood.train.adversarial import GameResult, GameRow, fixed_noise, paint, play
from budwood.train.features import frozen_features
from budwood.train.heads import Weighing, fit_head
from budwood.train.predict import loss_and_accuracy
from budwood.trained import Trained

SHEETS_NAME, PAINTED_NAME = "sheets", "painted.npz"
REAL, BOTH, PAINTED = "real pictures", "real and painted pictures", "painted pictures alone"
_COLUMNS = 8  # painted pictures of each class on a sheet
_REAL_COLUMNS = 2
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Painted:
    """What the generator painted: pictures ``[M, S, S, 3]``, classes ``[M]``, features ``[V, M, D]``."""

    pixels: NDArray[np.uint8]
    targets: Labels
    features: Features


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """A head, what it was trained on, and what chose its penalty."""

    name: str
    num_real: int
    num_painted: int
    penalty: float
    val_loss: float
    val_accuracy: float
    model: Classifier

    def to_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {name: getattr(self, name) for name in ("name", "num_real", "num_painted", "penalty", "val_accuracy")}


def run_synthesis(experiment: Experiment) -> None:
    """Train the GAN, measure what it paints, compare heads on real test pictures, write bundle and pictures.

    Raises:
        SettingsError: the recipe trains more than a solved head. DivergedError: a loss of the GAN became infinite.
    """
    recipe, run = experiment.recipe, experiment.run
    if not experiment.trainer.solves_head or len(recipe.train.stages) > 1:
        raise SettingsError(
            'system = "synthesis" compares linear heads on frozen features: give train.stages one stage, "head", and'
            " no model.top"
        )
    game, small = _played(experiment)
    painted = _painted(experiment, game.generator)
    _keep(experiment, painted)
    variety = _variety(experiment, small, painted)
    features = {part: experiment.trainer.frozen.features(experiment.part(part)) for part in ("train", "val")}
    arms = [_arm(experiment, name, features, painted) for name in (REAL, BOTH, PAINTED)]

    kept = Trained(model=arms[0].model, head=None, fits=())
    shipped, held = write_calibrated(run.bundle, kept, experiment.trainer, (experiment.split,), experiment.pixels)
    looks = experiment.count_look()
    bundles = [shipped, *(Bundle(Path(), experiment.facts(), arm.model) for arm in arms[1:])]
    with experiment.evaluating(len(bundles) * len(experiment.part("test"))) as advance:
        tests = [experiment.answers(bundle, "test", advance) for bundle in bundles]
    held.val.save(run.predictions("val"))
    for name, answers in zip(("test", "test-both", "test-painted"), tests, strict=True):
        answers.save(run.predictions(name))
    tell_scores(shipped, summarise(tests[0], seed=recipe.seed))
    write_json(run.metrics, _metrics(experiment, arms, tests, game=game, variety=variety, looks=looks))
    write_json(run.training, {"preprocess": experiment.trainer.source.preprocess.to_dict(), **experiment.environment})


def _played(experiment: Experiment) -> tuple[GameResult, NDArray[np.uint8]]:
    """The trained generator, and all real pictures at its size; a sheet for each epoch is in the system's folder."""
    spec, recipe, run = experiment.recipe.synthesis, experiment.recipe, experiment.run
    small = experiment.small(spec.size)
    rows = experiment.split.parts["train"]
    targets = experiment.part("train").labels
    # Beside the checkpoints while it lasts: what else is in a run's folder is made again when it is taken up.
    sheets = run.checkpoints / SHEETS_NAME
    noise = fixed_noise(_COLUMNS, size=spec.noise, seed=recipe.seed, name="sheet")
    classes = experiment.catalog.classes
    real = [
        small.pixels[[i for i, t in zip(rows, targets, strict=True) if t == k][:_REAL_COLUMNS]]
        for k in range(len(classes))
    ]

    def draw(generator: Generator, row: GameRow) -> None:
        made = [paint(generator, noise, np.full(_COLUMNS, k)) for k in range(len(classes))]
        lines = [SheetRow(name=name, pictures=[*real[k], *made[k]]) for k, name in enumerate(classes) if len(real[k])]
        heads = ["real"] * _REAL_COLUMNS + [f"epoch {row.epoch}"]
        write_bytes(sheets / f"epoch-{row.epoch:04d}.png", picture_sheet(lines, heads=heads))

    game = play(
        experiment.shown(small, rows),
        targets,
        num_classes=len(classes),
        spec=spec,
        seed=recipe.seed,
        keeper=experiment.keeper("gan", rows),
        on_epoch=draw,
        listen=experiment.listen,
    )
    shutil.copytree(sheets, experiment.folder / SHEETS_NAME, dirs_exist_ok=True)
    return game, small.pixels


def _painted(experiment: Experiment, generator: Generator) -> _Painted:
    """As many pictures of each class as the recipe asks for, and what the frozen network sees in them."""
    spec, recipe = experiment.recipe.synthesis, experiment.recipe
    count, num_classes = spec.per_class, len(experiment.catalog.classes)
    noise = fixed_noise(count * num_classes, size=spec.noise, seed=recipe.seed, name="painted")
    targets = np.repeat(np.arange(num_classes), count)
    pixels = paint(generator, noise, targets)
    return _Painted(pixels=pixels, targets=targets, features=_features(experiment, pixels))


def _features(experiment: Experiment, pixels: NDArray[np.uint8], *, views: tuple[int, ...] | None = None) -> Features:
    """Features ``[V, M, D]`` of small pictures, enlarged as the classifier's own preprocessing enlarges pictures."""
    source = experiment.trainer.source
    return frozen_features(
        source,
        np.stack([source.preprocess.pixels(picture) for picture in pixels]),
        [str(i) for i in range(len(pixels))],
        views=views or experiment.trainer.views.train,
        listen=experiment.listen,
    )


def _keep(experiment: Experiment, painted: _Painted) -> None:
    """Write the painted pictures as arrays that `budwood` reads as a folder of pictures."""
    out = io.BytesIO()
    names = np.array([experiment.catalog.classes[k] for k in painted.targets])
    np.savez_compressed(out, images=painted.pixels, labels=names)
    write_bytes(experiment.folder / PAINTED_NAME, out.getvalue())


def _variety(experiment: Experiment, small: NDArray[np.uint8], painted: _Painted) -> Variety | None:
    """Painted pictures beside equally small real ones; None where the validation part is too small to tell.

    Equally many of each class are compared: as many as the validation part has, which stands for what is real and new.
    """
    val, train = experiment.part("val"), experiment.part("train")
    classes = experiment.catalog.classes
    made_rows, train_rows, val_rows = [], [], []
    for k in range(len(classes)):
        own = [np.flatnonzero(painted.targets == k), train.rows[train.labels == k], val.rows[val.labels == k]]
        count = min(map(len, own))
        made_rows.append(own[0][:count])
        train_rows.append(own[1][:count])
        val_rows.append(own[2][:count])
    if sum(map(len, val_rows)) <= NEAREST:
        return None
    of_val = _features(experiment, small[np.concatenate(val_rows)], views=(0,))[0]
    of_train = _features(experiment, small[np.concatenate(train_rows)], views=(0,))[0]
    of_made = painted.features[0][np.concatenate(made_rows)]
    labels = np.concatenate([np.full(len(rows), k) for k, rows in enumerate(val_rows)])
    return Variety(
        classes=class_variety((of_train, labels), (of_made, labels), classes=classes),
        made=likeness(of_train, of_made),
        reference=likeness(of_train, of_val),
    )


def _arm(experiment: Experiment, name: str, features: dict[str, Features], painted: _Painted) -> _Arm:
    """A head on some of the pictures, its penalty chosen by the validation part, which the GAN has not seen."""
    labels = experiment.part("train").labels
    num_classes = len(experiment.catalog.classes)
    rows, targets, more = features["train"], labels, None
    if name == BOTH:
        more = _added(painted, num_real=len(labels), num_classes=num_classes)
    elif name == PAINTED:
        rows, targets = painted.features, painted.targets
    val, val_labels = torch.from_numpy(features["val"]), experiment.part("val").labels
    tried = []
    for penalty in experiment.recipe.head.penalties:
        weight, bias = fit_head(rows, targets, num_classes=num_classes, penalty=penalty, weighing=more)
        logits = val @ torch.from_numpy(weight).T + torch.from_numpy(bias)
        loss, accuracy = loss_and_accuracy(logits.softmax(-1).mean(0).numpy(), val_labels)
        tried.append((loss, accuracy, penalty, weight, bias))
    loss, accuracy, penalty, weight, bias = min(tried, key=lambda each: each[0])
    model = experiment.trainer.untrained()
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
    return _Arm(
        name=name,
        num_real=0 if name == PAINTED else len(labels),
        num_painted=0 if name == REAL else len(painted.targets),
        penalty=penalty,
        val_loss=loss,
        val_accuracy=accuracy,
        model=model.eval(),
    )


def _added(painted: _Painted, *, num_real: int, num_classes: int) -> Weighing:
    """Every real picture once, and every painted one as much as a real one."""
    views, count, width = painted.features.shape
    return Weighing(
        weights=np.ones((1, num_real), np.float32),
        rows=painted.features.reshape(views * count, width),
        row_targets=np.tile(painted.targets, views),
        row_weights=np.ones((1, views * count), np.float32),
        offsets=np.zeros((1, num_classes), np.float32),
    )


def _metrics(
    experiment: Experiment,
    arms: list[_Arm],
    tests: list[Predictions],
    *,
    game: GameResult,
    variety: Variety | None,
    looks: Looks | None,
) -> dict[str, Any]:
    """What goes into metrics.json."""
    seed = experiment.recipe.seed
    metrics = summarise(tests[0], seed=seed)
    against = paired_difference(tests[0], tests[1], seed=seed)
    accuracies = [asdict(summarise(answers, seed=seed).accuracy) for answers in tests]
    return {
        "test": metrics.to_dict(),
        "selection": [
            {
                "name": f"head on {arm.name}",
                "accuracy": arm.val_accuracy,
                "deviation": None,
                "kind": "on the validation part; used to choose the penalty, so it is optimistic",
            }
            for arm in arms
        ],
        "baselines": [majority_class(experiment.part("train").labels, tests[0]).to_dict()],
        "refit": False,
        "scored": "bundle",
        **looked(looks, metrics),
        "synthesis": {
            "size": experiment.recipe.synthesis.size,
            "words": gain_words(against),
            "arms": [{**arm.to_dict(), "accuracy": value} for arm, value in zip(arms, accuracies, strict=True)],
            "against_real": against.to_dict(),
            "variety": variety.to_dict() if variety else None,
            "collapsed": list(variety.collapsed) if variety else [],
            "epochs": [asdict(row) for row in game.rows],
        },
    }


def gain_words(against: Comparison) -> str:
    """What painted pictures brought, in words that the interval and McNemar's test carry."""
    gain = against.accuracy
    points = f"{100 * gain.value:+.1f} points ({100 * gain.interval.low:+.1f} to {100 * gain.interval.high:+.1f})"
    said = {"better": "the painted pictures helped", "worse": "the painted pictures did harm"}
    return f"{said.get(against.verdict, 'no gain seen')}: {points} on {against.num_pictures} real test pictures"
