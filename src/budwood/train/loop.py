"""`fine_tune`: one gradient stage, from a model to its best averaged weights.

Every random draw is keyed, so equal inputs, threads and precision give equal weights. It scores the validation part to
stop early and to choose the epoch; it never sees the test part.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from budwood.augment.mix import mix_batch
from budwood.augment.transforms import AugmentSpec
from budwood.data.loader import PixelSet, Transform, batches, num_batches
from budwood.data.preprocess import Preprocess
from budwood.errors import DivergedError
from budwood.events import Listener, Scored, StepAdvanced, StepFinished, StepStarted, silent
from budwood.models.build import Classifier, clone_state
from budwood.seeding import batch_generator
from budwood.train.history import EpochRow, History
from budwood.train.precision import keep_depthwise_float32
from budwood.train.schedules import SCHEDULES
from budwood.train.stages import Stage, TrainSpec, freeze, parameter_groups, train_mode

_EVAL_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """The model with its best weights, the epochs, and the validation score that chose them."""

    model: Classifier
    history: History
    best_epoch: int
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, kw_only=True)
class StageInput:
    """What a gradient stage works on besides the model: parts, transform, settings.

    ``stop_after`` epochs training ends although the schedule goes on: a refit does what the scored model's best did.
    """

    train: PixelSet
    val: PixelSet | None
    transform: Transform
    preprocess: Preprocess
    augment: AugmentSpec
    spec: TrainSpec
    stage: Stage
    bf16: bool
    seed: int
    first_epoch: int = 0
    stop_after: int | None = None


class AveragedWeights:
    """Exponential moving average of all weights and BatchNorm statistics (Polyak 1992), as a second model."""

    def __init__(self, model: Classifier, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``; the first updates weigh more, so that the start is soon forgotten."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        own, new = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[n] for n in floats], [new[n] for n in floats], 1 - decay)
        for name in own.keys() - set(floats):
            own[name].copy_(new[name])


def fine_tune(
    model: Classifier,
    data: StageInput,
    *,
    listen: Listener = silent,
    step: str = "fine-tune",
    on_epoch: Callable[[EpochRow], None] = lambda row: None,
) -> FitResult:
    """Train ``model``'s unfrozen part and return a copy with the weights of the best epoch.

    With a validation part the epoch of the lowest validation loss is kept and training ends after ``patience`` epochs
    without a lower one; without one (a refit) all epochs are run and the last weights are kept.

    Raises:
        DivergedError: the loss became infinite or not a number.
    """
    from lightning_fabric import Fabric

    # Fabric tells its precision to stderr, in the middle of the progress display; the run's environment.json holds it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    spec, stage = data.spec, data.stage
    fabric = Fabric(accelerator="auto", devices=1, precision="bf16-mixed" if data.bf16 else "32-true")
    model = keep_depthwise_float32(model) if data.bf16 else copy.deepcopy(model)
    model = model.to(memory_format=torch.channels_last)
    freeze(model, stage)
    optimizer = torch.optim.AdamW(parameter_groups(model, spec, stage), foreach=True)
    average = AveragedWeights(model, spec.ema) if spec.ema else None
    wrapped, optimizer = fabric.setup(model, optimizer)
    if average:
        average.model.to(fabric.device)
    steps_per_epoch = num_batches(len(data.train), spec.batch_size)
    schedule = SCHEDULES[spec.schedule](steps_per_epoch * stage.epochs)

    rows: list[EpochRow] = []
    best_state, best_loss, best_accuracy, best_epoch = clone_state(model), float("inf"), 0.0, 0
    start = time.perf_counter()
    listen(StepStarted(step=step, total=stage.epochs * len(data.train)))
    for epoch in range(data.first_epoch, data.first_epoch + stage.epochs):
        epoch_start = time.perf_counter()
        first = (epoch - data.first_epoch) * steps_per_epoch

        def advance(count: int) -> None:
            listen(StepAdvanced(step=step, count=count))

        loss, lr = _train_epoch(fabric, wrapped, model, optimizer, average, data, epoch, first, schedule, advance)
        judged = average.model if average else model
        val_loss, val_accuracy = _validate(fabric, judged, data) if data.val else (float("nan"), float("nan"))
        if data.val and not math.isfinite(val_loss):
            raise DivergedError(_diverged("validation loss", val_loss, epoch, data))
        better = not data.val or val_loss < best_loss
        if better:
            best_state, best_loss = clone_state(judged), val_loss
            best_accuracy, best_epoch = val_accuracy, epoch
        seconds = time.perf_counter() - epoch_start
        row = EpochRow(
            stage=stage.title,
            epoch=epoch + 1,
            lr=lr,
            loss=loss,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=seconds,
            images_per_second=len(data.train) / seconds,
            best=better,
        )
        rows.append(row)
        on_epoch(row)
        if data.val:
            best_so_far = max(r.val_accuracy for r in rows)
            listen(Scored(step=step, name="validation accuracy", value=val_accuracy, best=best_so_far))
        if epoch - best_epoch >= spec.patience or len(rows) == data.stop_after:
            break
    result = copy.deepcopy(model).cpu()
    result.load_state_dict(best_state)
    seconds = time.perf_counter() - start
    note = f"{len(rows) * len(data.train) / seconds:.0f} images/s, best epoch {best_epoch + 1} of {len(rows)}"
    listen(StepFinished(step=step, seconds=seconds, note=note))
    return FitResult(
        model=result.eval(),
        history=History(rows=tuple(rows)),
        best_epoch=best_epoch + 1,
        val_loss=best_loss,
        val_accuracy=best_accuracy,
    )


def _train_epoch(
    fabric: Any,
    wrapped: Any,
    model: Classifier,
    optimizer: Any,
    average: AveragedWeights | None,
    data: StageInput,
    epoch: int,
    first_step: int,
    schedule: Callable[[int], float],
    advance: Callable[[int], None],
) -> tuple[float, float]:
    """One pass over the training part; returns the mean loss and the last backbone learning rate."""
    spec, num_classes = data.spec, model.head.out_features
    train_mode(model)
    total, seen, lr = 0.0, 0, 0.0
    stream = batches(
        data.train,
        data.transform,
        batch_size=spec.batch_size,
        seed=data.seed,
        epoch=epoch,
        workers=spec.workers,
    )
    for number, batch in enumerate(stream):
        generator = batch_generator(data.seed, epoch, number)
        torch.manual_seed(int(generator.integers(2**31)))  # dropout and stochastic depth of this step
        images, targets = mix_batch(
            batch.images,
            functional.one_hot(batch.targets, num_classes).float(),
            cutmix=data.augment.cutmix,
            mixup=data.augment.mixup,
            generator=generator,
        )
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * schedule(first_step + number)
        lr = next((g["lr"] for g in optimizer.param_groups if g["part"] == "backbone"), group["lr"])
        logits = wrapped(images.to(fabric.device, memory_format=torch.channels_last))
        loss = _smoothed_loss(logits.float(), targets.to(fabric.device), spec.label_smoothing)
        if not bool(torch.isfinite(loss)):
            raise DivergedError(_diverged("loss", float(loss.detach()), epoch, data))
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
        optimizer.step()
        if average:
            average.update(model)
        total += float(loss.detach()) * len(images)
        seen += len(images)
        advance(len(images))
    return total / max(1, seen), float(lr)


def _diverged(what: str, value: float, epoch: int, data: StageInput) -> str:
    stages, stage = data.spec.stages, data.stage
    number = stages.index(stage) if stage in stages else 0
    key, lr = (f"train.stages.{number}.lr", stage.lr) if stage.lr else ("train.lr", data.spec.lr)
    return (
        f"the {what} became {value} in epoch {epoch + 1}: the learning rate is too high for these pictures; "
        f"try --set {key}={lr / 3:.0e}"
    )


def _smoothed_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with mixed targets ``[B, K]`` and label smoothing."""
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


def _validate(fabric: Any, model: Classifier, data: StageInput) -> tuple[float, float]:
    """Log loss and accuracy of the validation part, one view, no augmentation, in the precision of the training."""
    assert data.val is not None
    with fabric.autocast():
        probs = predict_pixels(model, data.val.pixels[data.val.rows], data.preprocess, device=fabric.device)
    labels = data.val.labels
    right = np.clip(probs[np.arange(len(labels)), labels], 1e-12, 1)
    return float(-np.log(right).mean()), float((probs.argmax(1) == labels).mean())


@torch.inference_mode()
def predict_pixels(
    model: nn.Module, pixels: NDArray[np.uint8], preprocess: Preprocess, *, device: Any = "cpu"
) -> NDArray[np.float32]:
    """Class probabilities ``[N, K]`` of pixels ``[N, S, S, 3]``, one view."""
    was_training = model.training
    model.eval()
    out = []
    for at in range(0, len(pixels), _EVAL_BATCH):
        images = preprocess.normalise(torch.from_numpy(np.ascontiguousarray(pixels[at : at + _EVAL_BATCH])).to(device))
        out.append(model(images).float().softmax(1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(out) if out else np.zeros((0, 0), np.float32)
