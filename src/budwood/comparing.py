"""From run folders to a comparison: which runs may be compared, which are seeds of one way of training.

It reads what the runs wrote (recipe, split, answers to the test part) and opens no bundle and no picture, so it is no
further look at the test part. The statistics are `evaluation/versus.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budwood.data.ledger import read_catalog
from budwood.errors import DataError, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.versus import Arm, Versus, versus
from budwood.files import read_json, sha256_bytes
from budwood.recipe import Recipe, parse_recipe
from budwood.runs import RunDir

_SHOWN = 12  # digits of a fingerprint in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """A finished run: its settings, its answers to the test part, and what that part is.

    test: the fingerprint of the test part: paths, labels and pixels. looks: how often it had been looked at, as the run
    knew; None where the run did not say.
    """

    path: Path
    recipe: Recipe
    predictions: Predictions
    test: str
    looks: int | None

    @property
    def way(self) -> str:
        """The settings without the seed: equal for runs that differ by it alone."""
        return self.recipe.model_copy(update={"seed": 0, "description": ""}).to_toml()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """What `compare` found, and of which run folders each arm was made."""

    found: Versus
    folders: tuple[tuple[Path, ...], ...]
    test: str
    looks: int | None

    def notes(self) -> tuple[str, ...]:
        """How the numbers have to be read."""
        text = "The answers were read from the runs' folders: comparing is no further look at the test part."
        if self.looks and self.looks > 1:
            text += f" It had been looked at {self.looks} times; whoever picks the best of these runs picks luck too."
        return (*self.found.notes(), text)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        folders = {
            arm.name: [str(path) for path in paths] for arm, paths in zip(self.found.arms, self.folders, strict=True)
        }
        return {**self.found.to_dict(), "notes": list(self.notes()), "runs": folders, "test": self.test}


def compare_runs(
    runs: Sequence[str | Path], *, noise: Sequence[str | Path] = (), seed: int = 0, resamples: int = 2000
) -> RunComparison:
    """Compare finished runs on the same test pictures; runs that differ by the seed alone become one arm.

    Args:
        runs: folders of two or more runs, on one split (``fit --split FILE``).
        noise: further runs on that split that differ from each other by the seed alone; they measure the noise floor.
        seed, resamples: of the bootstrap.

    Raises:
        UsageError: a folder is no finished run, or there are not two ways of training to compare.
        DataError: the runs were scored on different test pictures.
    """
    opened = [open_run(path) for path in runs]
    _refuse_twice(opened)
    others = [open_run(path) for path in noise]
    if others and max(len(group) for group in _groups(others)) < 2:
        raise UsageError("--noise names no two runs that differ by the seed alone: give runs of one recipe")
    _refuse_other_parts([*opened, *others])
    groups = _groups(opened)
    if len(groups) < 2:
        raise UsageError(
            "the runs differ by nothing but their seeds: that measures noise, and there is nothing to compare it with."
            " Name a run with other settings too"
        )
    names = _names(groups)
    found = versus(
        [_arm(name, group) for name, group in zip(names, groups, strict=True)],
        noise=[_arm(f"noise {i}", group) for i, group in enumerate(_groups(others)) if len(group) > 1],
        seed=seed,
        resamples=resamples,
    )
    looks = [run.looks for run in opened if run.looks is not None]
    return RunComparison(
        found=found,
        folders=tuple(tuple(run.path for run in group) for group in groups),
        test=opened[0].test,
        looks=max(looks) if looks else None,
    )


def open_run(path: str | Path) -> ComparedRun:
    """Read what a comparison needs of a run.

    Raises:
        UsageError: the folder is no run, or its run has not scored its test part. IntegrityError: a file was changed.
    """
    run = RunDir(Path(path).expanduser())
    if not run.path.is_dir():
        raise UsageError(f"{run.path} is no folder: name the folders of finished runs, such as runs/20250101-probe")
    if not run.status.is_file():
        what = "is a bundle" if (run.path / "bundle.json").is_file() else "holds no run of budwood fit"
        raise UsageError(f"{run.path} {what}: name the folders of finished runs")
    state = run.read_status().get("state")
    if not run.predictions("test").is_file() or not run.metrics.is_file():
        raise UsageError(
            f"{run.path} has no answers to a test part (its state is {state}), and selection scores are not compared."
            f" Finish the run: budwood fit ... --out {run.path} --resume"
        )
    metrics = read_json(run.metrics)
    counted = metrics.get("test_looks")
    return ComparedRun(
        path=run.path,
        recipe=parse_recipe(run.recipe.read_text(encoding="utf-8"), source=str(run.recipe)),
        predictions=Predictions.load(run.predictions("test")),
        test=_fingerprint(run),
        looks=int(counted) if counted is not None else None,
    )


def _fingerprint(run: RunDir) -> str:
    """Of the test part: (path, label, pixels) of its pictures, as `test_lock` takes it."""
    environment, split = read_json(run.environment), read_json(run.split)
    catalog = read_catalog(run.catalog, Path(environment.get("root", environment["photos"])))
    records = {record.path: record for record in catalog.records}
    parts = sorted(split["parts"]["test"])
    lines = (f"{path}\0{records[path].label}\0{records[path].pixel_digest}" for path in parts)
    return sha256_bytes("\n".join(lines).encode("utf-8"))


def _refuse_twice(runs: Sequence[ComparedRun]) -> None:
    seen: set[Path] = set()
    for run in runs:
        place = run.path.resolve()
        if place in seen:
            raise UsageError(f"{run.path} is named twice; a run cannot be compared with itself")
        seen.add(place)


def _refuse_other_parts(runs: Sequence[ComparedRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.test == first.test:
            continue
        own, others = set(first.predictions.paths), set(run.predictions.paths)
        raise DataError(
            f"{first.path} and {run.path} were scored on different test parts (fingerprints {first.test[:_SHOWN]} and"
            f" {run.test[:_SHOWN]}; {len(own & others)} of {len(own)} and {len(others)} pictures are in both), so their"
            f" scores cannot be compared. Train both on one split: budwood fit PHOTOS --split {first.path}/split.json"
        )


def _groups(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Runs of one way of training together, in the order in which each way came first.

    A run of a way and seed that are there already stands alone: it is the same training over again, or other code.
    """
    groups: dict[tuple[str, int], list[ComparedRun]] = {}
    for run in runs:
        number = 0
        while any(run.recipe.seed == other.recipe.seed for other in groups.get((run.way, number), ())):
            number += 1
        groups.setdefault((run.way, number), []).append(run)
    return list(groups.values())


def _names(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """The folder's name, or the recipe's with its seeds; whole paths where such names are not distinct."""

    def short(group: Sequence[ComparedRun]) -> str:
        if len(group) == 1:
            return group[0].path.name
        seeds = ", ".join(str(run.recipe.seed) for run in group)
        return f"{group[0].recipe.name} (seeds {seeds})"

    names = [short(group) for group in groups]
    return [
        name if names.count(name) == 1 else f"{name}: {group[0].path}"
        for name, group in zip(names, groups, strict=True)
    ]


def _arm(name: str, group: Sequence[ComparedRun]) -> Arm:
    return Arm(name=name, answers={str(run.path): run.predictions for run in group})
