"""Bytes -> one RGB picture. The only place where Budwood decodes pictures, for training and serving alike.

Pillow alone reads them: torchvision's decoder ends the process on damaged PNGs. No file may crash, print or
warn here; whatever is wrong becomes an `UnreadableImage` with a short reason. Nothing is resized here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from budwood.errors import UnreadableImage

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM")  # MPO comes through JPEG
MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 512 * 2**20
# A strip 1 pixel wide is legal below the pixel cap, but its resize to a square input would need gigabytes.
MAX_ASPECT = 100

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow logs odd TIFF tags; without any handler Python would print them on the user's screen.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """``image``: ``[H, W, 3]`` uint8 RGB, already turned; ``mode`` and ``format`` are the file's."""

    image: NDArray[np.uint8]
    mode: str
    format: str


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode one picture fully: first frame, EXIF turn applied, 16 bit scaled, transparency laid on white.

    Args:
        data: the whole file.
        max_pixels: a larger picture is refused before anything is decoded.

    Raises:
        UnreadableImage: for every reason there is; the message says which.
    """
    if not data:
        raise UnreadableImage("empty file")
    with _quiet_pillow():
        image = _open(data, max_pixels=max_pixels)
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        mode = image.mode
        try:
            image.load()
            pixels = np.asarray(_to_rgb(_turn(image)))
        except UnreadableImage:
            raise
        except Exception as error:
            cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
            raise UnreadableImage(f"{'truncated' if cut else 'damaged'} {kind}") from error
    return Decoded(image=pixels, mode=mode, format=kind)


def decode_file(path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """`decode` the file at ``path``; see `read_picture_bytes` for what is refused before decoding."""
    return decode(read_picture_bytes(path), max_pixels=max_pixels)


def read_picture_bytes(path: Path) -> bytes:
    """Read one file, refusing what is too large or no plain file (a pipe would block for ever).

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage("not a plain file")
            if status.st_size > MAX_FILE_BYTES:
                limit = MAX_FILE_BYTES // 2**20
                raise UnreadableImage(f"{status.st_size // 2**20} MB, more than the {limit} MB allowed")
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise UnreadableImage((error.strerror or "cannot be opened").lower()) from error
    except ValueError as error:
        raise UnreadableImage("cannot be opened") from error


def _open(data: bytes, *, max_pixels: int) -> Image.Image:
    allowed = f"{max_pixels / 1e6:g}"
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"more than the {allowed} megapixels allowed") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(_unknown(data)) from error
    except Exception as error:
        raise UnreadableImage(_unknown(data)) from error
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableImage(f"{width * height / 1e6:.3g} megapixels, more than the {allowed} allowed")
    if min(width, height) < 1:
        raise UnreadableImage("a picture without pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableImage(f"a strip of {width} x {height} pixels, longer than {MAX_ASPECT} times its width")
    return image


def _unknown(data: bytes) -> str:
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return f"damaged {name}"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"):
        return "a HEIC or AVIF picture; convert it to JPEG or PNG"
    return "not a picture"


def _turn(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:
        return image  # damaged EXIF beside sound pixels: the picture is used as it lies
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(image)).convert("RGB")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UnreadableImage(f"the colour mode {image.mode} is not supported") from error


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Scale deep grey values to 0-255: 16 bit by 1/257; 32 bit and float by the range of its values."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImage("holds values that are not numbers")
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = values / 257
    elif image.mode == "F" and low >= 0 and high <= 1:
        values = values * 255
    elif low >= 0 and high <= 255:
        pass
    elif image.mode == "I" and low >= 0 and high <= 65535:
        values = values / 257
    else:
        values = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_stack = contextlib.ExitStack()


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings while any thread decodes.

    `warnings.catch_warnings` swaps a global list, so two threads that each used it could leave the wrong one
    behind; here the first one in swaps and the last one out restores.
    """
    global _quiet_depth
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module="PIL")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_stack.close()
