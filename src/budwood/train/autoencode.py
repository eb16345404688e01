"""Trains an autoencoder on pictures of one kind, and measures how badly it repaints a picture.

The weights of the epoch that repaints the validation pictures of that kind best are kept. It never sees a picture of
another kind; where the border between normal and abnormal lies is `one_class.py`'s matter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from budwood.data.loader import epoch_order, num_batches
from budwood.errors import DivergedError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.models.autoencoder import Autoencoder
from budwood.models.build import clone_state
from budwood.seeding import picture_generator
from budwood.train.epoch_keeper import EpochKeeper
from budwood.train.state import pack, part_of, unpack

Pixels = NDArray[np.uint8]
_ASKED_AT_ONCE = 64


class OneClassSpec(BaseModel):
    """A detector of what is not normal.

    normal: the class that it is trained on; all others count as abnormal, and only serve to score it.
    size: side of the pictures it sees, in pixels, a multiple of 16. width: channels of its first layer.
    code: numbers that a picture has to pass through; fewer repaint less, also of what is normal.
    false_alarms: the share of normal validation pictures that the threshold calls abnormal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    normal: str = ""
    size: int = Field(default=48, ge=16, le=128, multiple_of=16)
    width: int = Field(default=24, ge=4, le=128)
    code: int = Field(default=64, ge=2, le=4096)
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=1e-3, gt=0)
    false_alarms: float = Field(default=0.05, gt=0, lt=0.5)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Pictures ``[N, S, S, 3]`` uint8, their keys (`seeding.record_key`), and the flips and turns that are harmless."""

    pixels: Pixels
    keys: Sequence[int]
    views: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepaintRow:
    """One epoch: mean squared error of training and validation pictures (channels in -1..1); best: kept so far."""

    epoch: int
    train_error: float
    val_error: float
    best: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class AutoencoderFit:
    """The net with the weights of its best epoch, and all epochs."""

    model: Autoencoder
    rows: tuple[RepaintRow, ...]


def train_autoencoder(
    train: Shown,
    val: Pixels,
    *,
    spec: OneClassSpec,
    seed: int,
    keeper: EpochKeeper | None = None,
    listen: Listener = silent,
) -> AutoencoderFit:
    """Train on pictures of one kind; equal arguments give equal weights, stopped in between or not.

    Args:
        train: the normal training pictures.
        val: normal validation pictures ``[M, S, S, 3]``, which choose the epoch.
        keeper: where the state is put away after each epoch.
        listen: hears of the step ``autoencoder``.

    Raises:
        DivergedError: the error became infinite or not a number.
    """
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Autoencoder(size=spec.size, width=spec.width, code=spec.code)
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.lr)
    rows, best = _taken_up(keeper, model, optimizer)
    listen(StepStarted(step="autoencoder", total=spec.epochs * len(train.pixels)))
    listen(StepAdvanced(step="autoencoder", count=len(rows) * len(train.pixels)))
    for epoch in range(len(rows), spec.epochs):
        clock = time.perf_counter()
        train_error = _epoch(model, optimizer, train, spec=spec, seed=seed, epoch=epoch, listen=listen)
        val_error = float(repaint_errors(model, val).mean())
        if not math.isfinite(train_error + val_error):
            raise DivergedError(
                f"in epoch {epoch + 1} the autoencoder's error became {train_error}: the learning rate is too high;"
                f" try --set one_class.lr={spec.lr / 10:.0e}"
            )
        better = not rows or val_error < min(row.val_error for row in rows)
        best = clone_state(model) if better else best
        seconds = time.perf_counter() - clock
        rows = [
            *rows,
            RepaintRow(epoch=epoch + 1, train_error=train_error, val_error=val_error, best=better, seconds=seconds),
        ]
        if keeper:
            tensors = {**pack(model, optimizer), **{f"best/{name}": value for name, value in best.items()}}
            keeper.save({"rows": [asdict(row) for row in rows]}, tensors)
    model.load_state_dict(best)
    lowest = min(rows, key=lambda row: row.val_error)
    note = f"error {lowest.val_error:.4f} after epoch {lowest.epoch} of {len(rows)}"
    listen(StepFinished(step="autoencoder", seconds=time.perf_counter() - start, note=note))
    return AutoencoderFit(model=model.eval(), rows=tuple(rows))


def repainted(model: Autoencoder, pixels: Pixels) -> Pixels:
    """What the net makes of pictures ``[N, S, S, 3]`` uint8: the same shape, for people to look at."""
    out = np.empty_like(pixels)
    for at, _, painted in _asked(model, pixels):
        levels = ((painted + 1) * 127.5).round().clamp(0, 255).byte()
        out[at : at + len(painted)] = levels.permute(0, 2, 3, 1).numpy()
    return out


def repaint_errors(model: Autoencoder, pixels: Pixels) -> NDArray[np.float64]:
    """The mean squared error ``[N]`` of each repainted picture; channels in -1..1."""
    out = np.empty(len(pixels), np.float64)
    for at, shown, painted in _asked(model, pixels):
        out[at : at + len(shown)] = (painted - shown).square().mean((1, 2, 3)).double().numpy()
    return out


def _asked(model: Autoencoder, pixels: Pixels) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(position, pictures, what the net makes of them) in batches of one size, so that no digit depends on N."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for at in range(0, len(pixels), _ASKED_AT_ONCE):
            some = pixels[at : at + _ASKED_AT_ONCE]
            full = np.concatenate([some, np.repeat(some[-1:], _ASKED_AT_ONCE - len(some), axis=0)])
            shown = as_tensor(full)
            yield at, shown[: len(some)], model(shown)[: len(some)]
    model.train(was_training)


def _epoch(
    model: Autoencoder,
    optimizer: torch.optim.Optimizer,
    train: Shown,
    *,
    spec: OneClassSpec,
    seed: int,
    epoch: int,
    listen: Listener,
) -> float:
    """One pass over the pictures, each in a harmless view of its own; returns the mean error."""
    model.train()
    order = epoch_order(len(train.pixels), seed=seed, epoch=epoch)
    total = 0.0
    for chosen in np.array_split(order, num_batches(len(order), spec.batch_size)):
        shown = as_tensor(seen(train, chosen, seed=seed, epoch=epoch))
        loss = functional.mse_loss(model(shown), shown)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += float(loss.detach()) * len(chosen)
        listen(StepAdvanced(step="autoencoder", count=len(chosen)))
    return total / len(order)


def seen(shown: Shown, chosen: NDArray[np.int64], *, seed: int, epoch: int) -> Pixels:
    """Chosen pictures ``[B, S, S, 3]``, each in one of the harmless views; the draw depends on picture and epoch."""
    out = np.empty((len(chosen), *shown.pixels.shape[1:]), np.uint8)
    for place, i in enumerate(chosen.tolist()):
        view = shown.views[int(picture_generator(seed, epoch, shown.keys[i]).integers(len(shown.views)))]
        picture = shown.pixels[i][:, ::-1] if view >= 4 else shown.pixels[i]
        out[place] = np.rot90(picture, view % 4)
    return out


def as_tensor(pixels: Pixels) -> Tensor:
    """``[B, S, S, 3]`` uint8 -> ``[B, 3, S, S]`` float32 in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _taken_up(
    keeper: EpochKeeper | None, model: Autoencoder, optimizer: torch.optim.Optimizer
) -> tuple[list[RepaintRow], dict[str, Tensor]]:
    saved = keeper.load() if keeper else None
    if saved is None:
        return [], {}
    unpack(saved.tensors, model, optimizer)
    return [RepaintRow(**row) for row in saved.facts["rows"]], part_of(saved.tensors, "best")
