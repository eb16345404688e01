"""A picture that Pillow has loaded -> RGB, 8 bit, turned upright, without ever holding a second full copy of it.

Everything happens in horizontal strips of the upright picture: colour conversion, transparency on white, deep grey
to 8 bit, the EXIF turn, the reduction. Results are those of the whole picture at once, bit for bit. Bytes are read in
`decode.py`; nothing is opened here. Worker processes load this module, so numpy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from budwood.data.preprocess import reduce_coarse, whole_step
from budwood.errors import UnreadableImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STRIP_PIXELS = 1_000_000  # a strip and its conversions stay below some 20 MB
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP = ("I", "F")


@dataclass(frozen=True, slots=True)
class Picture:
    """A loaded picture, the file's format and mode, and the EXIF orientation (1-8) that it has yet to be turned by."""

    image: Image.Image
    format: str
    mode: str
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        width, height = self.image.size
        return (height, width) if self.orientation >= 5 else (width, height)

    def pixels(self) -> NDArray[np.uint8]:
        """The upright picture, ``[H, W, 3]`` uint8 RGB.

        Raises:
            UnreadableImage: its colour mode is not supported, or its values are not numbers.
        """
        import numpy as np

        width, height = self.size
        if width * height <= STRIP_PIXELS:
            return np.asarray(self._coarse(1))
        pixels = np.empty((height, width, 3), np.uint8)
        for top, strip in self._strips():
            pixels[top : top + strip.height] = np.asarray(strip)
        return pixels

    def reduced(self, side: int) -> Image.Image:
        """``preprocess.reduce_to(self.pixels(), side)``, without the full array, as an RGB image.

        Raises:
            UnreadableImage: as `pixels`.
        """
        width, height = self.size
        if min(width, height) <= side:
            return self._coarse(1)
        coarse = self._coarse(whole_step(min(width, height), side))
        return reduce_coarse(coarse, width=width, height=height, side=side)

    def _coarse(self, step: int) -> Image.Image:
        """The upright picture in RGB, squares of ``step`` pixels reduced to one."""
        if self._is_plain:
            return self.image.reduce(step) if step > 1 else self.image
        width, height = self.size
        if width * height <= STRIP_PIXELS:
            whole = next(self._strips())[1]
            return whole.reduce(step) if step > 1 else whole
        coarse = Image.new("RGB", (-(-width // step), -(-height // step)))
        for top, strip in self._strips(step):
            coarse.paste(strip.reduce(step) if step > 1 else strip, (0, top // step))
        return coarse

    @property
    def _is_plain(self) -> bool:
        return self.image.mode == "RGB" and self.orientation == 1 and "transparency" not in self.image.info

    def _strips(self, step: int = 1) -> Iterator[tuple[int, Image.Image]]:
        """Each strip of the upright picture as RGB, with the row that it begins at, a multiple of ``step``."""
        width, height = self.size
        scale = _scale_of(self.image) if _is_deep(self.image) else None
        rows = max(1, STRIP_PIXELS // width // step) * step
        for top in range(0, height, rows):
            part = self._source(top, min(top + rows, height))
            strip = _to_rgb(part) if scale is None else _to_8_bit(part, *scale)
            turn = _TURNS.get(self.orientation)
            yield top, strip if turn is None else strip.transpose(turn)

    def _source(self, top: int, bottom: int) -> Image.Image:
        """The part of the picture as it lies in the file that becomes the upright rows ``top`` to ``bottom``."""
        image = self.image
        width, height = image.size
        if (top, bottom) == (0, self.size[1]):
            return image
        if self.orientation in (1, 2):
            box = (0, top, width, bottom)
        elif self.orientation in (3, 4):
            box = (0, height - bottom, width, height - top)
        elif self.orientation in (5, 6):
            box = (top, 0, bottom, height)
        else:
            box = (width - bottom, 0, width - top, height)
        return image.crop(box)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in _DEEP or image.mode.startswith("I;16")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    if image.mode == "RGB":
        return image
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UnreadableImage(f"the colour mode {image.mode} is not supported") from error


def _scale_of(image: Image.Image) -> tuple[float, float, float]:
    """How deep grey values become 0-255, as (offset, multiply by, divide by).

    16 bit by 1/257; 32 bit and float by the range of their values.
    """
    if image.mode.startswith("I;16"):
        return 0.0, 1.0, 257.0
    low, high = _extremes(image)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 0.0, 1.0, 257.0
    if image.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 255.0, 1.0
    if low >= 0 and high <= 255:
        return 0.0, 1.0, 1.0
    if image.mode == "I" and low >= 0 and high <= 65535:
        return 0.0, 1.0, 257.0
    return low, 255 / (high - low) if high > low else 0.0, 1.0


def _extremes(image: Image.Image) -> tuple[float, float]:
    import numpy as np

    low, high = float("inf"), float("-inf")
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        if not np.isfinite(values).all():
            raise UnreadableImage("holds values that are not numbers")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _to_8_bit(image: Image.Image, offset: float, factor: float, divisor: float) -> Image.Image:
    import numpy as np

    values = (np.asarray(image).astype(np.float64) - offset) * factor / divisor
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
