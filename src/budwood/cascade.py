"""The double model of report A3, for any tree of classes: one model a decision, joined by conditional probability.

Each decision is trained, by the recipe's own stages, on the training pictures of its classes alone; the joined answers
are compared with those of one plain model that was trained by the same recipe on the same pictures. How answers are
joined is `evaluation/class_tree.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.bundling import tell_scores
from budwood.data.loader import PixelSet
from budwood.errors import IntegrityError, SettingsError
from budwood.evaluation.baselines import majority_class
from budwood.evaluation.calibrate import Calibration, apply_temperature, fit_calibration
from budwood.evaluation.class_tree import ClassTree
from budwood.evaluation.compare import paired_difference
from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.experiment import Experiment, looked, relabelled
from budwood.export.bundle import Bundle, load, write_bundle
from budwood.export.bundle_facts import BundleFacts
from budwood.export.golden import golden_form, write_golden
from budwood.export.members import write_joined
from budwood.files import write_json
from budwood.test_lock import Looks
from budwood.trained import Trained
from budwood.training_record import training_record

_CHECKED, _TOLERANCE = 4, 1e-4  # test pictures that the written bundle answers again, and how far it may be off
Judged = Literal["val", "test"]


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """One decision: its model as a bundle, how it was trained, and its answers ``[N, branches]`` to whole parts."""

    bundle: Bundle
    trained: Trained
    tables: dict[Judged, NDArray[np.float32]]


def run_cascade(experiment: Experiment) -> None:
    """Train the plain model and each decision's, join them, score both on the same test pictures, write the bundle.

    Raises:
        SettingsError: the recipe's tree does not fit the classes.
    """
    recipe, run = experiment.recipe, experiment.run
    tree = recipe.cascade.tree_of(experiment.catalog.classes)
    if recipe.augment.classes:
        raise SettingsError(
            "augment.classes names classes, and the decisions of a cascade have others: use balance.method instead"
        )
    trained = experiment.trainer.train(experiment.part("train"), experiment.part("val"), name="single")
    trained.history.save(run.history)
    single = _written(experiment, trained, experiment.facts(), name="single")
    models = [_decide(experiment, tree, number) for number in range(len(tree.decisions))]

    looks = experiment.count_look()
    num_val, num_test = len(experiment.part("val")), len(experiment.part("test"))
    with experiment.evaluating(len(models) * (num_val + num_test) + num_test) as advance:
        decided = [_asked_of(experiment, bundle, made, advance) for bundle, made in models]
        single_test = experiment.answers(single, "test", advance)
    val = _labelled(experiment, tree, decided, "val")
    calibration = fit_calibration(val, fitted_on="the validation part")
    val, test = (
        replace(answers, probs=apply_temperature(answers.probs, calibration.temperature))
        for answers in (val, _labelled(experiment, tree, decided, "test"))
    )
    shipped = _write_joined(experiment, tree, decided, calibration=calibration, test=test)
    _complete(experiment, shipped, summarise(test, seed=recipe.seed))
    for name, answers in (("test", test), ("val", val), ("test-single", single_test)):
        answers.save(run.predictions(name))
    write_json(run.metrics, _scores(experiment, tree, decided, looks=looks, val=val, test=test, single=single_test))
    write_json(run.training, training_record(experiment.trainer, trained, experiment.environment))


def _decide(experiment: Experiment, tree: ClassTree, number: int) -> tuple[Bundle, Trained]:
    """Train one decision on the pictures of its classes, and write its bundle."""
    decision = tree.decisions[number]
    targets = tree.targets(number, experiment.pixels.targets)
    name = f"decision-{number + 1}"
    trainer = relabelled(experiment, decision.labels, targets, name=name)
    train, val = (_asked(experiment.part(part), targets) for part in ("train", "val"))
    trained = trainer.train(train, val, name=name)
    return _written(experiment, trained, experiment.facts(trainer), name=name), trained


def _asked(part: PixelSet, targets: NDArray[np.int64]) -> PixelSet:
    """The pictures of a part that a decision is about, with its branches as their classes."""
    return replace(part, targets=targets, rows=part.rows[targets[part.rows] >= 0])


def _written(experiment: Experiment, trained: Trained, facts: BundleFacts, *, name: str) -> Bundle:
    folder = experiment.folder / name
    write_bundle(folder, trained.model, facts)
    return load(folder)


def _asked_of(experiment: Experiment, bundle: Bundle, trained: Trained, advance: Callable[[int], None]) -> _Decided:
    """A decision's answers to every picture of the judged parts, also to those that others send elsewhere."""
    tables: dict[Judged, NDArray[np.float32]] = {}
    for name in ("val", "test"):
        part = experiment.part(name)
        tables[name] = bundle.predict_pixels(part.pixels[part.rows], advance=advance)
    return _Decided(bundle=bundle, trained=trained, tables=tables)


def _labelled(experiment: Experiment, tree: ClassTree, decided: list[_Decided], name: Judged) -> Predictions:
    """The joined answers to a part, not calibrated."""
    part = experiment.part(name)
    return Predictions(
        probs=tree.join([each.tables[name] for each in decided]),
        targets=part.labels,
        paths=tuple(part.paths[i] for i in part.rows),
        classes=tree.classes,
    )


def _write_joined(
    experiment: Experiment, tree: ClassTree, decided: list[_Decided], *, calibration: Calibration, test: Predictions
) -> Bundle:
    """Write the bundle that ships, and see that it answers as what was scored.

    Raises:
        IntegrityError: it does not.
    """
    facts = replace(
        experiment.facts(),
        kind="cascade",
        spec=None,
        preprocess=None,
        views=(),
        combine=tree.to_dict(),
        calibration=calibration,
    )
    names = [decision.labels[0] for decision in tree.decisions]
    bundle = write_joined(experiment.run.bundle, [each.bundle for each in decided], facts, names=names)
    images = experiment.images("test", limit=_CHECKED)
    away = float(np.abs(bundle.predict_images(images) - test.probs[: len(images)]).max())
    if away > _TOLERANCE:
        raise IntegrityError(
            f"the cascade's bundle differs by {away:.3g} from the answers that were scored (at most {_TOLERANCE:g} was"
            " expected): the pictures or their cache were changed during the run; run it again with --overwrite"
        )
    return bundle


def _complete(experiment: Experiment, bundle: Bundle, metrics: Metrics) -> None:
    """Golden pictures of the validation part, and the scores, for the bundle and its card."""
    images = [golden_form(image) for image in experiment.images("val", limit=experiment.recipe.export.golden)]
    if images:
        write_golden(bundle.folder, images, bundle.predict_images(images))
    tell_scores(bundle, metrics)


def _scores(
    experiment: Experiment,
    tree: ClassTree,
    decided: list[_Decided],
    *,
    looks: Looks | None,
    val: Predictions,
    test: Predictions,
    single: Predictions,
) -> dict[str, Any]:
    """What goes into metrics.json."""
    seed = experiment.recipe.seed
    metrics = summarise(test, seed=seed)
    selections = [
        {**score, "name": f"decision {number}, {score['name']}"}
        for number, each in enumerate(decided, start=1)
        for score in each.trained.selection()
    ]
    return {
        "test": metrics.to_dict(),
        "validation": summarise(val, seed=seed).to_dict(),
        "selection": selections,
        "baselines": [majority_class(experiment.part("train").labels, test).to_dict()],
        "refit": False,
        "scored": "bundle",
        **looked(looks, metrics),
        "cascade": {
            "words": str(tree),
            **tree.to_dict(),
            "single": summarise(single, seed=seed).to_dict(),
            "against_single": paired_difference(single, test, seed=seed).to_dict(),
            "decisions": [_own_score(tree, number, each, test) for number, each in enumerate(decided)],
        },
    }


def _own_score(tree: ClassTree, number: int, decided: _Decided, test: Predictions) -> dict[str, Any]:
    """How often a decision is right about the test pictures of its own classes."""
    targets = tree.targets(number, np.asarray(test.targets))
    own = targets >= 0
    right = decided.tables["test"][own].argmax(axis=1) == targets[own]
    return {
        "labels": list(tree.decisions[number].labels),
        "num_pictures": len(right),
        "accuracy": {"value": float(right.mean()), "interval": asdict(wilson(int(right.sum()), len(right)))},
    }
