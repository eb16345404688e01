"""`Keeper`: puts the state of a training away often enough, and hands it back to the process that goes on.

Three pairs of slots in one folder: the stages that are done with the weights after them, the start of the epoch under
way, and a place within it. The last two belong together, since an epoch whose loss explodes begins again. A checkpoint
that cannot be written (a full disk, say) is a warning, and the last good one stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from budwood.errors import UsageError
from budwood.events import Listener, Warned, silent
from budwood.files import sweep_leftovers
from budwood.train.checkpoint import Saved, Slots
from budwood.train.history import EpochRow
from budwood.train.state import Progress, part_of

# Writing may take at most one part in so many of the time.
_COST = 30


@dataclass(kw_only=True)
class Snapshot:
    """A stage at one instant: its plain values, and its tensors by name (``best/``: the weights of the best epoch)."""

    progress: Progress
    tensors: dict[str, Tensor]
    is_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage that is done leaves besides weights."""

    rows: tuple[EpochRow, ...]
    best_epoch: int
    val_loss: float | None
    val_accuracy: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "best_epoch": self.best_epoch,
            "val_loss": self.val_loss,
            "val_accuracy": self.val_accuracy,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_json`."""
        rows = tuple(EpochRow.from_json(row) for row in values["rows"])
        return cls(**{**values, "rows": rows, "notes": tuple(values["notes"])})


class Keeper:
    """The checkpoints of one training, a plan's stages in order.

    Args:
        folder: where they lie; created.
        identity: a digest of all that the weights depend on; what was kept under another one is refused.
        seconds: the least time between two checkpoints within a stage.
        listen: hears of checkpoints that could not be written.

    Raises:
        UsageError: the folder holds checkpoints of another training.
    """

    def __init__(self, folder: Path, *, identity: str, seconds: float = 60.0, listen: Listener = silent) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_leftovers(folder)
        self.folder, self.identity, self.seconds, self.listen = folder, identity, seconds, listen
        self._done, self._epoch, self._step = (Slots(folder, name) for name in ("done", "epoch", "step"))
        self._stage, self._wait, self._last = 0, seconds, time.monotonic()
        saved = self._own(self._done.load())
        self.outcomes = tuple(Outcome.from_json(o) for o in saved.facts["outcomes"]) if saved else ()
        self._weights = saved.tensors if saved else {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model after the last stage that is done; empty where none is."""
        return self._weights

    def begin(self, stage: int) -> tuple[Snapshot, Snapshot] | None:
        """The start of the epoch under way in ``stage`` and the place within it, as an earlier process left them."""
        self._stage, self._last = stage, time.monotonic()
        epoch = self._of_stage(self._epoch.load())
        if epoch is None:
            return None
        start = _snapshot(epoch)
        start.is_kept = True
        step = self._of_stage(self._step.load())
        if step is None or _place(step) != _place(epoch):
            return start, start
        within = _snapshot(step)
        within.tensors |= {f"best/{name}": value for name, value in part_of(start.tensors, "best").items()}
        return start, within

    def after_step(self, start: Snapshot, take: Callable[[], Snapshot]) -> None:
        """Keep the place within an epoch, if it is time; ``start`` is the epoch's start."""
        if not self._is_due():
            return
        if not start.is_kept:
            start.is_kept = self._save(self._epoch, start, with_best=True)
        if start.is_kept:
            self._save(self._step, take(), with_best=False)

    def after_epoch(self, start: Snapshot) -> None:
        """Keep the start of the next epoch, if it is time."""
        if self._is_due():
            start.is_kept = self._save(self._epoch, start, with_best=True)

    def finish(self, outcome: Outcome, weights: Mapping[str, Tensor]) -> None:
        """Keep what a stage made; its own slots are no longer needed."""
        self.outcomes = (*self.outcomes, outcome)
        facts = {"identity": self.identity, "outcomes": [o.to_json() for o in self.outcomes]}
        tensors = {name: value.detach().cpu() for name, value in weights.items()}
        try:
            self._done.save(facts, tensors)
        except OSError as error:
            self._warn(error)  # the slots of the stage stay: it can be taken up from them
        else:
            self._epoch.clear()
            self._step.clear()

    def clear(self) -> None:
        """Remove all: the training's result is kept elsewhere."""
        for slots in (self._done, self._epoch, self._step):
            slots.clear()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _is_due(self) -> bool:
        return time.monotonic() - self._last >= self._wait

    def _save(self, slots: Slots, snapshot: Snapshot, *, with_best: bool) -> bool:
        tensors = {n: v for n, v in snapshot.tensors.items() if with_best or not n.startswith("best/")}
        facts = {"identity": self.identity, "stage": self._stage, "progress": snapshot.progress.to_json()}
        began = time.monotonic()
        try:
            slots.save(facts, tensors)
        except OSError as error:
            self._warn(error)
            return False
        finally:
            self._last = time.monotonic()
            self._wait = max(self.seconds, _COST * (self._last - began))
        return True

    def _warn(self, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        self.listen(
            Warned(text=f"a checkpoint could not be written into {self.folder} ({reason}); the last good one is kept")
        )

    def _own(self, saved: Saved | None) -> Saved | None:
        if saved is not None and saved.facts["identity"] != self.identity:
            raise UsageError(
                f"{self.folder} holds checkpoints of another training: pictures, settings, threads or precision have"
                " changed since; start anew with --overwrite"
            )
        return saved

    def _of_stage(self, saved: Saved | None) -> Saved | None:
        saved = self._own(saved)
        return saved if saved is not None and saved.facts["stage"] == self._stage else None


def _snapshot(saved: Saved) -> Snapshot:
    return Snapshot(progress=Progress.from_json(saved.facts["progress"]), tensors=dict(saved.tensors))


def _place(saved: Saved) -> tuple[int, int]:
    """What the two slots of an epoch must share: which epoch, and which attempt at it."""
    progress = saved.facts["progress"]
    return progress["epoch"], progress["rollbacks"]
