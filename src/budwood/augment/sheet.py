"""A contact sheet of the augmentation: what the network sees, for a person to look at before it is trained.

It shows the draws of the very settings, seed and epochs that a training would use. It neither chooses pictures nor
writes a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from budwood.augment.geometry import Pixels
from budwood.augment.mix import mix_batch
from budwood.augment.transforms import Augment
from budwood.seeding import batch_generator

_TILE = 128  # pixels, the side of a picture on the sheet
_GAP = 6
_TEXT = 12  # pixels, height of the letters
_LINE = 17  # pixels, height of a line of text
_PAPER, _INK, _MUTED = (255, 255, 255), (24, 32, 26), (104, 112, 106)
_MIXED_LINES = 2

# A picture with what stands below it.
_Tile = tuple[Pixels, str]


def augment_sheet(
    pixels: Pixels,
    targets: NDArray[np.int64],
    *,
    classes: Sequence[str],
    augment: Augment,
    records: Sequence[int],
    epoch: int = 0,
    columns: int = 8,
) -> bytes:
    """Draw the sheet.

    A line for each picture: first as it is, then as in ``columns - 1`` epochs. Below, lines of mixed batches, with the
    share of each class in the label, for each mix that the settings ask for.

    Args:
        pixels: ``[N, S, S, 3]`` uint8, N at least 1.
        targets: ``[N]`` class indices.
        classes: their names; hostile input, only ever drawn as text.
        augment: as in training.
        records: the pictures' keys (`seeding.record_key`).
        epoch: the first one that is shown.
        columns: pictures in a line, at least 2.

    Returns:
        The bytes of a PNG file; the same ones for the same arguments.
    """
    if not len(pixels) or columns < 2:
        raise ValueError(f"a sheet needs a picture and two columns (found {len(pixels)} and {columns})")
    draws = [augment.pixels(pixels, records, epoch + draw, targets=targets) for draw in range(columns - 1)]
    lines: list[list[_Tile]] = []
    for i, name in enumerate(classes[int(k)] for k in targets):
        seen = [(draw[i], f"epoch {epoch + number + 1}") for number, draw in enumerate(draws)]
        lines.append([(pixels[i], _plain(name)), *seen])
    onehot = torch.eye(len(classes))[torch.from_numpy(np.asarray(targets, dtype=np.int64))]
    for images, labels in _mixed(draws[0], onehot, augment, epoch=epoch, columns=columns):
        captions = [_shares(row, classes) for row in labels.numpy()]
        lines.append(list(zip(images, captions, strict=True)))
    return _png(lines, columns)


def _mixed(
    pixels: Pixels, onehot: torch.Tensor, augment: Augment, *, epoch: int, columns: int
) -> Iterator[tuple[Pixels, torch.Tensor]]:
    """Batches of ``columns`` pictures in each mix that may happen: pixels and labels."""
    spec, preprocess = augment.spec, augment.preprocess
    kinds = [kind for kind in ("cutmix", "mixup") if getattr(spec, kind) > 0]
    some = np.arange(columns) % len(pixels)
    images = preprocess.normalise(torch.from_numpy(pixels[some]))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
    for step in range(_MIXED_LINES if kinds else 0):
        kind = kinds[step % len(kinds)]
        always = spec.model_copy(update={"cutmix": 0.0, "mixup": 0.0, kind: 1.0})
        generator = batch_generator(augment.seed, epoch, step)
        mixed, labels = mix_batch(images, onehot[some], spec=always, generator=generator)
        levels = ((mixed * std + mean) * 255).round().clamp(0, 255).byte()
        yield levels.permute(0, 2, 3, 1).contiguous().numpy(), labels


def _shares(row: NDArray[np.float32], classes: Sequence[str]) -> str:
    """The label in words, a line for each class, such as ``60 % Rose``."""
    parts = [k for k in np.argsort(-row, kind="stable") if row[k] > 0]
    return "\n".join(f"{100 * row[k]:.0f} % {_plain(classes[k])}" for k in parts)


def _png(lines: Sequence[Sequence[_Tile]], columns: int) -> bytes:
    font = ImageFont.load_default(_TEXT)
    heights = [_TILE + _LINE * max(caption.count("\n") + 1 for _, caption in line) + _GAP for line in lines]
    sheet = Image.new("RGB", (_GAP + columns * (_TILE + _GAP), _LINE + 2 * _GAP + sum(heights)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), "as it is", fill=_INK, font=font)
    pen.text((_TILE + 2 * _GAP, _GAP), "as the network sees it; mixed batches last", fill=_INK, font=font)
    top = _LINE + 2 * _GAP
    for line, height in zip(lines, heights, strict=True):
        for column, (pixels, caption) in enumerate(line):
            left = _GAP + column * (_TILE + _GAP)
            sheet.paste(_tile(pixels), (left, top))
            for row, text in enumerate(caption.split("\n")):
                place = (left, top + _TILE + row * _LINE)
                pen.text(place, _fitting(text, font), fill=_MUTED, font=font)
        top += height
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _tile(pixels: Pixels) -> Image.Image:
    # Enlarged without smoothing: whoever looks should see the pixels that the network gets.
    larger = len(pixels) > _TILE
    return Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.BOX if larger else Image.Resampling.NEAREST)


def _plain(text: str) -> str:
    """Text without line breaks, control characters and halves of characters."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The beginning of ``text`` that is no wider than a tile."""
    shown = text[:_TILE]  # a letter is at least a pixel wide, and a name may be as long as a file
    if shown == text and font.getlength(text) <= _TILE:
        return text
    while shown and font.getlength(f"{shown}…") > _TILE:
        shown = shown[:-1]
    return f"{shown}…"
