"""HEIC and AVIF for the one decoder: HEIC through the extra ``[heif]``, AVIF where Pillow was built with it.

Nothing is decoded here. How such a file lies is said by its container, and is applied (HEIC) or handed on as the EXIF
turn (AVIF) by the opener, so the decoder's own turn happens once.
"""

from __future__ import annotations

import functools

from PIL import features

# What stands after "ftyp": the kinds of this container that hold pictures.
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
INSTALL = "pip install 'budwood[heif]'"  # a file that was refused with this is read again by the next scan


def heif_formats(data: bytes) -> tuple[str, ...]:
    """Pillow's formats that may open ``data`` beside its usual ones: empty for files of other kinds."""
    return _formats() if is_heif(data) else ()


def is_heif(data: bytes) -> bool:
    """Whether the bytes begin as a HEIC or AVIF file does."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS | _AVIF_BRANDS


def why_unread(data: bytes) -> str:
    """What to say of a HEIC or AVIF file that could not be opened."""
    name = "AVIF" if data[8:12] in _AVIF_BRANDS else "HEIC"
    if name in ("HEIC" if found == "HEIF" else found for found in _formats()):
        return f"damaged {name}"
    return f"a {name} picture: {INSTALL} to read it, or convert it to JPEG or PNG"


@functools.cache
def _formats() -> tuple[str, ...]:
    avif = ("AVIF",) if features.check("avif") else ()
    try:
        import pillow_heif
    except ImportError:
        return avif
    # One thread each: the scan decodes several pictures at a time.
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return ("HEIF", *avif)
