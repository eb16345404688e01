"""`RunDir`: the name of every artefact that a run writes; `Run`: a finished run as Python sees it.

How a run's folder is taken, locked and ended is in `opening.py`.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from budwood.errors import IntegrityError
from budwood.evaluation.predictions import Predictions
from budwood.files import (
    MANIFEST_NAME,
    check_manifest,
    read_json,
    write_manifest,
)
from budwood.train.history import History

LOCK_NAME = ".lock"
RunState = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """One finished step: seconds, and one line about it."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunDir:
    """The folder of one run. Its small files can be read by a person; the report is rebuilt from them."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def command(self) -> Path:
        return self.path / "command.txt"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.csv"

    @property
    def findings(self) -> Path:
        return self.path / "findings.json"

    @property
    def split(self) -> Path:
        return self.path / "split.json"

    @property
    def training(self) -> Path:
        return self.path / "training.json"

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def comparison(self) -> Path:
        """What ``--compare`` found, where it was asked for."""
        return self.path / "comparison.json"

    @property
    def warnings(self) -> Path:
        return self.path / "warnings.jsonl"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        """The state of a training under way; gone when the run is done."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """What ships."""
        return self.path / "bundle"

    @property
    def scored_bundle(self) -> Path:
        """The model that was scored, where another one (refitted on all parts) ships."""
        return self.path / "bundle-scored"

    @property
    def members(self) -> Path:
        """The runs of an ensemble's members, where one command trained them."""
        return self.path / "members"

    @property
    def explain(self) -> Path:
        """Why the model answers as it does: controls and maps."""
        return self.path / "explain"

    @property
    def system_files(self) -> Path:
        """What only an experiment writes."""
        return self.path / "system"

    def system(self) -> str:
        """What the run made, as its recipe names it: ``"classifier"`` unless it was one of the experiments.

        Raises:
            IntegrityError: the recipe is missing or no TOML.
        """
        try:
            return str(tomllib.loads(self.recipe.read_text(encoding="utf-8")).get("system", "classifier"))
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{self.recipe} cannot be read ({error}); it was changed or cut") from error

    def predictions(self, part: str) -> Path:
        """The predictions of a part (``val``, ``test``, ``cross-validation``)."""
        return self.path / "predictions" / f"{part}.csv"

    def judged_bundle(self) -> Path:
        """The bundle whose predictions and scores the run holds."""
        return self.scored_bundle if self.scored_bundle.is_dir() else self.bundle

    def read_status(self) -> dict[str, Any]:
        """The state, the step, when it began and how to go on."""
        values = read_json(self.status)
        if not isinstance(values, dict):
            raise IntegrityError(f"{self.status} holds no table; the run folder was changed")
        return values

    def warn(self, text: str) -> None:
        """Add a line to the run's warnings."""
        with self.warnings.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"warning": text}, ensure_ascii=False) + "\n")

    def read_warnings(self) -> tuple[str, ...]:
        """The warnings so far; a line cut off by a crash is left out."""
        if not self.warnings.is_file():
            return ()
        found = []
        for line in self.warnings.read_text(encoding="utf-8").splitlines():
            try:
                found.append(str(json.loads(line)["warning"]))
            except (ValueError, KeyError):
                continue  # the last line of a killed run
        return tuple(found)

    def seal(self) -> None:
        """Write the manifest: from now on `verify` finds every changed byte."""
        write_manifest(self.path, skip=[LOCK_NAME, self.checkpoints.name])

    def is_complete(self) -> bool:
        """Whether the run is done and sealed: nothing is left to do."""
        return (
            self.status.is_file()
            and (self.path / MANIFEST_NAME).is_file()
            and self.read_status().get("state") == "done"
        )

    def verify(self) -> list[str]:
        """One line for each difference from what was written; empty when there is none."""
        return check_manifest(self.path, skip=[LOCK_NAME, self.checkpoints.name])


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, as Python sees it."""

    path: Path

    @property
    def folder(self) -> RunDir:
        """The names of the run's files."""
        return RunDir(self.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """All scores: ``test``, ``selection``, ``baselines`` and more; see metrics.json."""
        values: dict[str, Any] = read_json(self.folder.metrics)
        return values

    @property
    def history(self) -> History:
        """The epochs of fine-tuning; empty for a probe."""
        return History.load(self.folder.history)

    @property
    def predictions(self) -> Predictions:
        """The test part's predictions, made by the bundle that was scored."""
        return Predictions.load(self.folder.predictions("test"))

    @property
    def comparison(self) -> dict[str, Any]:
        """What ``compare`` found; see comparison.json.

        Raises:
            IntegrityError: the run was made without a comparison.
        """
        values: dict[str, Any] = read_json(self.folder.comparison)
        return values

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder.report

    @property
    def bundle(self) -> Path:
        """The folder that ships: give it to `budwood.load`."""
        return self.folder.bundle
