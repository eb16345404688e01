"""`decode`: what comes out for each kind of file, and that only `UnreadableImage` is ever raised."""

from __future__ import annotations

import io
import os
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data import decode as decode_module
from budwood.data.decode import decode, decode_file
from budwood.errors import UnreadableImage


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def drawn(width: int = 40, height: int = 30) -> Image.Image:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    result = decode(encoded(drawn(), kind))
    assert np.array_equal(result.image, np.asarray(drawn()))
    assert (result.mode, result.format, result.image.dtype) == ("RGB", kind, np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_give_nearly_the_same_pixels(kind: str) -> None:
    result = decode(encoded(drawn(), kind))
    assert result.image.shape == (30, 40, 3)
    assert np.abs(result.image.astype(int) - np.asarray(drawn())).mean() < 12


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    result = decode(encoded(drawn().convert(mode), kind))
    assert result.image.shape == (30, 40, 3)
    reference = np.asarray(drawn().convert(mode).convert("RGB")).astype(int)
    assert np.abs(result.image - reference).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turn_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = np.asarray(drawn())
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.transpose(1, 0, 2),
        6: np.rot90(shown, 1),
        7: shown[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(shown, -1),
    }[orientation]
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
        assert np.array_equal(decode(data).image, shown), kind


def test_sixteen_bit_grey_is_scaled_and_not_saturated() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        image = decode(encoded(Image.fromarray(ramp), kind)).image
        assert np.abs(image[..., 0].astype(int) - np.arange(256).reshape(16, 16)).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-3.0, 9.0)])
def test_float_tiff_keeps_its_contrast(low: float, high: float) -> None:
    ramp = np.linspace(low, high, 256, dtype=np.float32).reshape(16, 16)
    image = decode(encoded(Image.fromarray(ramp), "TIFF")).image
    assert (image.min(), image.max()) == (0, 255)
    assert len(np.unique(image)) > 250


def test_float_tiff_with_nan_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="not numbers"):
        decode(encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"))


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9])
    assert (decode(encoded(clear, "PNG")).image == 255).all()
    assert (decode(encoded(half, "PNG")).image == 127).all()
    assert (decode(encoded(palette, "PNG", transparency=0)).image == 255).all()


def test_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    image = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])).image
    assert (image == (255, 0, 0)).all()


def test_first_picture_of_a_camera_mpo_is_read_as_jpeg() -> None:
    data = encoded(drawn(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    result = decode(data)
    assert result.format == "JPEG"
    assert np.abs(result.image.astype(int) - np.asarray(drawn())).mean() < 12


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, this is text", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\nrubbish", "damaged PNG"),
        (b"\0\0\0\x18ftypheic" + bytes(30), "HEIC"),
    ],
    ids=["empty", "text", "postscript", "bad png", "heic"],
)
def test_what_is_no_picture_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_truncated_file_is_refused(kind: str) -> None:
    data = encoded(drawn(200, 160), kind)
    with pytest.raises(UnreadableImage, match=rf"(truncated|damaged) {kind}"):
        decode(data[: len(data) // 2])


def test_truncated_jpeg_is_called_so() -> None:
    data = encoded(drawn(200, 160), "JPEG")
    with pytest.raises(UnreadableImage, match=r"^truncated JPEG$"):
        decode(data[: len(data) * 3 // 4])


def test_pixel_cap_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data, small = encoded(Image.new("1", (9000, 9000)), "PNG"), encoded(drawn(), "PPM")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UnreadableImage, match=r"^81 megapixels, more than the 50 allowed$"):
        decode(data)
    with pytest.raises(UnreadableImage, match=r"0\.0012 megapixels, more than the 0\.001 allowed"):
        decode(small, max_pixels=1000)


def test_pillows_own_bomb_error_is_caught() -> None:
    with pytest.raises(UnreadableImage, match="more than the 50 megapixels"):
        decode(b"P6 90000 90000 255\n" + bytes(64))


def test_strip_that_would_explode_in_a_resize_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="a strip of 20000 x 1 pixels"):
        decode(encoded(Image.new("L", (20000, 1)), "PNG"))


def test_damaged_exif_neither_refuses_nor_warns() -> None:
    data = encoded(drawn(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff rubbish")
    assert decode(data).image.shape == (30, 40, 3)


def test_three_hundred_mutations_raise_only_unreadable_image(capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(0)
    sources = [encoded(drawn(), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")]
    reasons: list[str] = []
    for number in range(300):
        data = bytearray(sources[number % len(sources)])
        for _ in range(chance.randint(1, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assert decode(bytes(data)).image.ndim == 3
        except UnreadableImage as error:
            reasons.append(str(error))
    assert reasons
    assert all(0 < len(reason) < 80 for reason in reasons)
    assert capfd.readouterr() == ("", "")


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = encoded(drawn(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff rubbish")
    with ThreadPoolExecutor(4) as pool:
        assert all(result.image.any() for result in pool.map(decode, [data] * 60))
    assert list(warnings.filters) == before


def test_decode_file_reads_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(drawn(), "PNG"))
    assert np.array_equal(decode_file(tmp_path / "a.png").image, np.asarray(drawn()))


def test_decode_file_refuses_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.png").write_bytes(bytes(3_000_000))
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.setattr(decode_module, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(UnreadableImage, match="2 MB, more than the 1 MB allowed"):
        decode_file(tmp_path / "big.png")
    with pytest.raises(UnreadableImage, match="not a plain file"):
        decode_file(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="no such file"):
        decode_file(tmp_path / "none.png")
