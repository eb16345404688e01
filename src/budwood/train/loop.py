"""`fine_tune`: one stage of gradient steps, from a model to its best weights, in a state that a kill cannot lose.

Every random draw is keyed, so equal inputs, threads and precision give equal weights, whether the stage ran through or
was stopped and taken up again. It scores the validation part to stop early and to choose the epoch; it never sees the
test part.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from budwood.augment.mix import mix_batch
from budwood.augment.transforms import AugmentSpec
from budwood.data.loader import num_batches
from budwood.errors import DivergedError
from budwood.events import Listener, Scored, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.models.build import Classifier, clone_state
from budwood.seeding import batch_generator
from budwood.train.average import AveragedWeights
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device, open_fabric
from budwood.train.feed import Batch, Feed, drawn_batches
from budwood.train.freezing import freeze, parameter_groups, train_mode
from budwood.train.history import EpochRow, History
from budwood.train.keeper import Keeper, Outcome, Snapshot
from budwood.train.optimizers import make_optimizer
from budwood.train.precision import keep_depthwise_float32
from budwood.train.predict import loss_and_accuracy, predict_feed
from budwood.train.schedules import make_schedule, plateau_factor
from budwood.train.stages import Stage, StageSettings, TrainSpec
from budwood.train.state import Progress, pack, part_of, unpack
from budwood.train.step import forward_backward

MAX_ROLLBACKS = 3
_LOWER = 1 / 3  # what the rates are multiplied by after the loss exploded
# Training pictures on which the model is measured as on the validation part: as many as that has, but at least these.
_MEASURED = 128

# (model with its frozen part, train, val) -> (the rest of the model, its train and val inputs)
Shorten = Callable[[Classifier], tuple[nn.Module, Feed, Feed | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """The model with its best weights, the epochs, the validation score that chose them, and what went on."""

    model: Classifier
    history: History
    best_epoch: int
    val_loss: float
    val_accuracy: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageInput:
    """What a gradient stage works on besides the model: parts, settings.

    ``shorten`` replaces the model by its trained part and the pictures by kept activations, where that pays.
    ``stop_after`` epochs training ends although the schedule goes on: a refit does what the scored model's best did.
    """

    train: Feed
    val: Feed | None
    augment: AugmentSpec
    spec: TrainSpec
    stage: Stage
    device: Device
    seed: int
    balancing: Balancing
    stage_number: int = 0
    shorten: Shorten | None = None
    first_epoch: int = 0
    stop_after: int | None = None

    @property
    def settings(self) -> StageSettings:
        """What the stage trains by."""
        return self.spec.settings(self.stage)


class _NotFiniteError(Exception):
    """A loss or a gradient became infinite or not a number; the text says which."""


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
    return _Work(model, data, listen=listen, step=step, on_epoch=on_epoch, keeper=keeper).go()


class _Work:
    """A stage under way: the network, its optimiser, and where it stands."""

    def __init__(
        self,
        model: Classifier,
        data: StageInput,
        *,
        listen: Listener,
        step: str,
        on_epoch: Callable[[EpochRow], None],
        keeper: Keeper | None,
    ) -> None:
        self.data, self.settings, self.spec = data, data.settings, data.spec
        self.listen, self.name, self.on_epoch, self.keeper = listen, step, on_epoch, keeper
        self.fabric = open_fabric(data.device)
        copied = keep_depthwise_float32(model) if data.device.bf16 else copy.deepcopy(model)
        self.model = copied.to(memory_format=torch.channels_last)
        freeze(self.model, data.stage)
        groups = parameter_groups(self.model, data.spec, self.settings)
        self.network: nn.Module = self.model
        self.train, self.val = data.train, data.val
        if data.shorten:
            self.network, self.train, self.val = data.shorten(self.model)
        if self.val is not None and not len(self.val.labels):
            self.val = None
        self.average = AveragedWeights(self.network, data.spec.ema) if data.spec.ema else None
        optimizer = make_optimizer(self.settings.optimizer, groups, momentum=data.spec.momentum)
        self.wrapped, self.optimizer = self.fabric.setup(self.network, optimizer)
        if self.average:
            self.average.model.to(self.fabric.device)
        self.epoch_size = data.balancing.epoch_size(self.train.labels)
        self.steps_per_epoch = num_batches(self.epoch_size, self.settings.batch_size)
        total = self.steps_per_epoch * self.settings.epochs
        self.schedule = make_schedule(self.settings.schedule, total_steps=total, steps_per_epoch=self.steps_per_epoch)
        self.loss = data.balancing.loss(self.train.labels, smoothing=data.spec.label_smoothing)
        self.progress = Progress(epoch=data.first_epoch)
        self.best = clone_state(self.network)

    def go(self) -> FitResult:
        """All epochs of the stage."""
        clock = time.perf_counter()
        start = self._take_up()
        self.listen(StepStarted(step=self.name, total=self.settings.epochs * self.epoch_size))
        done = (self.progress.epoch - self.data.first_epoch) * self.epoch_size + self.progress.seen
        self.listen(StepAdvanced(step=self.name, count=done))
        while not self._is_over():
            try:
                self._epoch(start)
            except _NotFiniteError as fault:
                self._roll_back(str(fault), start)
                continue
            start = self._snapshot()
            if self.keeper and not self._is_over():
                self.keeper.after_epoch(start)
        return self._result(time.perf_counter() - clock)

    def _take_up(self) -> Snapshot:
        """Put back what an earlier process left; returns the start of the epoch under way."""
        kept = self.keeper.begin(self.data.stage_number) if self.keeper else None
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
        train_mode(self.network)
        order = data.balancing.order(self.train.labels, seed=data.seed, epoch=progress.epoch)
        stream = drawn_batches(
            self.train,
            order,
            batch_size=self.settings.batch_size,
            epoch=progress.epoch,
            first=progress.step,
            workers=self.spec.workers,
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
        data, progress = self.data, self.progress
        generator = batch_generator(data.seed, progress.epoch, batch.number)
        torch.manual_seed(int(generator.integers(2**31)))  # dropout and stochastic depth of this step
        targets = functional.one_hot(batch.targets, data.balancing.num_classes).float()
        inputs = batch.inputs
        if self.train.mixable:
            inputs, targets = mix_batch(inputs, targets, spec=data.augment, generator=generator)
        factor = self._factor(batch.number)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        device = self.fabric.device
        layout = torch.channels_last if inputs.ndim == 4 else torch.preserve_format
        stepped = forward_backward(
            self.wrapped,
            inputs.to(device, memory_format=layout),
            targets.to(device),
            loss=self.loss,
            backward=self.fabric.backward,
            reset=lambda: self.optimizer.zero_grad(set_to_none=True),
            micro=progress.micro,
        )
        if stepped.micro != progress.micro:
            self._note(
                f"memory ran out: batches of {len(inputs)} pass in pieces of {stepped.micro}, with equal gradients"
            )
            progress.micro = stepped.micro
        norm = nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.grad is not None], self.spec.clip)
        if not math.isfinite(stepped.loss_sum) or not bool(torch.isfinite(norm)):
            raise _NotFiniteError(f"the loss became {stepped.loss_sum / len(inputs)} (gradient norm {float(norm)})")
        self.optimizer.step()
        if self.average:
            self.average.update(self.network)
        progress.loss_sum += stepped.loss_sum
        progress.right += stepped.right
        progress.seen += len(inputs)
        self.listen(StepAdvanced(step=self.name, count=len(inputs)))

    def _factor(self, number: int) -> float:
        """What the base rates are multiplied by in batch ``number`` of the epoch under way."""
        step = (self.progress.epoch - self.data.first_epoch) * self.steps_per_epoch + number
        factor = self.schedule(step) * self.progress.rate
        if self.settings.schedule.kind == "plateau":
            factor *= plateau_factor([row.val_loss for row in self.progress.rows], self.settings.schedule)
        return factor

    def _judge(self, clock: float, before: float) -> None:
        """Measure the weights after an epoch, keep them if they are the best, and write the epoch's row."""
        progress, judged = self.progress, self.average.model if self.average else self.network
        train_loss, train_accuracy = self._measured(judged, self.train, self._sample())
        val_loss, val_accuracy = self._measured(judged, self.val) if self.val else (float("nan"), float("nan"))
        if self.val and not math.isfinite(val_loss):
            raise _NotFiniteError(f"the validation loss became {val_loss}")
        better = not self.val or self._is_better(val_loss, val_accuracy)
        if better:
            self.best = clone_state(judged)
            progress.best_epoch, progress.best_accuracy = progress.epoch, val_accuracy if self.val else 0.0
            progress.best_loss = val_loss if self.val else None
        seconds = before + time.perf_counter() - clock
        row = EpochRow(
            stage=self.data.stage.title,
            epoch=progress.epoch + 1,
            lr=self._rate(),
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
        if self.val:
            best = max(r.val_accuracy for r in progress.rows)
            self.listen(Scored(step=self.name, name="validation accuracy", value=val_accuracy, best=best))

    def _is_better(self, val_loss: float, val_accuracy: float) -> bool:
        progress = self.progress
        if progress.best_loss is None:
            return True
        if self.spec.monitor == "val_accuracy":
            return val_accuracy > progress.best_accuracy
        return val_loss < progress.best_loss

    def _rate(self) -> float:
        """The last rate of the backbone, or of the head where only that trains."""
        groups = self.optimizer.param_groups
        rates = [float(group["lr"]) for group in groups if group["part"] == "backbone"]
        return max(rates) if rates else float(groups[0]["lr"])

    def _sample(self) -> NDArray[np.int64]:
        """Training pictures that are measured as the validation part is: evenly spread, about as many."""
        size = len(self.train.labels)
        wanted = min(size, max(_MEASURED, len(self.val.labels) if self.val else 0))
        return np.unique(np.linspace(0, size - 1, wanted).round().astype(np.int64))

    def _measured(
        self, model: nn.Module, feed: Feed, positions: NDArray[np.int64] | None = None
    ) -> tuple[float, float]:
        """Log loss and accuracy, one view, no augmentation, in the precision of the training."""
        with self.fabric.autocast():
            probs = predict_feed(model, feed, positions=positions, device=self.fabric.device)
        return loss_and_accuracy(probs, feed.labels if positions is None else feed.labels[positions])

    def _snapshot(self) -> Snapshot:
        average = self.average.model if self.average else None
        progress = self.progress.copy()
        progress.averaged = self.average.updates if self.average else 0
        best = {f"best/{name}": value.detach().cpu() for name, value in self.best.items()}
        return Snapshot(progress=progress, tensors={**pack(self.network, self.optimizer, average), **best})

    def _restore(self, snapshot: Snapshot) -> None:
        self.progress = snapshot.progress.copy()
        unpack(snapshot.tensors, self.network, self.optimizer, self.average.model if self.average else None)
        if self.average:
            self.average.updates = snapshot.progress.averaged
        self.best = {name: value.to(self.fabric.device) for name, value in part_of(snapshot.tensors, "best").items()}

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
        stages, stage = self.spec.stages, self.data.stage
        key, lr = (f"train.stages.{self.data.stage_number}.lr", stage.lr) if stage.lr else ("train.lr", self.spec.lr)
        if stage.is_head and stage not in stages[1:]:
            key, lr = key.replace("lr", "head_lr"), stage.head_lr or self.spec.head_lr
        return f"try --set {key}={lr / 100:.0e}"

    def _note(self, text: str) -> None:
        self.progress.notes = (*self.progress.notes, text)
        self.listen(Warned(text=text))

    def _result(self, seconds: float) -> FitResult:
        progress = self.progress
        self.network.load_state_dict(self.best)
        result = self.model.cpu()
        for parameter in result.parameters():
            parameter.grad = None
        pictures = len(progress.rows) * self.epoch_size
        note = f"{pictures / seconds:.0f} images/s, best epoch {progress.best_epoch + 1} of {len(progress.rows)}"
        self.listen(StepFinished(step=self.name, seconds=seconds, note=note))
        found = FitResult(
            model=result.eval(),
            history=History(rows=progress.rows),
            best_epoch=progress.best_epoch + 1,
            val_loss=float("inf") if progress.best_loss is None else progress.best_loss,
            val_accuracy=progress.best_accuracy,
            notes=progress.notes,
        )
        if self.keeper:
            self.keeper.finish(outcome_of(found), result.state_dict())
        return found


def outcome_of(fit: FitResult) -> Outcome:
    """What is kept of a stage besides its weights."""
    return Outcome(
        rows=fit.history.rows,
        best_epoch=fit.best_epoch,
        val_loss=fit.val_loss if math.isfinite(fit.val_loss) else None,
        val_accuracy=fit.val_accuracy,
        notes=fit.notes,
    )


def result_of(outcome: Outcome, model: Classifier) -> FitResult:
    """A stage that an earlier process finished."""
    return FitResult(
        model=model,
        history=History(rows=outcome.rows),
        best_epoch=outcome.best_epoch,
        val_loss=float("inf") if outcome.val_loss is None else outcome.val_loss,
        val_accuracy=outcome.val_accuracy,
        notes=outcome.notes,
    )
