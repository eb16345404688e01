"""`fit`: what a recipe's ``system`` names: a classifier, an ensemble, or one of the experiments of the reports.

One table says what carries out what; nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from budwood import pipeline
from budwood.cascade import run_cascade
from budwood.errors import SettingsError, UsageError
from budwood.events import Listener, silent
from budwood.experiment import Experiment, opened_experiment
from budwood.member_training import fit_members
from budwood.one_class import run_one_class
from budwood.order import Order, checked_order
from budwood.pipeline import Comparing
from budwood.recipe import Recipe, load_recipe
from budwood.runs import Run
from budwood.synthesis import run_synthesis
from budwood.system_page import write_system_report

SYSTEMS: dict[str, Callable[[Experiment], None]] = {
    "cascade": run_cascade,
    "one-class": run_one_class,
    "synthesis": run_synthesis,
}


def fit(
    photos: str | Path,
    *,
    recipe: str | Recipe = "probe",
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    folds: int | None = None,
    refit: bool = False,
    tiny: bool = False,
    clean: bool = False,
    compare: Comparing | None = None,
    threads: int | None = None,
    split_file: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    tensorboard: str | Path | None = None,
    listen: Listener = silent,
) -> Run:
    """Scan, audit, split, train, score the test part once, and leave report, predictions and bundle in a run folder.

    Args:
        photos: a folder of class folders, of train/val/test folders, a table, an archive or arrays (docs/inputs.md).
        recipe: a packaged recipe's name, a TOML file, or a `Recipe`.
        out: the run's folder; ``runs/<time>-<recipe>`` unless given.
        overrides: settings such as ``"train.lr=3e-4"``, applied over the recipe.
        seed, folds, refit, tiny: shorthands for the recipe's settings of these names.
        clean: leave out copies and equal pictures of two classes, where the recipe has no policy of its own.
        compare: also train on the pictures before cleaning ("clean"), or try ways against imbalance ("balance").
        threads: use exactly so many; None measures.
        split_file: a split made before (``budwood split``), instead of a new one; refused when it leaks.
        overwrite: replace an earlier run in ``out``.
        resume: go on with the run in ``out`` where it stopped; one that never began is begun.
        devices, nodes: processes a host, and hosts, that share each batch (docs/devices.md).
        tensorboard: a folder that gets the epochs as TensorBoard reads them; needs the extra of this name.
        listen: hears of progress.

    Raises:
        UsageError: the call or a setting is wrong. DataError: the pictures cannot be used. Interrupted: stopped.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, overrides=overrides, seed=seed, folds=folds, refit=refit, tiny=tiny, clean=clean)
    elif overrides or seed is not None or folds is not None or refit or tiny or clean:
        raise SettingsError("a Recipe already holds seed, folds, refit, tiny, clean and all settings: change it there")
    order = checked_order(
        photos,
        recipe=recipe,
        out=out,
        threads=threads,
        split_file=split_file,
        overwrite=overwrite,
        resume=resume,
        listen=listen,
    )
    if recipe.system == "classifier" and not recipe.ensemble.members:
        return pipeline.fit(order, compare=compare, devices=devices, nodes=nodes, tensorboard=tensorboard)
    _refuse(recipe, {"compare": compare, "tensorboard": tensorboard, "devices": devices * nodes > 1})
    return fit_members(order) if recipe.system == "classifier" else _fit_system(order)


def _refuse(recipe: Recipe, options: Mapping[str, object]) -> None:
    what = f'system = "{recipe.system}"' if recipe.system != "classifier" else "an ensemble"
    for option, given in options.items():
        if given:
            raise UsageError(f"--{option} is for a single classifier, and recipe {recipe.name} is {what}: drop it")


def _fit_system(order: Order) -> Run:
    if done := order.finished():
        return done
    with opened_experiment(order) as (experiment, journal):
        SYSTEMS[order.recipe.system](experiment)
        journal.write("running", step="report")
        write_system_report(experiment.run)
    return Run(order.path)
