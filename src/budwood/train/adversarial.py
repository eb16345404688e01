"""A small conditional GAN: a generator and a discriminator are played against each other until one can paint a class.

Hinge loss, a projection discriminator, averaged weights of the generator, and pictures that are shifted and recoloured
before the discriminator sees them. It sees the training pictures only. Whether its pictures are any use is asked by
`synthesis.py`; nothing here looks at them.

References: J. H. Lim, J. C. Ye, Geometric GAN, arXiv 1705.02894 (hinge loss); S. Zhao et al., Differentiable
augmentation for data-efficient GAN training, NeurIPS 2020.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from budwood.data.loader import epoch_order, num_batches
from budwood.errors import DivergedError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.models.generator import Discriminator, Generator
from budwood.seeding import batch_generator, named_generator
from budwood.train.autoencode import Pixels, Shown, as_tensor, seen
from budwood.train.epoch_keeper import EpochKeeper
from budwood.train.state import pack, part_of, unpack

_PAINTED_AT_ONCE = 64
_SHIFT = 1 / 8  # of the side


class SynthesisSpec(BaseModel):
    """A conditional GAN, and what its pictures are tried for.

    size: side of the painted pictures in pixels, a multiple of 8. noise: numbers that a picture is painted from.
    width: the generator's channels at full size; four times as many at the smallest. The discriminator has half as
        many again.
    lr, discriminator_lr: Adam's rates. ema: share of the old in the averaged generator, after each step.
    augment: shift and recolour real and painted pictures alike before they are judged; helps with few pictures.
    per_class: painted pictures of each class that are added to the real ones in the comparison.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=32, ge=16, le=64, multiple_of=8)
    noise: int = Field(default=64, ge=2, le=512)
    width: int = Field(default=24, ge=4, le=128)
    epochs: int = Field(default=25, ge=1)
    batch_size: int = Field(default=16, ge=2)
    lr: float = Field(default=1e-3, gt=0)
    discriminator_lr: float = Field(default=1e-3, gt=0)
    ema: float = Field(default=0.995, ge=0, lt=1)
    augment: bool = True
    per_class: int = Field(default=200, ge=4, le=5000)


@dataclass(frozen=True, slots=True, kw_only=True)
class GameRow:
    """One epoch: both losses, and the mean score of real and painted pictures (equal: they cannot be told apart)."""

    epoch: int
    generator_loss: float
    discriminator_loss: float
    real: float
    painted: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class GameResult:
    """The generator with its averaged weights, and all epochs."""

    generator: Generator
    rows: tuple[GameRow, ...]


class Game:
    """Both nets, their optimisers and the averaged generator: all that the next epoch depends on."""

    def __init__(self, spec: SynthesisSpec, *, num_classes: int, seed: int) -> None:
        self.spec, self.seed = spec, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = Generator(num_classes=num_classes, size=spec.size, noise=spec.noise, width=spec.width)
            self.discriminator = Discriminator(num_classes=num_classes, width=spec.width * 3 // 2)
        for net in (self.generator, self.discriminator):
            net.to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False)
        betas = (0.5, 0.99)  # of DCGAN: without momentum nothing is to be seen after 500 steps
        self.paints = torch.optim.Adam(self.generator.parameters(), lr=spec.lr, betas=betas)
        self.judges = torch.optim.Adam(self.discriminator.parameters(), lr=spec.discriminator_lr, betas=betas)

    def epoch(self, train: Shown, targets: NDArray[np.int64], *, epoch: int, listen: Listener) -> GameRow:
        """One pass over the real pictures.

        Raises:
            DivergedError: a loss became infinite or not a number.
        """
        clock, sums = time.perf_counter(), np.zeros(4)
        order = epoch_order(len(train.pixels), seed=self.seed, epoch=epoch)
        for step, chosen in enumerate(np.array_split(order, num_batches(len(order), self.spec.batch_size))):
            real = as_tensor(seen(train, chosen, seed=self.seed, epoch=epoch)).contiguous(
                memory_format=torch.channels_last
            )
            found = self._step(real, torch.from_numpy(targets[chosen]), batch_generator(self.seed, epoch, step))
            if not np.isfinite(found).all():
                raise DivergedError(
                    f"in epoch {epoch + 1} a loss of the GAN became infinite or not a number; the epochs before are"
                    f" kept. Try --set synthesis.lr={self.spec.lr / 4:.0e}"
                    f" --set synthesis.discriminator_lr={self.spec.discriminator_lr / 4:.0e}"
                )
            sums += np.array(found) * len(chosen)
            listen(StepAdvanced(step="GAN", count=len(chosen)))
        judged, painted_loss, on_real, on_painted = (float(value) for value in sums / len(order))
        return GameRow(
            epoch=epoch + 1,
            generator_loss=painted_loss,
            discriminator_loss=judged,
            real=on_real,
            painted=on_painted,
            seconds=time.perf_counter() - clock,
        )

    def _step(self, real: Tensor, targets: Tensor, draws: np.random.Generator) -> tuple[float, ...]:
        """The discriminator's step, then the generator's; painted pictures are of the real ones' classes."""
        painted = self.generator(self._noise(len(real), draws), targets)
        both = self._changed(torch.cat([real, painted.detach()]), draws)
        on_real, on_painted = self.discriminator(both, targets.repeat(2)).chunk(2)
        judged = torch.relu(1 - on_real).mean() + torch.relu(1 + on_painted).mean()
        _descend(self.judges, judged)

        # The same painted pictures, asked of the discriminator as it is now: painting others costs a third more.
        self.discriminator.requires_grad_(False)
        loss = -self.discriminator(self._changed(painted, draws), targets).mean()
        _descend(self.paints, loss)
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            averaged: list[Tensor] = list(self.averaged.parameters())
            own: list[Tensor] = list(self.generator.parameters())
            torch._foreach_lerp_(averaged, own, 1 - self.spec.ema)
        values = (judged, loss, on_real.mean(), on_painted.mean())
        return tuple(float(value.detach()) for value in values)

    def _noise(self, count: int, draws: np.random.Generator) -> Tensor:
        return torch.from_numpy(draws.standard_normal((count, self.spec.noise), dtype=np.float32))

    def _changed(self, images: Tensor, draws: np.random.Generator) -> Tensor:
        return changed(images, draws) if self.spec.augment else images

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all that the next epoch depends on."""
        found = {f"painter/{name}": value for name, value in pack(self.generator, self.paints, self.averaged).items()}
        return found | {f"judge/{name}": value for name, value in pack(self.discriminator, self.judges).items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` took."""
        unpack(part_of(tensors, "painter"), self.generator, self.paints, self.averaged)
        unpack(part_of(tensors, "judge"), self.discriminator, self.judges)


def play(
    train: Shown,
    targets: NDArray[np.int64],
    *,
    num_classes: int,
    spec: SynthesisSpec,
    seed: int,
    keeper: EpochKeeper | None = None,
    on_epoch: Callable[[Generator, GameRow], None] = lambda generator, row: None,
    listen: Listener = silent,
) -> GameResult:
    """Train a generator; equal arguments give equal weights on a CPU, stopped in between or not.

    Args:
        train: the real training pictures.
        targets: ``[N]`` their classes.
        keeper: where the state is put away after each epoch.
        on_epoch: gets the averaged generator after each epoch, before it is put away.
        listen: hears of the step ``GAN``.

    Raises:
        DivergedError: a loss became infinite or not a number; the last epoch before that is kept.
    """
    start = time.perf_counter()
    game = Game(spec, num_classes=num_classes, seed=seed)
    saved = keeper.load() if keeper else None
    rows = [GameRow(**row) for row in saved.facts["rows"]] if saved else []
    if saved:
        game.restore(saved.tensors)
    listen(StepStarted(step="GAN", total=spec.epochs * len(train.pixels)))
    listen(StepAdvanced(step="GAN", count=len(rows) * len(train.pixels)))
    for epoch in range(len(rows), spec.epochs):
        rows.append(game.epoch(train, targets, epoch=epoch, listen=listen))
        on_epoch(game.averaged, rows[-1])
        if keeper:
            keeper.save({"rows": [asdict(row) for row in rows]}, game.tensors())
    seconds = time.perf_counter() - start
    note = f"{len(rows)} epochs, {sum(row.seconds for row in rows) / len(rows):.1f} s each"
    listen(StepFinished(step="GAN", seconds=seconds, note=note))
    return GameResult(generator=game.averaged.eval(), rows=tuple(rows))


def fixed_noise(count: int, *, size: int, seed: int, name: str) -> NDArray[np.float32]:
    """Noise ``[count, size]`` that is the same whenever it is asked for by this name."""
    return named_generator(seed, name).standard_normal((count, size), dtype=np.float32)


@torch.inference_mode()
def paint(generator: Generator, noise: NDArray[np.float32], targets: NDArray[np.int64]) -> Pixels:
    """Pictures ``[N, S, S, 3]`` uint8 of the classes ``[N]`` from noise ``[N, Z]``."""
    size = generator.side * 8
    out = np.empty((len(noise), size, size, 3), np.uint8)
    for at in range(0, len(noise), _PAINTED_AT_ONCE):
        some = slice(at, at + _PAINTED_AT_ONCE)
        images = generator(torch.from_numpy(noise[some]), torch.from_numpy(targets[some]))
        out[some] = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return out


def changed(images: Tensor, draws: np.random.Generator) -> Tensor:
    """Pictures ``[B, 3, S, S]`` in -1..1, each shifted by up to an eighth of its side, lighter or darker, and paler or
    more colourful; gradients pass through.
    """
    count, side = len(images), images.shape[-1]
    light, colour = (torch.from_numpy(draws.random((count, 1, 1, 1), dtype=np.float32)) for _ in range(2))
    images = images + 0.5 * (light - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * colour)
    most = round(side * _SHIFT)
    moves = draws.integers(-most, most + 1, size=(2, count))
    padded = nn.functional.pad(images, (most, most, most, most))
    rows = torch.from_numpy(moves[0] + most)[:, None] + torch.arange(side)
    columns = torch.from_numpy(moves[1] + most)[:, None] + torch.arange(side)
    which = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    if math.isfinite(float(loss.detach())):  # otherwise the caller refuses the step, and the weights stay as they are
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
