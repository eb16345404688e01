"""`fit`: what a recipe's ``system`` names: a classifier, an ensemble, or one of the experiments of the reports.

One table says what carries out what; nothing is trained here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from budwood import pipeline
from budwood.cascade import run_cascade
from budwood.data.inputs.sources import check_source
from budwood.errors import SettingsError, UsageError
from budwood.events import Listener, Warned, silent
from budwood.experiment import Experiment, opened_experiment
from budwood.member_training import fit_members
from budwood.models.backbones import check_name
from budwood.one_class import run_one_class
from budwood.opening import new_run_path
from budwood.pipeline import Comparing
from budwood.recipe import Recipe, load_recipe
from budwood.runs import Run, RunDir
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
        raise SettingsError(
            "a Recipe already holds seed, folds, refit, tiny, clean and all settings: change them in it"
        )
    if recipe.system == "classifier" and not recipe.ensemble.members:
        return pipeline.fit(
            photos,
            recipe=recipe,
            out=out,
            compare=compare,
            threads=threads,
            split_file=split_file,
            overwrite=overwrite,
            resume=resume,
            devices=devices,
            nodes=nodes,
            tensorboard=tensorboard,
            listen=listen,
        )
    what = f'system = "{recipe.system}"' if recipe.system != "classifier" else "an ensemble"
    for option, given in (("compare", compare), ("tensorboard", tensorboard), ("devices", devices * nodes > 1)):
        if given:
            raise UsageError(f"--{option} is for a single classifier, and recipe {recipe.name} is {what}: drop it")
    if recipe.system == "classifier":
        return fit_members(
            photos,
            recipe=recipe,
            out=out,
            threads=threads,
            split_file=split_file,
            overwrite=overwrite,
            resume=resume,
            listen=listen,
        )
    return _fit_system(
        Path(photos).expanduser(),
        recipe,
        out=Path(out).expanduser() if out is not None else None,
        threads=threads,
        split_file=Path(split_file) if split_file else None,
        overwrite=overwrite,
        resume=resume,
        listen=listen,
    )


def _fit_system(
    photos: Path,
    recipe: Recipe,
    *,
    out: Path | None,
    threads: int | None,
    split_file: Path | None,
    overwrite: bool,
    resume: bool,
    listen: Listener,
) -> Run:
    check_source(photos)
    if split_file is not None and not split_file.is_file():
        raise UsageError(f"the split file {split_file} does not exist; make one with: budwood split {photos}")
    check_name(recipe.model.backbone)
    if resume and out is None:
        raise UsageError("resume needs the run's folder: give it with --out")
    path = out or new_run_path(recipe.name)
    if resume and RunDir(path).is_complete():
        shutil.rmtree(RunDir(path).checkpoints, ignore_errors=True)
        listen(Warned(text=f"{path} holds a run that is done: nothing was left to do"))
        return Run(path)
    with opened_experiment(
        photos,
        recipe,
        out=path,
        threads=threads,
        split_file=split_file,
        overwrite=overwrite,
        resume=resume,
        listen=listen,
    ) as (experiment, journal):
        SYSTEMS[recipe.system](experiment)
        journal.write("running", step="report")
        write_system_report(experiment.run)
    return Run(path)
