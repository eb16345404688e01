"""Random augmentation of decoded pixels: each picture draws for itself, keyed by (seed, epoch, record).

Pictures are warped in whole batches, but no draw depends on the batch that a picture happens to be in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional

from budwood.data.preprocess import Preprocess
from budwood.seeding import picture_generator

Flip = Literal["auto", "none", "horizontal", "both"]


class AugmentSpec(BaseModel):
    """What may happen to a training picture.

    rotation: largest turn in degrees either way (180: any), borders filled by reflection; ``"auto"`` is 180 where the
        audit finds no preferred orientation and 10 elsewhere.
    flip: ``"auto"`` flips as far as the audit finds mirroring harmless.
    scale: smallest and largest magnification. shift: largest move, as a share of the side.
    brightness, contrast, saturation: largest relative change either way.
    cutmix, mixup: share of the batches that are mixed so (Yun 2019, Zhang 2018); labels are mixed alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: Annotated[float, Field(ge=0, le=180)] | Literal["auto"] = "auto"
    flip: Flip = "auto"
    scale: tuple[float, float] = (0.8, 1.15)
    shift: float = Field(default=0.1, ge=0, le=0.5)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    cutmix: float = Field(default=0.5, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _possible(self) -> AugmentSpec:
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError(
                f"scale takes the smallest and the largest magnification, both above 0 (found {low}, {high})"
            )
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix and mixup are shares of the batches: together at most 1")
        return self

    def resolved(self, *, turn_free: bool, mirror_free: bool) -> AugmentSpec:
        """The spec with ``"auto"`` decided by what the audit found."""
        rotation = self.rotation if self.rotation != "auto" else (180.0 if turn_free else 10.0)
        flip: Flip = self.flip
        if flip == "auto":
            flip = "none" if not mirror_free else "both" if turn_free else "horizontal"
        return self.model_copy(update={"rotation": rotation, "flip": flip})


class Augment:
    """Pixels ``[B, S, S, 3]`` uint8 -> network input ``[B, 3, S, S]``, each picture changed by its own draw."""

    def __init__(self, spec: AugmentSpec, preprocess: Preprocess, *, seed: int) -> None:
        if spec.rotation == "auto" or spec.flip == "auto":
            raise ValueError("resolve the spec first: rotation and flip are still auto")
        self.spec = spec
        self.preprocess = preprocess
        self.seed = seed

    def __call__(self, pixels: NDArray[np.uint8], records: Sequence[int], epoch: int) -> Tensor:
        """Augment a batch; ``records`` are the pictures' keys (`seeding.record_key`)."""
        matrices, colours = self.draw(records, epoch)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
        grid = functional.affine_grid(torch.from_numpy(matrices), list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        return self.preprocess.standardise(_recolour(images, torch.from_numpy(colours)))

    def draw(self, records: Sequence[int], epoch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Affine matrices ``[B, 2, 3]`` (output to input, -1..1); (brightness, contrast, saturation) ``[B, 3]``."""
        spec = self.spec
        limits = np.array([spec.brightness, spec.contrast, spec.saturation])
        matrices = np.empty((len(records), 2, 3), dtype=np.float32)
        colours = np.empty((len(records), 3), dtype=np.float32)
        for i, record in enumerate(records):
            u = picture_generator(self.seed, epoch, record).random(9)
            angle = math.radians(float(spec.rotation) * (2 * u[0] - 1))
            # a magnification by s reads from a window of 1/s
            window = 1 / math.exp(math.log(spec.scale[0]) + u[1] * math.log(spec.scale[1] / spec.scale[0]))
            mirror = -1.0 if spec.flip in ("horizontal", "both") and u[2] < 0.5 else 1.0
            upside = -1.0 if spec.flip == "both" and u[3] < 0.5 else 1.0
            cos, sin = math.cos(angle) * window, math.sin(angle) * window
            shift = 2 * spec.shift * (2 * u[4:6] - 1)
            matrices[i] = [[cos * mirror, -sin * upside, shift[0]], [sin * mirror, cos * upside, shift[1]]]
            colours[i] = 1 + limits * (2 * u[6:9] - 1)
        return matrices, colours


def _recolour(images: Tensor, colours: Tensor) -> Tensor:
    """Brightness, contrast (about the picture's mean grey), saturation; ``[B, 3, S, S]`` in 0-1."""
    brightness, contrast, saturation = (colours[:, i].view(-1, 1, 1, 1) for i in range(3))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    images = images * brightness
    grey = (images * weights).sum(1, keepdim=True)
    images = grey + (images - grey) * saturation
    middle = grey.mean((2, 3), keepdim=True)
    return ((images - middle) * contrast + middle).clamp_(0, 1)
