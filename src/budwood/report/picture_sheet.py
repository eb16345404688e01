"""Rows of pictures with their names, drawn into one PNG: what was painted or repainted, for a person to look at.

It chooses no pictures and writes no file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP, _TEXT, _LINE = 4, 12, 18  # pixels
_PAPER, _INK, _MUTED = (255, 255, 255), (24, 32, 26), (104, 112, 106)


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """One row: its name (hostile input, only ever drawn as text) and its pictures ``[H, W, 3]`` uint8."""

    name: str
    pictures: Sequence[NDArray[np.uint8]]


def picture_sheet(rows: Sequence[SheetRow], *, heads: Sequence[str] = (), tile: int = 64, names: int = 150) -> bytes:
    """PNG bytes; the same ones for the same arguments.

    Args:
        rows: at least one, with at least one picture.
        heads: what stands above the columns, as far as there are any.
        tile: side of a picture on the sheet, in pixels; enlarged without smoothing, so that its pixels can be seen.
        names: pixels for the rows' names on the left.
    """
    columns = max((len(row.pictures) for row in rows), default=0)
    if not columns:
        raise ValueError("a sheet needs a picture, found none")
    font = ImageFont.load_default(_TEXT)
    top = _LINE + _GAP if heads else _GAP
    sheet = Image.new("RGB", (names + columns * (tile + _GAP), top + len(rows) * (tile + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        pen.text((names + column * (tile + _GAP), _GAP), _fitting(head, font, tile), fill=_MUTED, font=font)
    for number, row in enumerate(rows):
        y = top + number * (tile + _GAP)
        pen.text((_GAP, y + (tile - _TEXT) // 2), _fitting(row.name, font, names - 2 * _GAP), fill=_INK, font=font)
        for column, pixels in enumerate(row.pictures):
            larger = max(pixels.shape[:2]) > tile
            way = Image.Resampling.BOX if larger else Image.Resampling.NEAREST
            sheet.paste(Image.fromarray(pixels).resize((tile, tile), way), (names + column * (tile + _GAP), y))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def error_map(shown: NDArray[np.uint8], painted: NDArray[np.uint8], *, full: float) -> NDArray[np.uint8]:
    """Where two pictures ``[H, W, 3]`` differ, black over purple to yellow: ``[H, W, 3]`` uint8.

    Args:
        full: the mean absolute difference of the channels, in grey levels, that is drawn in the lightest colour.
    """
    from matplotlib import colormaps

    away = np.abs(shown.astype(np.float32) - painted.astype(np.float32)).mean(axis=2) / max(full, 1e-6)
    colours = np.asarray(colormaps["inferno"](np.clip(away, 0, 1)))[:, :, :3]
    return np.asarray((colours * 255).round(), dtype=np.uint8)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The beginning of ``text`` that is no wider than ``width``, without what cannot be drawn on one line."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:width])
    if font.getlength(shown) <= width:
        return shown
    while shown and font.getlength(f"{shown}…") > width:
        shown = shown[:-1]
    return f"{shown}…"
