"""Bytes -> one RGB picture. The only place where Budwood decodes pictures, for training and serving alike.

Pillow alone reads them: torchvision's decoder ends the process on damaged PNGs. No file may crash, print or
warn here; whatever is wrong becomes an `UnreadableImage` with a short reason. Nothing is resized here. Worker processes
load this module, so nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from budwood.data.heif import heif_formats, is_heif, why_unread
from budwood.data.strips import Picture
from budwood.errors import UnreadableImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM")  # MPO comes through JPEG
MAX_PIXELS = 50_000_000
VAST_PIXELS = 25_000_000  # where libjpeg gets no memory for a progressive picture, it reports damaged data
MAX_FILE_BYTES = 256 * 2**20
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
_EXIF_SOURCES = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})  # where `getexif` looks

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
    with _quiet_pillow():
        picture = open_picture(data, max_pixels=max_pixels)
        try:
            pixels = picture.pixels()
        except Exception as error:
            raise damaged(error, picture.format) from error
    return Decoded(image=pixels, mode=picture.mode, format=picture.format)


def open_picture(data: bytes, *, max_pixels: int = MAX_PIXELS, before: Callable[[int], object] = int) -> Picture:
    """Open and load one picture, in the colours and the orientation of the file.

    Pillow's warnings are for the caller to silence, and later steps on the picture have errors for `damaged`.

    Args:
        data: the whole file.
        max_pixels: a larger picture is refused before anything is decoded.
        before: told the number of pixels before they are decoded.

    Raises:
        UnreadableImage: as `decode`.
    """
    if not data:
        raise UnreadableImage("empty file")
    image = _open(data, max_pixels=max_pixels)
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    mode = image.mode  # of the file; loading may change it
    before(image.width * image.height)
    try:
        image.load()
    except Exception as error:
        if image.info.get("progressive") and image.width * image.height > VAST_PIXELS:
            kind += " (or a progressive one too large for the memory that is allowed)"
        raise damaged(error, kind) from error
    return Picture(image, kind, mode, _orientation(image))


def damaged(error: Exception, kind: str) -> UnreadableImage:
    """What went wrong while pixels of a file of that kind were made, in few words."""
    if isinstance(error, UnreadableImage):
        return error
    if isinstance(error, MemoryError):
        return UnreadableImage(f"decoding this {kind} takes more memory than is allowed")
    cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return UnreadableImage(f"{'truncated' if cut else 'damaged'} {kind}")


def decode_file(path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """`decode` the file at ``path``; see `read_picture_bytes` for what is refused before decoding."""
    return decode(read_picture_bytes(path), max_pixels=max_pixels)


def read_picture_bytes(path: str | Path) -> bytes:
    """Read one file; see `read_picture`."""
    return read_picture(path)[0]


def read_picture(path: str | Path) -> tuple[bytes, os.stat_result]:
    """Read one file, refusing what is too large or no plain file (a pipe would block for ever).

    Returns:
        The bytes, and the file's status from before they were read.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise UnreadableImage((error.strerror or "cannot be opened").lower()) from error
    except ValueError as error:
        raise UnreadableImage("cannot be opened") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage("not a plain file")
        if status.st_size > MAX_FILE_BYTES:
            limit = MAX_FILE_BYTES // 2**20
            raise UnreadableImage(f"{status.st_size // 2**20} MB, more than the {limit} MB allowed")
        data = os.read(handle, status.st_size)
        while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
            data += more
        return data, status
    except OSError as error:
        raise UnreadableImage((error.strerror or "cannot be read").lower()) from error
    finally:
        os.close(handle)


def _open(data: bytes, *, max_pixels: int) -> Image.Image:
    allowed = f"{max_pixels / 1e6:g}"
    try:
        image = Image.open(io.BytesIO(data), formats=(*FORMATS, *heif_formats(data)))
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
    if is_heif(data):
        return why_unread(data)
    return "not a picture"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1-8; 1 for damaged EXIF beside sound pixels: the picture is used as it lies."""
    if _EXIF_SOURCES.isdisjoint(image.info) and not hasattr(image, "tag_v2"):
        return 1  # asking Pillow costs as much as the pixels of a small picture
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


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
