"""Activations at a frozen border: each picture's views pass the frozen start of a network once and are kept on disk.

They are keyed by all that they depend on: the pictures in their order, the weights before the border, the border, the
input, the views and the arithmetic. Whether that pays is reckoned in `worth.py`. The training on them is not here.
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.data.preprocess import Preprocess
from budwood.errors import OutputError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.files import sha256_bytes, to_json
from budwood.models.cut import Cut, CutError
from budwood.models.fold import fold_batch_norm
from budwood.models.quicker import quicken
from budwood.models.trace import noise
from budwood.train.activation_file import ActivationFile

BATCH_SIZE = 32
# (number of the view, rows [B]) -> what enters the network, [B, ...] float32; view 0 is the plain picture
ViewMaker = Callable[[int, NDArray[np.int64]], Tensor]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of a part and their views.

    digests: pixel digests, in the order of the rows. make_view: gives the network's input.
    views_key: a text that differs whenever views of equal pictures would (settings and seed of the augmentation).
    """

    digests: Sequence[str]
    make_view: ViewMaker
    num_views: int
    views_key: str


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How activations are kept.

    folder: each set gets a folder of its own inside. budget: the most that one set may take, in bytes.
    preprocess: the input that the pictures were made for. bf16: compute in bfloat16.
    dtype: float16 halves the bytes and rounds by 5e-4 at most; float32 keeps what the network gave.
    """

    folder: Path
    budget: int
    preprocess: Preprocess
    bf16: bool = False
    dtype: Literal["float16", "float32"] = "float16"


@dataclass(frozen=True, kw_only=True)
class Activations:
    """What enters the tail: ``num_views`` activations of each of N pictures.

    shape: one activation, as the tail takes it. seconds: what making them took now; computed: how many were made now.
    """

    folder: Path
    shape: tuple[int, ...]
    num_views: int
    seconds: float
    computed: int
    maps: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.maps[0])

    @property
    def num_bytes(self) -> int:
        """The space that they take on the disk."""
        return sum(int(kept.nbytes) for kept in self.maps)

    def batch(self, rows: NDArray[np.int64], view_of_row: NDArray[np.int64]) -> Tensor:
        """Activations ``[B, *shape]`` float32 of the given rows, each in its view; maps are channels last."""
        stored = np.empty((len(rows), *self.maps[0].shape[1:]), self.maps[0].dtype)
        for view in np.unique(view_of_row):
            chosen = view_of_row == view
            stored[chosen] = self.maps[view][rows[chosen]]
        out = torch.from_numpy(stored).float()
        return out.permute(0, 3, 1, 2) if len(self.shape) == 3 else out

    def drop(self) -> None:
        """Delete them from the disk; what is mapped can be read until it is let go."""
        shutil.rmtree(self.folder, ignore_errors=True)


def views_of(epoch: int, records: Sequence[int], *, num_views: int) -> NDArray[np.int64]:
    """The view of each picture in an epoch: all in turn, beginning at a place of its own.

    Args:
        records: keys from `seeding.record_key`.
    """
    return np.array([(record + epoch) % num_views for record in records], dtype=np.int64)


def frozen_digest(parts: Cut) -> str:
    """The sha256 over the tensors before the border, in order: equal exactly when they are."""
    state, digest = parts.model.state_dict(), hashlib.sha256()
    for name in parts.frozen:
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def needed_bytes(shape: Sequence[int], *, pictures: int, views: int, dtype: str = "float16") -> int:
    """What activations take on the disk."""
    return int(np.prod(shape)) * np.dtype(dtype).itemsize * pictures * views


@dataclass(frozen=True, kw_only=True)
class Shallower:
    """Where activations may come from instead of the pictures: those at a border nearer to the input.

    cuts: the borders passed on the way, from the input on. obtain: the activations at the last of them, asked for only
    when something is to be computed.
    """

    cuts: tuple[Cut, ...]
    obtain: Callable[[], Activations]


def cache_activations(
    parts: Cut,
    pictures: Pictures,
    keeping: Keeping,
    *,
    shallower: Shallower | None = None,
    listen: Listener = silent,
    step: str = "border activations",
) -> Activations:
    """All activations of ``pictures`` at the border; only what is not yet kept, or was damaged, is computed.

    Args:
        parts: a checked cut of the network as it is now.
        shallower: compute from the activations of the same pictures at another border, which leaves out what both
            have in common. They are kept apart from those computed from the pictures, since float16 rounds twice.
        listen: hears of ``step``.

    Raises:
        OutputError: they would take more than the budget, or the disk is full.
        CutError: an activation is infinite, not a number, or too large for float16.
    """
    job = _Job(parts=parts, pictures=pictures, keeping=keeping, shallower=shallower)
    folder = keeping.folder / job.key()
    files = job.files(folder)
    needed = sum(file.num_bytes for file in files)
    if needed > keeping.budget:
        raise OutputError(
            f"activations at {parts.border} take {needed / 1e9:.2f} GB ({pictures.num_views} views of "
            f"{len(pictures.digests)} pictures), {keeping.budget / 1e9:.2f} GB are allowed; take fewer views or a "
            "deeper border"
        )
    started = time.perf_counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # the cache drops the least recently used
        with FileLock(folder / ".lock"):
            computed = _complete(files, job, listen=listen, step=step)
    except OSError as error:
        raise OutputError(f"cannot keep activations in {folder} ({error.strerror or error})") from error
    return Activations(
        folder=folder,
        shape=parts.shape,
        num_views=pictures.num_views,
        seconds=time.perf_counter() - started,
        computed=computed,
        maps=tuple(file.mapped() for file in files),
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    parts: Cut
    pictures: Pictures
    keeping: Keeping
    shallower: Shallower | None

    def key(self) -> str:
        """The name of the folder: all that the activations depend on, but the number of views."""
        facts = {
            "border": self.parts.border,
            "shape": list(self.parts.shape),
            "through": [cut.border for cut in self.shallower.cuts] if self.shallower else [],
            "weights": frozen_digest(self.parts),
            "pictures": sha256_bytes("\n".join(self.pictures.digests).encode()),
            "views": self.pictures.views_key,
            "preprocess": self.keeping.preprocess.to_dict(),
            "bf16": self.keeping.bf16,
            "dtype": self.keeping.dtype,
        }
        return sha256_bytes(to_json(facts).encode())[:24]

    def files(self, folder: Path) -> list[ActivationFile]:
        """One for each view."""
        shape, dtype = self.parts.shape, np.dtype(self.keeping.dtype)
        # Maps lie with their channels last, as convolutions read them fastest.
        stored = (*shape[1:], shape[0]) if len(shape) == 3 else shape
        views = range(self.pictures.num_views)
        rows = len(self.pictures.digests)
        return [ActivationFile(path=folder / f"view{v}.bin", rows=rows, shape=stored, dtype=dtype) for v in views]

    def network(self) -> tuple[nn.Module, ViewMaker]:
        """What is run, and what it is fed with."""
        bf16 = self.keeping.bf16
        if self.shallower is None:
            images = self.pictures.make_view(0, np.arange(1))
            return fast_copy(self.parts.start, images, bf16=bf16), self.pictures.make_view
        kept = self.shallower.obtain()

        def from_kept(view: int, rows: NDArray[np.int64]) -> Tensor:
            return kept.batch(rows, np.full(len(rows), view))

        between = self.shallower.cuts[-1].to(self.parts)
        return fast_copy(between, from_kept(0, np.arange(1)), bf16=bf16), from_kept


def _complete(files: list[ActivationFile], job: _Job, *, listen: Listener, step: str) -> int:
    """Compute the chunks that are missing; returns how many activations that were."""
    started = time.perf_counter()
    sound = [file.sound_chunks() for file in files]
    missing = [
        (view, number, np.arange(rows.start, rows.stop))
        for view, file in enumerate(files)
        for number, rows in enumerate(file.chunks())
        if number not in sound[view]
    ]
    total = sum(len(rows) for _, _, rows in missing)
    listen(StepStarted(step=step, total=total))
    if total:
        network, make_view = job.network()
        for view, number, rows in missing:
            values = _run(network, partial(make_view, view), rows=rows, keeping=job.keeping)
            files[view].write_chunk(number, values, sound[view])
            listen(StepAdvanced(step=step, count=len(rows)))
    seconds = time.perf_counter() - started
    note = f"{total / seconds:.0f} images/s" if total else "from the cache"
    listen(StepFinished(step=step, seconds=seconds, note=note))
    return total


@torch.inference_mode()
def _run(
    network: nn.Module, make: Callable[[NDArray[np.int64]], Tensor], *, rows: NDArray[np.int64], keeping: Keeping
) -> NDArray[Any]:
    """Activations of ``rows`` as they are stored."""
    device = next(network.parameters()).device
    out = []
    for at in range(0, len(rows), BATCH_SIZE):
        images = make(rows[at : at + BATCH_SIZE]).to(device)
        values = network(images.to(torch.bfloat16) if keeping.bf16 else images).float().cpu()
        if values.ndim == 4:
            values = values.permute(0, 2, 3, 1)
        with np.errstate(over="ignore"):  # what is too large becomes infinite and is found below
            out.append(values.numpy().astype(keeping.dtype))
    stored = np.concatenate(out)
    if not np.isfinite(stored).all():
        raise CutError(
            f"activations are infinite, not a number or too large for {keeping.dtype}: they cannot be kept at this "
            "border"
        )
    return stored


def fast_copy(segment: nn.Module, example: Tensor, *, bf16: bool) -> nn.Module:
    """A copy for inference: BatchNorm folded and channels last where maps flow in, bfloat16 if asked for.

    Args:
        example: its input ``[B, ...]``; only the shape counts.
    """
    maps = example.ndim == 4
    network = fold_batch_norm(segment, noise(example)) if maps else copy.deepcopy(segment).eval()
    network = network.to("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(memory_format=torch.channels_last) if maps else network
    if not bf16:
        return network
    network = network.to(torch.bfloat16)
    return network if torch.cuda.is_available() else quicken(network)
