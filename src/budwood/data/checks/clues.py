"""What could give a class away without its subject: size, file format, order of the names, light, the border.

Here the clues are gathered as numbers, one row a picture; how well they predict the class is measured in `shortcuts`.
EXIF is not a clue of its own: the order of capture is read from the numbers in the files' names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.judged import Judged
from budwood.data.opinion import Opinion
from budwood.data.records import ImageRecord

Columns = NDArray[np.float64]
NUMBERED_SHARE = 0.8  # of the names must hold a number before their order is taken for an order of capture
SHARED_SHARE = 0.2  # of the numbers, also used in another class: numbering that begins anew in each class tells nothing
_LIGHT = ("brightness", "contrast", "sharpness", "red", "green", "blue", "shadow")


class Clue(NamedTuple):
    """``columns`` ``[N, C]``: what is known of each picture. ``words`` are a singular subject, ``advice`` what to do.

    kind: a clue from ``outside`` the picture should tell nothing at all about its class; one from ``inside`` may show
    the subject too, so it is compared with the whole picture.
    """

    name: str
    words: str
    kind: Literal["outside", "inside"]
    columns: Columns
    advice: str


def gather_clues(known: Judged, opinion: Opinion) -> list[Clue]:
    """Every clue that differs between the pictures at all; the border's own answer is not among them."""
    records = known.records
    clues = [
        Clue(
            "size",
            "the size and shape in pixels",
            "outside",
            _sizes(records),
            "bring all pictures to one size, cut the same way, or take pictures of every class with each camera",
        ),
        Clue(
            "format",
            "the file format (ending, encoding, colour mode)",
            "outside",
            _formats(records),
            "convert all files the same way; look whether classes come from different sources",
        ),
        Clue(
            "order",
            "the number in the file name (the order of capture)",
            "outside",
            _orders(records),
            "pictures of one session look alike: split by session (a group column), and take classes in turn",
        ),
        Clue(
            "bytes",
            "the file size in bytes",
            "inside",
            _bytes(records),
            "save all pictures with one quality setting; look whether classes come from different sources",
        ),
        Clue(
            "light",
            "light and colour as a whole (seven numbers a picture)",
            "inside",
            np.array([[getattr(r, name) for name in _LIGHT] for r in records], np.float64),
            "look whether classes were taken in different light; change light and colour in augmentation",
        ),
    ]
    if opinion.border_colours is not None:
        colours = opinion.border_colours[known.rows].astype(np.float64)
        advice = "look whether each class has its own ground; crop to the subject, or take each on several grounds"
        clues.append(Clue("border colours", "the plain colour of the border", "inside", colours, advice))
    return [clue for clue in clues if len(clue.columns) and (clue.columns != clue.columns[0]).any()]


def _sizes(records: Sequence[ImageRecord]) -> Columns:
    sides = np.array([[r.width, r.height] for r in records], np.float64).reshape(-1, 2)
    return np.column_stack([sides, sides[:, 0] / np.maximum(sides[:, 1], 1), sides.prod(axis=1)])


def _bytes(records: Sequence[ImageRecord]) -> Columns:
    sizes = np.array([r.num_bytes for r in records], np.float64)
    areas = np.array([max(1, r.width * r.height) for r in records], np.float64)
    return np.column_stack([sizes, sizes / areas])


def _formats(records: Sequence[ImageRecord]) -> Columns:
    """One column for each value: 1 where a picture has it."""
    facts = [(r.format, r.mode, PurePosixPath(r.path).suffix.lower()) for r in records]
    columns = [[fact[i] == value for fact in facts] for i in range(3) for value in sorted({f[i] for f in facts})]
    return np.array(columns, np.float64).T.reshape(len(records), -1)


def _orders(records: Sequence[ImageRecord]) -> Columns:
    """The rank of each picture by the numbers in its own name; one constant where the names tell no order.

    The folder and the letters of the name are left out: they often are the class itself.
    """
    keys = [tuple(map(int, re.findall("[0-9]+", PurePosixPath(r.path).stem))) for r in records]
    labels_of: dict[tuple[int, ...], set[str]] = {}
    for key, record in zip(keys, records, strict=True):
        labels_of.setdefault(key, set()).add(record.label)
    numbered = sum(bool(key) for key in keys)
    shared = sum(len(labels_of[key]) > 1 for key in keys if key)
    if numbered < NUMBERED_SHARE * len(keys) or shared > SHARED_SHARE * numbered:
        return np.zeros((len(keys), 1))
    rank = {key: float(place) for place, key in enumerate(sorted(labels_of))}
    return np.array([[rank[key]] for key in keys])
