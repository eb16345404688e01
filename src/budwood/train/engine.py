"""`Engine`: a network under training: its optimiser, its averaged weights, one step, one measurement.

When an epoch ends and what is kept is decided in `loop.py`; no file is written here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from budwood.augment.mix import mix_batch
from budwood.data.loader import num_batches
from budwood.models.build import Classifier, clone_state
from budwood.seeding import batch_generator
from budwood.train.average import AveragedWeights
from budwood.train.feed import Batch, Feed
from budwood.train.freezing import freeze, parameter_groups
from budwood.train.optimizers import make_optimizer
from budwood.train.precision import speed_up
from budwood.train.predict import loss_and_accuracy, predict_feed
from budwood.train.schedules import make_schedule, plateau_factor
from budwood.train.stage_input import StageInput
from budwood.train.state import Progress, pack, unpack
from budwood.train.step import Stepped, forward_backward
from budwood.train.team import SharedFeed, Team


class NotFiniteError(Exception):
    """A loss or a gradient became infinite or not a number; the text says which."""


class Engine:
    """The part of ``model`` that a stage trains, on its device; ``model`` itself is copied.

    Each process of a ``team`` takes its share of every batch; all make the same step.
    """

    def __init__(self, model: Classifier, data: StageInput, *, team: Team | None = None) -> None:
        self.data, self.settings, self.spec = data, data.settings, data.spec
        self.team = team or Team.alone(data.device)
        self.fabric = self.team.fabric
        copied = speed_up(model) if data.device.bf16 else copy.deepcopy(model)
        self.model = copied.to(memory_format=torch.channels_last)
        freeze(self.model, data.stage)
        groups = parameter_groups(self.model, data.spec, self.settings)
        self.network: nn.Module = self.model
        self.train: Feed = data.train
        self.val = data.val
        if data.shorten:
            self.network, self.train, self.val = data.shorten(self.model)
        if self.val is not None and not len(self.val.labels):
            self.val = None
        # Pictures are mixed across the whole batch, so each process needs all of them then.
        self.mixes = self.train.mixable and data.augment.cutmix + data.augment.mixup > 0
        if self.team.size > 1 and not self.mixes:
            self.train = SharedFeed(feed=self.train, team=self.team)
        self.average = AveragedWeights(self.network, data.spec.ema) if data.spec.ema else None
        optimizer = make_optimizer(self.settings.optimizer, groups, momentum=data.spec.momentum)
        self.wrapped, self.optimizer = self.fabric.setup(self.network, optimizer)
        if self.average:
            self.average.model.to(self.fabric.device)
        self.epoch_size = data.balancing.epoch_size(self.train.labels)
        self.steps_per_epoch = num_batches(self.epoch_size, self.settings.batch_size)
        self.schedule = make_schedule(
            self.settings.schedule,
            total_steps=self.steps_per_epoch * self.settings.epochs,
            steps_per_epoch=self.steps_per_epoch,
        )
        self.loss = data.balancing.loss(self.train.labels, smoothing=data.spec.label_smoothing)

    @property
    def judged(self) -> nn.Module:
        """The weights that are validated and kept: the averaged ones, where there are any."""
        return self.average.model if self.average else self.network

    def step(self, batch: Batch, progress: Progress) -> Stepped:
        """One step of the optimiser.

        Raises:
            NotFiniteError: the loss or the gradient is infinite or not a number; the weights are as they were.
        """
        generator = batch_generator(self.data.seed, progress.epoch, batch.number)
        # dropout and stochastic depth of this step, other ones in each process
        torch.manual_seed(int(generator.integers(2**31)) + self.team.rank)
        targets = functional.one_hot(batch.targets, self.data.balancing.num_classes).float()
        inputs, own = batch.inputs, self.team.rows(len(targets))
        if self.mixes:
            inputs, targets = mix_batch(inputs, targets, spec=self.data.augment, generator=generator)
            inputs = inputs[own]
        factor = self.factor(batch.number, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        stepped = self._gradients(inputs, targets[own], whole=len(targets), micro=progress.micro)
        norm = nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.grad is not None], self.spec.clip)
        # Both: a NaN that an activation swallows shows in the gradient only.
        if not math.isfinite(stepped.loss_sum) or not bool(torch.isfinite(norm)):
            raise NotFiniteError(f"the loss became {stepped.loss_sum / len(targets)} (gradient norm {float(norm)})")
        self.optimizer.step()
        if self.average:
            self.average.update(self.network)
        return stepped

    def _gradients(self, inputs: Tensor, targets: Tensor, *, whole: int, micro: int) -> Stepped:
        """Leave the gradient of the mean loss of the ``whole`` batch; ``inputs`` are this process's share of it."""
        layout = torch.channels_last if inputs.ndim == 4 else torch.preserve_format
        self.optimizer.zero_grad(set_to_none=True)
        stepped = Stepped(0.0, 0, micro)
        if len(inputs):
            with self.fabric.no_backward_sync(self.wrapped, enabled=self.team.size > 1):
                stepped = forward_backward(
                    self.wrapped,
                    inputs.to(self.fabric.device, memory_format=layout),
                    targets.to(self.fabric.device),
                    loss=self.loss,
                    backward=self.fabric.backward,
                    reset=lambda: self.optimizer.zero_grad(set_to_none=True),
                    micro=micro,
                    share=1 / whole,
                )
        return self.team.exchange(self.network, stepped, share=len(inputs) / whole)

    def factor(self, number: int, progress: Progress) -> float:
        """What the base rates are multiplied by in batch ``number`` of the epoch under way."""
        step = (progress.epoch - self.data.first_epoch) * self.steps_per_epoch + number
        factor = self.schedule(step) * progress.rate
        if self.settings.schedule.kind == "plateau":
            losses = self.data.known_losses[: len(progress.rows)] or [row.val_loss for row in progress.rows]
            factor *= plateau_factor(losses, self.settings.schedule)
        return factor

    def last_rate(self, progress: Progress) -> float:
        """The rate of the last step of the epoch: of the backbone's end, or of the head where only that trains.

        Reckoned, not remembered: a process that took up the epoch after its last step has made none itself.
        """
        factor = self.factor(max(0, progress.step - 1), progress)
        groups = self.optimizer.param_groups
        rates = [float(group["base_lr"]) for group in groups if group["part"] == "backbone"]
        return factor * (max(rates) if rates else float(groups[0]["base_lr"]))

    def measured(self, feed: Feed, positions: NDArray[np.int64] | None = None) -> tuple[float, float]:
        """Log loss and accuracy of the judged weights, one view, no augmentation, in the precision of the training."""
        chosen = np.arange(len(feed.labels)) if positions is None else positions
        own = chosen[self.team.rank :: self.team.size]
        with self.fabric.autocast():
            probs = predict_feed(self.judged, feed, positions=own, device=self.fabric.device)
        found = loss_and_accuracy(probs, feed.labels[own]) if len(own) else (0.0, 0.0)
        if self.team.size == 1:
            return found
        told = self.team.gathered(*found, len(own))
        loss, accuracy = (told[:, :2] * told[:, 2:]).sum(0) / len(chosen)
        return float(loss), float(accuracy)

    def judged_state(self) -> dict[str, Tensor]:
        """A copy of the judged weights."""
        return clone_state(self.judged)

    def packed(self) -> dict[str, Tensor]:
        """All tensors that the next step depends on, by name, on the CPU."""
        return pack(self.network, self.optimizer, self.average.model if self.average else None)

    def unpack(self, tensors: Mapping[str, Tensor], *, averaged: int) -> None:
        """Put back what `packed` gave, after so many updates of the average."""
        unpack(tensors, self.network, self.optimizer, self.average.model if self.average else None)
        if self.average:
            self.average.updates = averaged

    def finished(self, best: Mapping[str, Tensor]) -> Classifier:
        """The whole model with the best weights, on the CPU, in eval mode."""
        self.network.load_state_dict(best)
        result = self.model.cpu()
        for parameter in result.parameters():
            parameter.grad = None
        return result.eval()
