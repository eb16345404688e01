"""A network and the pictures of a stage as files: what other processes of this host work on without copies in memory.

Pixels that lie in a file already are mapped from it. What `StageInput.shorten` would keep is not handed over.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from budwood.models.build import Classifier
from budwood.train.feed import Feed, PixelFeed
from budwood.train.stage_input import StageInput

_NOTHING = np.empty((0, 0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFile:
    """Where an array lies."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, array: NDArray[np.uint8], *, otherwise: Path) -> ArrayFile:
        """The file that ``array`` is mapped from; one is written at ``otherwise`` where it is not."""
        # A view of a mapped array has its parent's offset, not its own.
        if isinstance(array, np.memmap) and not isinstance(array.base, np.ndarray) and array.filename:
            return cls(path=Path(array.filename), offset=array.offset, shape=array.shape, dtype=array.dtype.str)
        np.ascontiguousarray(array).tofile(otherwise)
        return cls(path=otherwise, offset=0, shape=array.shape, dtype=array.dtype.str)

    def mapped(self) -> NDArray[np.uint8]:
        """The array, read only."""
        return np.memmap(self.path, mode="r", offset=self.offset, shape=self.shape, dtype=self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A classifier without its weights, a stage's input without its pictures, and the files that hold both."""

    skeleton: Classifier
    weights: Path
    data: StageInput
    train: ArrayFile | None
    val: ArrayFile | None

    @classmethod
    def packed(cls, model: Classifier, data: StageInput, *, folder: Path) -> Parcel:
        """What can be sent to another process, with its files in ``folder``."""
        save_file({name: value.contiguous() for name, value in _tensors(model).items()}, folder / "weights.safetensors")
        train = _pixels(data.train, folder / "train.pixels")
        shared = data.val is not None and _same_pixels(data.train, data.val)
        return cls(
            skeleton=_without_weights(model),
            weights=folder / "weights.safetensors",
            data=replace(data, train=_emptied(data.train), val=data.val and _emptied(data.val), shorten=None),
            train=train,
            val=train if shared else _pixels(data.val, folder / "val.pixels"),
        )

    def opened(self) -> tuple[Classifier, StageInput]:
        """The classifier with its weights and the stage's input with its pictures."""
        _fill(self.skeleton, load_file(self.weights))
        data = self.data
        val = data.val and _filled(data.val, self.val)
        return self.skeleton, replace(data, train=_filled(data.train, self.train), val=val)


def _pixels(feed: Feed | None, otherwise: Path) -> ArrayFile | None:
    return ArrayFile.of(feed.part.pixels, otherwise=otherwise) if isinstance(feed, PixelFeed) else None


def _same_pixels(one: Feed, other: Feed) -> bool:
    return isinstance(one, PixelFeed) and isinstance(other, PixelFeed) and one.part.pixels is other.part.pixels


def _emptied(feed: Feed) -> Feed:
    return replace(feed, part=replace(feed.part, pixels=_NOTHING)) if isinstance(feed, PixelFeed) else feed


def _filled(feed: Feed, file: ArrayFile | None) -> Feed:
    if file is None or not isinstance(feed, PixelFeed):
        return feed
    return replace(feed, part=replace(feed.part, pixels=file.mapped()))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, those too that a state dict leaves out; shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _without_weights(model: Classifier) -> Classifier:
    """A copy whose tensors have shapes only; a tensor that stands in two places still does."""
    empty = {id(value): value.detach().to("meta") for value in _tensors(model).values()}
    for parameter in model.parameters():
        empty[id(parameter)] = nn.Parameter(empty[id(parameter)], requires_grad=parameter.requires_grad)
    return copy.deepcopy(model, empty)


def _fill(skeleton: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put tensors in the places of those without values."""
    real: dict[int, Tensor] = {}
    for name, empty in _tensors(skeleton).items():
        is_weight = isinstance(empty, nn.Parameter)
        real[id(empty)] = nn.Parameter(tensors[name], requires_grad=empty.requires_grad) if is_weight else tensors[name]
    for module in skeleton.modules():
        places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for place in places:
            place.update({key: real[id(value)] for key, value in place.items() if value is not None})
