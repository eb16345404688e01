"""`fine_tune`: one stage of gradient steps, from a model to its best weights, in a state that a kill cannot lose.

Every random draw is keyed, so equal inputs, threads and precision give equal weights, whether the stage ran through or
was stopped and taken up again. It scores the validation part to stop early and to choose the epoch; it never sees the
test part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DivergedError
from budwood.events import Listener, Scored, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.models.build import Classifier
from budwood.train.engine import Engine, NotFiniteError
from budwood.train.feed import Batch, drawn_batches
from budwood.train.freezing import train_mode
from budwood.train.history import EpochRow, History
from budwood.train.keeper import Keeper, Outcome, Snapshot
from budwood.train.outcomes import outcome_of, result_of
from budwood.train.spread import Tell
from budwood.train.stage_input import FitResult, StageInput
from budwood.train.state import Progress, part_of
from budwood.train.team import Team
from budwood.train.teamwork import Task, train_in_team

MAX_ROLLBACKS = 3
_LOWER = 1 / 3  # what the rates are multiplied by after the loss exploded
# Training pictures on which the model is measured as on the validation part: as many as that has, but at least these.
_MEASURED = 128


def fine_tune(
    model: Classifier,
    data: StageInput,
    *,
    listen: Listener = silent,
    step: str = "fine-tune",
    on_epoch: Callable[[EpochRow], None] = lambda row: None,
    keeper: Keeper | None = None,
) -> FitResult:
    """Train ``model``'s unfrozen part and return a copy with the weights of the best epoch.

    With a validation part the best epoch by ``monitor`` is kept and training ends after ``patience`` epochs without a
    better one; without one (a refit) all epochs are run and the last weights are kept. Where the loss explodes, the
    epoch begins again at a third of the rates, three times at most.

    Args:
        listen: hears of the step ``step``. on_epoch: called after each epoch.
        keeper: where the state is put away, and taken up where an earlier process left it.

    Raises:
        DivergedError: the loss became infinite or not a number, and no epoch before it can be kept.
        UsageError: not even one picture fits into memory.
    """
    if data.device.processes > 1:
        found = result_of(
            *train_in_team(_train_share, model, data=data, listen=listen, step=step, on_epoch=on_epoch, keeper=keeper)
        )
    else:
        team = Team.alone(data.device)
        found = _Work(model, data, team=team, listen=listen, step=step, on_epoch=on_epoch, keeper=keeper).go()
    if keeper:
        keeper.finish(outcome_of(found), found.model.state_dict())
    return found


class _Work:
    """A stage under way: where it stands, and what is decided from step to step."""

    def __init__(
        self,
        model: Classifier,
        data: StageInput,
        *,
        team: Team,
        listen: Listener,
        step: str,
        on_epoch: Callable[[EpochRow], None],
        keeper: Keeper | None,
    ) -> None:
        self.data, self.settings = data, data.settings
        self.listen, self.name, self.on_epoch, self.keeper = listen, step, on_epoch, keeper
        self.team, self.engine = team, Engine(model, data, team=team)
        self.progress = Progress(epoch=data.first_epoch)
        self.best = self.engine.judged_state()

    def go(self) -> FitResult:
        """All epochs of the stage."""
        clock = time.perf_counter()
        start = self._take_up()
        self.listen(StepStarted(step=self.name, total=self.settings.epochs * self.engine.epoch_size))
        done = (self.progress.epoch - self.data.first_epoch) * self.engine.epoch_size + self.progress.seen
        self.listen(StepAdvanced(step=self.name, count=done))
        while not self._is_over():
            try:
                self._epoch(start)
            except NotFiniteError as fault:
                self._roll_back(str(fault), start)
                continue
            start = self._snapshot()
            if self.keeper and not self._is_over():
                self.keeper.after_epoch(start)
        return self._result(time.perf_counter() - clock)

    def _take_up(self) -> Snapshot:
        """Put back what an earlier process left; returns the start of the epoch under way."""
        kept = self.keeper.begin(self.data.stage_number) if self.keeper else None
        if self.team.size > 1:
            kept = self.team.agreed(kept)  # of what the hosts have kept, the first one's counts
        if kept is None:
            return self._snapshot()
        start, within = kept
        self._restore(within)
        return start

    def _is_over(self) -> bool:
        progress, data = self.progress, self.data
        done = progress.epoch - data.first_epoch
        waited = progress.epoch - 1 - progress.best_epoch if progress.rows else 0
        return (
            progress.gave_up
            or done >= self.settings.epochs
            or done == data.stop_after
            or waited >= self.settings.patience
        )

    def _epoch(self, start: Snapshot) -> None:
        """What is left of the epoch under way."""
        data, progress = self.data, self.progress
        train_mode(self.engine.network)
        order = data.balancing.order(self.engine.train.labels, seed=data.seed, epoch=progress.epoch)
        stream = drawn_batches(
            self.engine.train,
            order,
            batch_size=self.settings.batch_size,
            epoch=progress.epoch,
            first=progress.step,
            workers=self.data.spec.workers,
        )
        clock, before = time.perf_counter(), progress.seconds
        for batch in stream:
            self._step(batch)
            progress.step += 1
            progress.seconds = before + time.perf_counter() - clock
            if self.keeper:
                self.keeper.after_step(start, self._snapshot)
        self._judge(clock, before)

    def _step(self, batch: Batch) -> None:
        progress = self.progress
        stepped = self.engine.step(batch, progress)
        size = len(batch.targets)
        if stepped.micro != progress.micro:
            self._note(f"memory ran out: batches of {size} pass in pieces of {stepped.micro}, with equal gradients")
            progress.micro = stepped.micro
        progress.loss_sum += stepped.loss_sum
        progress.right += stepped.right
        progress.seen += size
        self.listen(StepAdvanced(step=self.name, count=size))

    def _judge(self, clock: float, before: float) -> None:
        """Measure the weights after an epoch, keep them if they are the best, and write the epoch's row."""
        progress, engine = self.progress, self.engine
        train_loss, train_accuracy = engine.measured(engine.train, self._sample())
        val_loss, val_accuracy = engine.measured(engine.val) if engine.val else (float("nan"), float("nan"))
        if engine.val and not math.isfinite(val_loss):
            raise NotFiniteError(f"the validation loss became {val_loss}")
        better = not engine.val or self._is_better(val_loss, val_accuracy)
        if better:
            self.best = engine.judged_state()
            progress.best_epoch, progress.best_accuracy = progress.epoch, val_accuracy if engine.val else 0.0
            progress.best_loss = val_loss if engine.val else None
        seconds = before + time.perf_counter() - clock
        row = EpochRow(
            stage=self.data.stage.title,
            epoch=progress.epoch + 1,
            lr=engine.last_rate(progress),
            loss=progress.loss_sum / max(1, progress.seen),
            accuracy=progress.right / max(1, progress.seen),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            seconds=seconds,
            images_per_second=progress.seen / seconds,
            best=better,
        )
        progress.next_epoch(row)
        self.on_epoch(row)
        if engine.val:
            best = max(r.val_accuracy for r in progress.rows)
            self.listen(Scored(step=self.name, name="validation accuracy", value=val_accuracy, best=best))

    def _is_better(self, val_loss: float, val_accuracy: float) -> bool:
        progress = self.progress
        if progress.best_loss is None:
            return True
        if self.data.spec.monitor == "val_accuracy":
            return val_accuracy > progress.best_accuracy
        return val_loss < progress.best_loss

    def _sample(self) -> NDArray[np.int64]:
        """Training pictures that are measured as the validation part is: evenly spread, about as many."""
        size = len(self.engine.train.labels)
        wanted = min(size, max(_MEASURED, len(self.engine.val.labels) if self.engine.val else 0))
        return np.unique(np.linspace(0, size - 1, wanted).round().astype(np.int64))

    def _snapshot(self) -> Snapshot:
        progress = self.progress.copy()
        progress.averaged = self.engine.average.updates if self.engine.average else 0
        best = {f"best/{name}": value.detach().cpu() for name, value in self.best.items()}
        return Snapshot(progress=progress, tensors={**self.engine.packed(), **best})

    def _restore(self, snapshot: Snapshot) -> None:
        self.progress = snapshot.progress.copy()
        self.engine.unpack(snapshot.tensors, averaged=snapshot.progress.averaged)
        self.best = part_of(snapshot.tensors, "best")

    def _roll_back(self, fault: str, start: Snapshot) -> None:
        """Begin the epoch again at lower rates; after too many times, end the stage with what it has, or fail."""
        begun = start.progress
        epoch = begun.epoch + 1
        self.listen(StepAdvanced(step=self.name, count=-self.progress.seen))
        if begun.rollbacks < MAX_ROLLBACKS:
            begun.rollbacks, begun.rate = begun.rollbacks + 1, begun.rate * _LOWER
            text = f"in epoch {epoch} {fault}; the epoch begins again at {begun.rate:.2g} of the learning rates"
        elif begun.rows:
            begun.gave_up = True
            text = f"in epoch {epoch} {fault}, after {MAX_ROLLBACKS} times at lower rates: training ends with epoch"
            text += f" {begun.best_epoch + 1}, the best before; {self._advice()}"
        else:
            raise DivergedError(f"in epoch {epoch} {fault}: the learning rate is too high here; {self._advice()}")
        start.is_kept = False
        self._restore(start)
        self._note(text)
        start.progress = self.progress.copy()

    def _advice(self) -> str:
        spec, stage, settings = self.data.spec, self.data.stage, self.settings
        is_head = stage.is_head and stage not in spec.stages[1:] and (stage.head_lr or spec.head_lr) != "lr"
        place = f"train.stages.{self.data.stage_number}" if stage.lr or (is_head and stage.head_lr) else "train"
        key, lr = ("head_lr", settings.head_lr) if is_head else ("lr", settings.lr)
        return f"try --set {place}.{key}={lr / 100:.0e}"

    def _note(self, text: str) -> None:
        self.progress.notes = (*self.progress.notes, text)
        self.listen(Warned(text=text))

    def _result(self, seconds: float) -> FitResult:
        progress = self.progress
        result = self.engine.finished(self.best)
        pictures = len(progress.rows) * self.engine.epoch_size
        best = progress.best_epoch + 1 - self.data.first_epoch
        note = f"{pictures / seconds:.0f} images/s, best epoch {best} of {len(progress.rows)}"
        self.listen(StepFinished(step=self.name, seconds=seconds, note=note))
        return FitResult(
            model=result,
            history=History(rows=progress.rows),
            best_epoch=progress.best_epoch + 1,
            val_loss=float("inf") if progress.best_loss is None else progress.best_loss,
            val_accuracy=progress.best_accuracy,
            notes=progress.notes,
        )


def _train_share(task: Task, team: Team, tell: Tell) -> Outcome:
    """One process's part of a stage that several carry out."""
    model, data = task.parcel.opened()
    keeper = task.keeper(listen=tell) if team.leads else None
    found = _Work(model, data, team=team, listen=tell, step=task.step, on_epoch=tell, keeper=keeper).go()
    if team.leads:
        task.save(found.model)
    return outcome_of(found)
