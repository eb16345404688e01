"""`Picture`: in strips or whole, turned or not, every mode gives the same pixels."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from budwood.data import strips
from budwood.data.decode import decode, open_picture
from budwood.data.preprocess import reduce_to
from budwood.errors import UnreadableImage

RNG = np.random.default_rng(0)
SHAPES = {"wide": (30, 47), "tall": (47, 30), "very tall": (60, 23), "square": (33, 33)}


def drawn(mode: str, shape: tuple[int, int]) -> Image.Image:
    pixels = RNG.integers(0, 256, (*shape, 4), dtype=np.uint8)
    deep = RNG.integers(0, 65536, shape)
    if mode in ("RGBA", "LA"):
        return Image.fromarray(pixels).convert(mode)
    if mode == "I;16":
        return Image.fromarray(deep.astype(np.uint16))
    if mode == "I":
        return Image.fromarray((deep - 9999).astype(np.int32))
    if mode == "F":
        return Image.fromarray((deep / 7 - 99).astype(np.float32))
    return Image.fromarray(pixels[..., :3]).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF"), ("RGBA", "PNG"),
        ("LA", "PNG"), ("I;16", "PNG"), ("I;16", "TIFF"), ("I", "TIFF"), ("F", "TIFF"), ("RGBA", "TIFF"),
        ("RGBA", "WEBP"), ("RGB", "BMP"), ("RGB", "PPM"),
    ],
)  # fmt: skip
def test_strips_give_what_the_whole_picture_gives(
    mode: str, kind: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(drawn(mode, shape), kind)
    for orientation in range(1, 9):
        picture = replace(open_picture(data), orientation=orientation)
        monkeypatch.setattr(strips, "STRIP_PIXELS", 10**6)
        whole = picture.pixels()
        reduced = {side: reduce_to(whole, side) for side in (16, 7, 4)}  # the last two in two steps
        assert picture.size == whole.shape[1::-1]
        for num_pixels in (10**6, 700, 37):
            monkeypatch.setattr(strips, "STRIP_PIXELS", num_pixels)
            assert np.array_equal(picture.pixels(), whole), (orientation, num_pixels)
            for side, expected in reduced.items():
                assert np.array_equal(np.asarray(picture.reduced(side)), expected), (orientation, num_pixels, side)


def test_deep_values_are_scaled_by_the_range_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.linspace(-3, 9, 900, dtype=np.float32).reshape(30, 30)
    data = encoded(Image.fromarray(ramp), "TIFF")
    monkeypatch.setattr(strips, "STRIP_PIXELS", 60)
    image = decode(data).image
    assert (image.min(), image.max()) == (0, 255)
    assert len(np.unique(image)) > 250


def test_value_that_is_no_number_is_found_in_any_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((30, 30), np.float32)
    values[17, 3] = np.nan
    monkeypatch.setattr(strips, "STRIP_PIXELS", 60)
    with pytest.raises(UnreadableImage, match="not numbers"):
        decode(encoded(Image.fromarray(values), "TIFF"))


def test_the_plain_picture_is_not_copied() -> None:
    picture = open_picture(encoded(drawn("RGB", (30, 40)), "PNG"))
    assert picture.reduced(64) is picture.image
