"""`combine`: finished runs of one split -> a run like any other, whose bundle asks all of them.

How to join is chosen by the validation answers (out-of-fold ones, where every member has them), and scored on the test
part: one more look at it, which is counted. No network is trained or run here, but for a few pictures at the end, by
which the written bundle is checked against the answers that were scored.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from budwood import machine
from budwood.ensemble_report import write_ensemble_report
from budwood.errors import IntegrityError
from budwood.evaluation.calibrate import Calibration, apply_temperature, fit_calibration
from budwood.evaluation.calibration_score import calibration_scores
from budwood.evaluation.joining import Joining, JoinMethod, align_tables, choose_joining, held_out_answers
from budwood.evaluation.joining_fits import Table
from budwood.evaluation.joining_score import EnsembleScore, score_ensemble
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, StepFinished, StepStarted, Warned, silent
from budwood.export.bundle import load
from budwood.export.bundle_facts import read_facts
from budwood.export.members import write_ensemble
from budwood.files import read_json, unescape_name, write_json, write_text
from budwood.members import MemberRun, choosing_answers, open_members
from budwood.noting import counted_look, looked, noted
from budwood.opening import Journal, command_line, new_run_path, opened_run
from budwood.recipe import EnsembleSpec, Recipe
from budwood.runs import Run, RunDir
from budwood.test_lock import Looking, fingerprint_of_test_part

_CHECKED = 4  # test pictures that the written bundle answers again
_TOLERANCE = 1e-3
_FROM_FIRST = ("catalog", "split", "findings")  # what a run's folder holds about its pictures


def combine(
    runs: Sequence[str | Path],
    *,
    method: JoinMethod = "auto",
    out: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    listen: Listener = silent,
) -> Run:
    """Join finished runs of one split; leaves a run folder with scores, predictions, report and bundle.

    Args:
        runs: folders of two runs or more, made with the same split (``budwood fit --split``).
        method: how to join, see `evaluation.joining.choose_joining`; ``auto`` lets the validation answers choose.
        out: the run's folder; ``runs/<time>-ensemble`` unless given.
        seed: of folds and bootstraps.
        overwrite: replace an earlier run in ``out``.
        listen: hears of progress.

    Raises:
        UsageError: a folder is no finished run. LeakError, SplitError: the runs have different splits.
        IntegrityError: a run was changed since it was written.
    """
    members = open_members(runs)
    path = Path(out).expanduser() if out is not None else new_run_path("ensemble")
    recipe = Recipe(
        name="ensemble",
        seed=seed,
        ensemble=EnsembleSpec(members=tuple(member.recipe for member in members), method=method),
    )
    command = command_line()
    with opened_run(path, photos=members[0].photos, overwrite=overwrite, command=command) as (run, journal):
        join(run, journal, members, recipe=recipe, listen=listen)
    run.seal()
    return Run(path)


def join(
    run: RunDir,
    journal: Journal,
    members: Sequence[MemberRun],
    *,
    recipe: Recipe,
    looking: Looking | None = None,
    listen: Listener = silent,
) -> None:
    """Choose, write the bundle, score it once, and report, all into an opened run folder.

    Args:
        looking: in whose name the look is counted, where the members' looks are counted in it, too.
    """
    told = noted(run, journal, listen)
    start = time.perf_counter()
    told(StepStarted(step="ensemble", total=1))
    write_text(run.recipe, recipe.to_toml())
    _take_over(run, members[0])
    for member in members:
        if member.metrics.get("refit"):
            told(Warned(text=f"{member.name}: the model that was scored is joined, not the one refitted on all parts"))
    choice = _choose(members, recipe)
    first = members[0]
    looks = None
    # Where no member's look was counted they are tiny ones: they learn nothing of the test part.
    if any("test_looks" in member.metrics for member in members):
        mine = looking or _looking(run, members, recipe)
        looks = counted_look(first.photos, first.split, first.catalog, looking=mine, listen=told)
    val, test, score = _judge(members, choice, seed=recipe.seed)
    val.save(run.predictions("val"))
    test.save(run.predictions("test"))
    metrics = summarise(test, seed=recipe.seed)
    _write_bundle(
        run, members, recipe, choice, {"test": metrics.to_dict(), "note": f"Against a member: {score.words}."}
    )
    _check_bundle(run, members[0], test, listen=told)
    write_json(
        run.metrics,
        {
            "test": metrics.to_dict(),
            "validation": summarise(val, seed=recipe.seed).to_dict(),
            "selection": [_selection(choice)],
            "baselines": members[0].metrics["baselines"],
            "refit": False,
            "scored": "bundle",
            "calibration": calibration_scores(choice.calibration, test),
            **looked(looks, metrics),
            "ensemble": _described(members, choice, score, seed=recipe.seed),
        },
    )
    told(StepFinished(step="ensemble", seconds=time.perf_counter() - start, note=score.words))
    write_ensemble_report(run)
    journal.write("done", step="report")


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """How to join, and by what: the members' answers ``tables [M, N, K]``, and the joined ones, each held out."""

    joining: Joining
    calibration: Calibration
    tables: Table
    held_out: Predictions
    chosen_on: str


def _choose(members: Sequence[MemberRun], recipe: Recipe) -> _Choice:
    tables, first, chosen_on = choosing_answers(members)
    targets = np.asarray(first.targets)
    joining = choose_joining(tables, targets, method=recipe.ensemble.method, seed=recipe.seed)
    held_out = replace(first, probs=held_out_answers(joining.method, tables, targets, seed=recipe.seed))
    calibration = fit_calibration(held_out, fitted_on=f"{chosen_on}, by which members and weights were chosen, too")
    return _Choice(joining=joining, calibration=calibration, tables=tables, held_out=held_out, chosen_on=chosen_on)


def _write_bundle(
    run: RunDir, members: Sequence[MemberRun], recipe: Recipe, choice: _Choice, metrics: dict[str, Any]
) -> None:
    asked = [members[i] for i in choice.joining.members]
    write_ensemble(
        run.bundle,
        [member.run.judged_bundle() for member in asked],
        choice.joining.how,
        training=_training(members[0], recipe),
        versions=machine.versions(),
        names=[member.name for member in asked],
        calibration=choice.calibration,
        split=fingerprint_of_test_part(members[0].split, members[0].catalog),
        metrics=metrics,
    )


def _take_over(run: RunDir, first: MemberRun) -> None:
    """What is said about the pictures is the first member's: they have one split."""
    for name in _FROM_FIRST:
        source: Path = getattr(first.run, name)
        shutil.copyfile(source, getattr(run, name))
    environment = read_json(first.run.environment)
    write_json(run.environment, {**environment, "versions": machine.versions()})


def _judge(
    members: Sequence[MemberRun], choice: _Choice, *, seed: int
) -> tuple[Predictions, Predictions, EnsembleScore]:
    """The ensemble's answers to validation and test part, and its score beside its members'."""
    names, joining = [member.name for member in members], choice.joining
    joined = []
    for part in ([member.val for member in members], [member.test for member in members]):
        tables, own = align_tables(part, names=names)
        joined.append(replace(own, probs=apply_temperature(joining.answer(tables), choice.calibration.temperature)))
    weights = dict(zip(joining.members, joining.how.weights or [None] * len(joining.members), strict=True))
    score = score_ensemble(
        joined[1],
        members=[member.test for member in members],
        chosen_by=[replace(choice.held_out, probs=table) for table in choice.tables],
        names=names,
        used=[i in joining.members for i in range(len(members))],
        weights=[weights.get(i) for i in range(len(members))],
        seconds=[member.seconds for member in members],
        seed=seed,
    )
    return joined[0], joined[1], score


def _looking(run: RunDir, members: Sequence[MemberRun], recipe: Recipe) -> Looking:
    """The same runs joined in the same way into the same folder are one look."""
    return Looking(
        run=run.path,
        kind="ensemble",
        recipe=recipe.name,
        seed=recipe.seed,
        settings=recipe.to_toml() + "".join(str(member.run.path.resolve()) for member in members),
        members=tuple(member.name for member in members),
    )


def _training(first: MemberRun, recipe: Recipe) -> dict[str, Any]:
    """What the first member's bundle says about its pictures, with the ensemble's own recipe and seed."""
    known = read_facts(first.run.judged_bundle()).training
    return {**known, "recipe": recipe.name, "seed": recipe.seed}


def _selection(choice: _Choice) -> dict[str, Any]:
    joining = choice.joining
    return {
        "name": f"{len(joining.members)} models joined by {joining.method}",
        "accuracy": _accuracy(choice.held_out),
        "deviation": None,
        "kind": f"on {choice.chosen_on}; used to choose members and weights, so it is optimistic",
    }


def _described(members: Sequence[MemberRun], choice: _Choice, score: EnsembleScore, *, seed: int) -> dict[str, Any]:
    """What metrics.json holds of an ensemble, and its page shows."""
    return {
        "seed": seed,
        "chosen_on": choice.chosen_on,
        "accuracy": _accuracy(choice.held_out),
        "words": score.words,
        "joining": choice.joining.to_dict(),
        "score": score.to_dict(),
        "members": [{"name": m.name, "recipe": m.recipe, "run": str(m.run.path.resolve())} for m in members],
    }


def _accuracy(answers: Predictions) -> float:
    return float((answers.predicted == answers.targets).mean())


def _check_bundle(run: RunDir, first: MemberRun, test: Predictions, *, listen: Listener) -> None:
    """What ships has to answer as what was scored: a few test pictures, where they still are.

    Raises:
        IntegrityError: the written bundle answers differently.
    """
    bundle = load(run.bundle)
    digests = {record.path: record for record in first.catalog.records}
    files = [first.catalog.root / unescape_name(path) for path in test.paths[:_CHECKED]]
    if not all(path in digests for path in test.paths[:_CHECKED]) or not all(file.is_file() for file in files):
        listen(Warned(text="the test pictures are not where they were: the bundle was not tried on them"))
        return
    again = bundle.predict(files)
    columns = [again.classes.index(name) for name in test.classes]
    away = float(np.abs(again.probs[:, columns] - test.probs[: len(files)]).max())
    if away > _TOLERANCE:
        raise IntegrityError(
            f"the ensemble's bundle differs by {away:.3g} from the members' stored answers to {test.paths[0]} and"
            f" others (at most {_TOLERANCE:g} was expected): a member's bundle or pictures were changed since its run"
        )
