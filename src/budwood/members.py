"""The finished runs that are to be joined: read from their folders, and refused unless they share one split.

Report A2's ensemble had a member of another split: it had been trained on pictures that tested the others, so that the
local score was too high, and nobody could say by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from budwood.data.ledger import read_catalog
from budwood.data.records import Catalog
from budwood.data.split_file import read_split
from budwood.data.split_nouns import Split
from budwood.errors import IntegrityError, LeakError, SplitError, UsageError
from budwood.evaluation.joining import align_tables
from budwood.evaluation.joining_fits import Table
from budwood.evaluation.predictions import Predictions
from budwood.files import read_json
from budwood.runs import RunDir


@dataclass(frozen=True, kw_only=True)
class MemberRun:
    """One finished run as a member: ``val`` and ``test`` are answers of the bundle that was scored.

    cross_validated: out-of-fold answers to the pictures of all parts, where the run has folds. seconds: for the answer
    to one picture, None where it is not known.
    """

    run: RunDir
    name: str
    recipe: str
    photos: Path
    catalog: Catalog
    split: Split
    val: Predictions
    test: Predictions
    cross_validated: Predictions | None
    metrics: dict[str, Any]
    seconds: float | None

    def pictures(self, part: str) -> dict[str, str]:
        """Pixel digest -> path of the pictures of a part."""
        records = (self.catalog.records[i] for i in self.split.parts[part])
        return {record.pixel_digest: record.path for record in records}


def open_members(runs: Sequence[str | Path]) -> tuple[MemberRun, ...]:
    """Read runs and check that they can be joined.

    Raises:
        UsageError: there are fewer than two, one is named twice, is no run, or is not done.
        LeakError: one was trained on pictures that test or choose another. SplitError: their parts differ.
        IntegrityError: a file of a run was changed.
    """
    paths = [Path(run).expanduser() for run in runs]
    if len(paths) < 2:
        raise UsageError(f"an ensemble needs two runs or more; found {len(paths)}: budwood ensemble RUN RUN ...")
    twice = [path for i, path in enumerate(paths) if path.resolve() in {p.resolve() for p in paths[:i]}]
    if twice:
        raise UsageError(f"{twice[0]} is given twice; a run counts once, its weight is found by the method")
    names = [path.name if sum(p.name == path.name for p in paths) == 1 else str(path) for path in paths]
    members = tuple(_open(path, name=name) for path, name in zip(paths, names, strict=True))
    for other in members[1:]:
        refuse_other_split(members[0], other)
    return members


def refuse_other_split(first: MemberRun, other: MemberRun) -> None:
    """Raises LeakError or SplitError unless both were trained on one split; fewer training pictures are no matter."""
    advice = (
        f"train it again on the same split: budwood fit {other.photos} --split {first.run.split} --recipe"
        f" {other.recipe}"
    )
    for one, two in ((first, other), (other, first)):
        for part, what in (("test", "test"), ("val", "validation")):
            pictures = one.pictures(part)
            leaked = sorted(pictures[digest] for digest in pictures.keys() & two.pictures("train").keys())
            if leaked:
                raise LeakError(
                    f"{two.name} was trained on {len(leaked)} of the {len(pictures)} {what} pictures of {one.name},"
                    f" such as {leaked[0]}: it remembers them, and the ensemble's score would be too high; {advice}"
                )
    for part, what in (("test", "test"), ("val", "validation")):
        here, there = first.pictures(part), other.pictures(part)
        if here.keys() != there.keys():
            differ = len(here.keys() ^ there.keys())
            raise SplitError(
                f"the {what} parts of {first.name} and {other.name} differ in {differ} pictures; an ensemble is chosen"
                f" and scored on pictures that all members left out: {advice}"
            )


def choosing_answers(members: Sequence[MemberRun]) -> tuple[Table, Predictions, str]:
    """What is chosen by: out-of-fold answers where all members have them (but for the test part), else validation."""
    names = [member.name for member in members]
    pooled = [member.cross_validated for member in members if member.cross_validated is not None]
    if len(pooled) < len(members):
        return (*align_tables([member.val for member in members], names=names), "the validation part")
    unseen = set(members[0].test.paths)
    kept = [_without(answers, unseen) for answers in pooled]
    return (*align_tables(kept, names=names), "out-of-fold answers, the test part left out")


def _without(answers: Predictions, paths: set[str]) -> Predictions:
    rows = np.array([path not in paths for path in answers.paths])
    return Predictions(
        probs=answers.probs[rows],
        targets=None if answers.targets is None else answers.targets[rows],
        paths=tuple(path for path in answers.paths if path not in paths),
        classes=answers.classes,
    )


def _open(path: Path, *, name: str) -> MemberRun:
    run = RunDir(path)
    if not run.status.is_file():
        raise UsageError(f"{path} is no run (no status.json in it); give folders that `budwood fit` made")
    status = run.read_status()
    if status.get("state") != "done":
        raise UsageError(f"the run {path} is {status.get('state')}, not done; go on with: {status.get('go_on')}")
    problems = [problem for problem in run.verify() if not problem.startswith(run.report.name)]
    if problems:
        raise IntegrityError(f"the run {path} is not what was written: {'; '.join(problems[:3])}")
    environment = read_json(run.environment)
    photos = Path(environment["photos"])
    catalog = read_catalog(run.catalog, Path(environment.get("root", photos)))
    folds = run.predictions("cross-validation")
    metrics = read_json(run.metrics)
    val, test = Predictions.load(run.predictions("val")), Predictions.load(run.predictions("test"))
    return MemberRun(
        run=run,
        name=name,
        recipe=_recipe_name(run),
        photos=photos,
        catalog=catalog,
        split=read_split(run.split, catalog),
        val=val,
        test=test,
        cross_validated=Predictions.load(folds) if folds.is_file() else None,
        metrics=metrics,
        seconds=_seconds(metrics, status, pictures=len(test)),
    )


def _recipe_name(run: RunDir) -> str:
    """Only the name: settings of a newer version are no reason to refuse a run's answers."""
    import tomllib

    return str(tomllib.loads(run.recipe.read_text(encoding="utf-8")).get("name", run.path.name))


def _seconds(metrics: dict[str, Any], status: dict[str, Any], *, pictures: int) -> float | None:
    """For one picture: as timed for test-time views; else by the step that answered the test part in one view."""
    of_members = metrics.get("ensemble", {}).get("score", {}).get("seconds")
    if timed := metrics.get("tta", {}).get("seconds_a_picture") or of_members:
        return float(timed)
    steps = [step["seconds"] for step in status.get("steps", []) if step["name"] == "evaluate"]
    return float(steps[0]) / pictures if steps and pictures else None
