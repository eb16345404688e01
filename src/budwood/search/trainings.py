"""One training of an arm with all that it answers, in files that a killed sweep finds again.

How trainings are made, and which arm they belong to, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from budwood.errors import IntegrityError
from budwood.evaluation.predictions import Predictions
from budwood.events import Event, Listener, Scored, StepFinished
from budwood.files import read_json, write_json
from budwood.search.arms import Training
from budwood.train.history import History

# Tells the accuracy after each epoch.
OnEpoch = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One training of an arm and its answers to the pictures that it was judged by."""

    training: Training
    predictions: Predictions
    history: History
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptTraining:
    """The files of a training that ended."""

    path: Path

    def load(self) -> Answered | None:
        """What was kept; None where nothing is.

        Raises:
            IntegrityError: the files are not what was written.
        """
        facts = self.path / "training.json"
        if not facts.is_file():
            return None
        found = read_json(facts)
        try:
            return Answered(
                training=Training(**found["training"]),
                predictions=Predictions.load(self.path / "predictions.csv"),
                history=History.load(self.path / "history.csv"),
                notes=tuple(found["notes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{self.path} is not a whole training ({error}); remove it") from error

    def save(self, answered: Answered) -> None:
        """Keep a training; it counts as ended once this returns."""
        answered.predictions.save(self.path / "predictions.csv")
        answered.history.save(self.path / "history.csv")
        training = answered.training
        values = {name: getattr(training, name) for name in ("seed", "fold", "accuracy", "log_loss", "seconds")}
        write_json(self.path / "training.json", {"training": values, "notes": list(answered.notes)})  # last


def pooled(answers: Sequence[Predictions]) -> Predictions:
    """The answers of all folds as one table, by path."""
    paths = [path for each in answers for path in each.paths]
    order = np.argsort(np.array(paths, dtype=object), kind="stable")
    targets = np.concatenate([each.targets for each in answers if each.targets is not None])
    return Predictions(
        probs=np.concatenate([each.probs for each in answers])[order],
        targets=targets[order],
        paths=tuple(paths[int(i)] for i in order),
        classes=answers[0].classes,
    )


def history_table(found: Sequence[Answered]) -> str:
    """The epochs of all trainings as one CSV table, with their seed and fold before them."""
    lines: list[str] = []
    for each in found:
        header, *rows = each.history.to_csv().splitlines()
        lines += [f"seed,fold,{header}"] if not lines else []
        lines += [f"{each.training.seed},{each.training.fold},{row}" for row in rows]
    return "".join(f"{line}\n" for line in lines)


def epochs_told(outer: Listener, on_epoch: OnEpoch) -> Listener:
    """A listener that passes on the progress of an arm, but neither its scores nor what its steps say at their end."""

    def listen(event: Event) -> None:
        if isinstance(event, Scored):
            if event.step == "fine-tune":
                on_epoch(event.value)
        elif isinstance(event, StepFinished):
            outer(replace(event, note=""))
        else:
            outer(event)

    return listen
