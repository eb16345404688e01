"""A sweep's folder: what every arm was asked and what it answered, kept so that no kill loses a finished arm.

``sweep.json`` says what is searched, ``arms/000/`` holds ``settings.json``, the answers and histories, and last of all
``outcome.json``: an arm without one has not ended and is run again. It does not know how arms are made or judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from budwood.errors import IntegrityError, OutputError
from budwood.evaluation.predictions import Predictions
from budwood.files import ensure_writable, read_json, sha256_file, sweep_leftovers, write_json, write_text

State = Literal["finished", "stopped", "failed"]
FORMAT = 1
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of an arm: with one seed, judged on one fold (0 where there are no folds)."""

    seed: int
    fold: int
    accuracy: float
    log_loss: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmAnswer:
    """What an arm answers.

    predictions: for each seed, to every picture that is judged, each by a model that was not trained on it.
    trainings: one for each seed and fold. history: CSV text with the epochs of all trainings. notes: what was noticed.
    """

    predictions: Mapping[int, Predictions]
    trainings: tuple[Training, ...]
    history: str = ""
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The accuracy over all pictures and seeds: what a search goes by."""
        return sum(float((p.predicted == p.targets).mean()) for p in self.predictions.values()) / len(self.predictions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One combination of settings and how it ended.

    reason: why it was stopped or failed. reports: the scores that were told on the way, by step.
    """

    number: int
    settings: dict[str, Any]
    state: State
    answer: ArmAnswer | None = None
    reason: str = ""
    error: str = ""
    reports: dict[int, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The time of all its trainings; 0 where it has no answer."""
        return sum(training.seconds for training in self.answer.trainings) if self.answer else 0.0


class SweepFolder:
    """The files of one sweep; see the module for what lies where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts = path / "sweep.json"
        self.journal = path / "journal.log"
        self.arms_folder = path / "arms"
        self.initial = path / "initial"
        self.recipe = path / "recipe.toml"
        self.command = path / "command.txt"
        self.split = path / "split.json"
        self.catalog = path / "catalog.csv"
        self.results = path / "results.json"
        self.report = path / "report.html"

    @contextmanager
    def opened(self, identity: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Hold the folder: a new one, or with ``resume`` one of a sweep with the same ``identity``.

        Args:
            identity: JSON-ready; all that two sweeps must share for their arms to be comparable.

        Raises:
            OutputError: it is in use, holds something, or holds another sweep.
        """
        ensure_writable(self.path)
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(f"{self.path} is in use by another Budwood process; wait for it") from error
        try:
            self._claim(dict(identity), resume=resume)
            yield
        finally:
            lock.release()
            (self.path / _LOCK).unlink(missing_ok=True)

    def _claim(self, identity: dict[str, Any], *, resume: bool) -> None:
        if self.facts.is_file() and not resume:
            raise OutputError(f"{self.path} already holds a sweep; go on with it with --resume, or choose --out")
        if not self.facts.is_file():
            others = [entry.name for entry in self.path.iterdir() if entry.name != _LOCK]
            if others:
                raise OutputError(f"{self.path} holds {sorted(others)[0]} and no sweep; choose another --out")
        for folder in (self.path, *self.arms_folder.glob("*/")):
            sweep_leftovers(folder)
        self.confirm({"format": FORMAT, **identity})

    def confirm(self, identity: Mapping[str, Any]) -> None:
        """Compare with what the sweep was begun with, and keep what is not known yet.

        Raises:
            OutputError: something differs.
        """
        found = read_json(self.facts) if self.facts.is_file() else {}
        other = sorted(key for key, value in identity.items() if key in found and found[key] != value)
        if other:
            raise OutputError(
                f"{self.path} holds a sweep with another {_listed(other)}: its arms cannot be compared with new ones."
                " Choose another --out, or give the same settings"
            )
        write_json(self.facts, {**found, **identity})

    def arm_folder(self, number: int) -> Path:
        """Where arm ``number`` keeps its files."""
        return self.arms_folder / f"{number:03d}"

    def under_way(self, number: int) -> Path:
        """Where an arm that has not ended keeps what a killed process leaves to the next one."""
        return self.arm_folder(number) / "under-way"

    def begin(self, number: int, settings: Mapping[str, Any]) -> Path:
        """`under_way` of an arm that is about to run; what an attempt with other settings left there is removed."""
        folder = self.arm_folder(number)
        known = folder / "settings.json"
        if folder.is_dir() and (not known.is_file() or read_json(known) != dict(settings)):
            shutil.rmtree(folder)
        write_json(known, dict(settings))
        return self.under_way(number)

    def end(self, arm: Arm) -> None:
        """Keep how an arm ended; it counts as ended once this returns, and not before."""
        folder, answer = self.arm_folder(arm.number), arm.answer
        files: list[Path] = []
        if answer is not None:
            for seed, predictions in answer.predictions.items():
                files.append(folder / f"predictions-{seed}.csv")
                predictions.save(files[-1])
            files.append(folder / "history.csv")
            write_text(files[-1], answer.history)
        write_json(
            folder / "outcome.json",
            {
                "state": arm.state,
                "reason": arm.reason,
                "error": arm.error,
                "reports": {str(step): value for step, value in arm.reports.items()},
                "seeds": list(answer.predictions) if answer else [],
                "trainings": [asdict(training) for training in answer.trainings] if answer else [],
                "notes": list(answer.notes) if answer else [],
                "files": {file.name: sha256_file(file) for file in files},
            },
        )
        shutil.rmtree(self.under_way(arm.number), ignore_errors=True)

    def load(self, number: int) -> Arm | None:
        """An arm that has ended; None where there is none.

        Raises:
            IntegrityError: its files are not what was written.
        """
        folder = self.arm_folder(number)
        if not (folder / "outcome.json").is_file():
            return None
        found, settings = read_json(folder / "outcome.json"), read_json(folder / "settings.json")
        try:
            for name, digest in found["files"].items():
                if sha256_file(folder / name) != digest:
                    raise IntegrityError(f"{folder / name} was changed; remove {folder} to run this arm again")
            answer = _answer(folder, found) if found["state"] == "finished" else None
            reports = {int(step): float(value) for step, value in found["reports"].items()}
            return Arm(
                number=number,
                settings=settings,
                state=found["state"],
                answer=answer,
                reason=found["reason"],
                error=found["error"],
                reports=reports,
            )
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"{folder} is not a whole arm ({error}); remove it to run this arm again") from error

    def arms(self) -> tuple[Arm, ...]:
        """All arms that have ended, by number."""
        numbers = sorted(int(entry.name) for entry in self.arms_folder.glob("*") if entry.name.isdigit())
        return tuple(arm for number in numbers if (arm := self.load(number)) is not None)


def _answer(folder: Path, found: Mapping[str, Any]) -> ArmAnswer:
    return ArmAnswer(
        predictions={int(seed): Predictions.load(folder / f"predictions-{seed}.csv") for seed in found["seeds"]},
        trainings=tuple(Training(**values) for values in found["trainings"]),
        history=(folder / "history.csv").read_text(encoding="utf-8"),
        notes=tuple(found["notes"]),
    )


def _listed(keys: list[str]) -> str:
    return ", ".join(key.replace("_", " ") for key in keys)
