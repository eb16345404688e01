"""`Preprocess`: the one definition of how a decoded picture becomes a network's input.

It is used for training, evaluation, export and serving, and travels in the bundle. Random augmentation is not here.
The scan's worker processes load this module, so numpy and torch are imported where they are used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """Size, crop, interpolation, mean and std of a network's input.

    size: the side of the square input, in pixels.
    crop_fraction: the part of the resized picture's shorter side that the centre crop keeps, 0-1.
    interpolation: the resize filter (Pillow's, with antialiasing).
    mean, std: per channel (R, G, B), for pixels in 0-1.
    store_side: a picture whose shorter side is longer is first reduced to it; the training store does the same.
    """

    size: int
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    store_side: int = 320

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reduce, resize and centre-crop one decoded picture: ``[H, W, 3]`` uint8 -> ``[size, size, 3]`` uint8."""
        import numpy as np

        image = reduce_to(image, self.store_side)
        height, width = image.shape[:2]
        scaled = max(self.size, round(self.size / self.crop_fraction))
        scale = scaled / min(height, width)
        new_width, new_height = max(scaled, round(width * scale)), max(scaled, round(height * scale))
        if (new_width, new_height) != (width, height):
            resized = Image.fromarray(image).resize((new_width, new_height), _FILTERS[self.interpolation])
            image = np.asarray(resized)
        top, left = (new_height - self.size) // 2, (new_width - self.size) // 2
        return np.ascontiguousarray(image[top : top + self.size, left : left + self.size])

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale to 0-1 and standardise: ``[B, S, S, 3]`` uint8 -> ``[B, 3, S, S]`` float32, channels last."""
        import torch

        return self.standardise(pixels.permute(0, 3, 1, 2).to(torch.float32, copy=True).div_(255))

    def standardise(self, images: torch.Tensor) -> torch.Tensor:
        """Subtract mean, divide by std: ``[B, 3, S, S]`` float32 in 0-1 -> the network's input, channels last."""
        import torch

        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1)
        return (images - mean).div_(std).contiguous(memory_format=torch.channels_last)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def reduce_to(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink ``[H, W, 3]`` so that its shorter side is at most ``side``; smaller ones stay as they are.

    In two steps: the means of squares of a whole number of pixels (those at the right and lower edge may be cut),
    then bicubic to the size. Bicubic alone takes three times as long for a megapixel, nearly as long as decoding it.
    """
    import numpy as np

    height, width = image.shape[:2]
    if min(height, width) <= side:
        return image
    step = whole_step(min(width, height), side)
    picture = Image.fromarray(image)
    coarse = picture.reduce(step) if step > 1 else picture
    return np.asarray(reduce_coarse(coarse, width=width, height=height, side=side))


def whole_step(shorter: int, side: int) -> int:
    """The side of the squares of `reduce_to`'s first step, in pixels; 1: there is no such step."""
    return max(1, shorter // side)


def reduce_coarse(coarse: Image.Image, *, width: int, height: int, side: int) -> Image.Image:
    """The second step of `reduce_to`: ``coarse`` is what the first one made of a picture of that width and height."""
    shorter = min(width, height)
    step = whole_step(shorter, side)
    size = (max(side, round(width * side / shorter)), max(side, round(height * side / shorter)))
    # Not the whole of it: squares that were cut at the edges would move all that lies before them.
    return coarse.resize(size, Image.Resampling.BICUBIC, box=(0, 0, width / step, height / step))
