"""What a worker sent about a group of files -> a `Batch`: facts with their measures, and the bytes to store.

The layout is told in `worker.py`. The pictures are measured here, since the process of the scan has numpy anyway.
Nothing is decoded, and what is wrong with a worker is for `reader.py` to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budwood.data.facts import FACTS, Rows, stored_sizes
from budwood.data.measures import Measures, measure_many
from budwood.data.picture_index import PLANE_BYTES
from budwood.data.worker import HEAD

MEASURED_BYTES = 1 << 19  # of pictures that are measured together: they stay in the processor's cache

_TABLE_AT = FACTS.itemsize - 8 * len(Measures._fields)  # in a row: the measures come last, and one after another
assert (FACTS.names or ())[-len(Measures._fields) :] == Measures._fields, "facts and measures differ"


class Batch(NamedTuple):
    """What a worker says of some files, or how one file ended it: then ``ended`` says so and there is no row.

    ``numbers``: of the jobs. ``rows``: their facts, ``[N]`` of dtype FACTS. ``reasons``: of unreadable ones, by job.
    ``pictures`` and ``planes``: the bytes of the readable ones, one after another.
    """

    numbers: list[int]
    rows: Rows
    reasons: dict[int, str]
    pictures: memoryview
    planes: memoryview
    ended: str = ""


def parsed(data: memoryview, numbers: list[int]) -> Batch:
    """The answers ``data`` (writable) to the jobs of those numbers."""
    heads = [HEAD.unpack_from(data, at) for at in range(0, HEAD.size * len(numbers), HEAD.size)]
    at = HEAD.size * len(numbers)
    rows = np.frombuffer(data, FACTS, len(numbers), at)
    at += rows.nbytes
    reasons = {}
    for number, (words, _, _) in zip(numbers, heads, strict=True):
        if words:
            reasons[number] = bytes(data[at : at + words]).decode()
            at += words
    sizes = stored_sizes(rows)
    pictures = data[at : at + int(sizes.sum())]
    at += len(pictures)
    planes = data[at : at + int(np.count_nonzero(sizes)) * PLANE_BYTES]
    at += len(planes)
    shapes = [(width, height) for _, width, height in heads]
    _measure(rows, shapes=shapes, sizes=sizes.tolist(), pictures=pictures, rest=data[at:])
    return Batch(numbers, rows, reasons, pictures, planes)


def _measure(
    rows: Rows, *, shapes: list[tuple[int, int]], sizes: list[int], pictures: memoryview, rest: memoryview
) -> None:
    """Fill in the measures; pictures of one size are measured together.

    Args:
        rows: ``[N]`` of dtype FACTS.
        shapes: width and height of each look, zeros where there is none.
        sizes: bytes of each stored picture.
        pictures: those that are stored. rest: all lumas, and then the looks that are not stored.
    """
    pixels = [width * height for width, height in shapes]
    stored = list(zip(rows["columns"].tolist(), rows["rows"].tolist(), strict=True))
    lumas = _spans(pixels)
    kept = _spans(sizes)
    others = _spans([0 if a == b else 3 * num for a, b, num in zip(shapes, stored, pixels, strict=True)])
    looks = rest[sum(pixels) :]
    table = np.ndarray((len(rows), len(Measures._fields)), "<f8", rows, _TABLE_AT, (FACTS.itemsize, 8))
    groups: dict[tuple[tuple[int, int], bool], list[int]] = {}
    for number, shape in enumerate(shapes):
        if pixels[number]:
            groups.setdefault((shape, shape == stored[number]), []).append(number)
    for ((width, height), same), members in groups.items():
        most = max(1, MEASURED_BYTES // (width * height * 3))
        for chosen in (members[at : at + most] for at in range(0, len(members), most)):
            seen = _together(pictures, kept, chosen) if same else _together(looks, others, chosen)
            images = seen.reshape(len(chosen), height, width, 3)
            table[chosen] = measure_many(images, _together(rest, lumas, chosen).reshape(images.shape[:3]))


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where pieces of these sizes begin and end that lie one after another."""
    return list(pairwise(accumulate(sizes, initial=0)))


def _together(data: memoryview, spans: list[tuple[int, int]], chosen: list[int]) -> NDArray[np.uint8]:
    """The chosen pieces one after another; a view where they lie so."""
    if all(spans[one][1] == spans[other][0] for one, other in pairwise(chosen)):
        return np.frombuffer(data[spans[chosen[0]][0] : spans[chosen[-1]][1]], np.uint8)
    return np.frombuffer(b"".join([data[slice(*spans[number])] for number in chosen]), np.uint8)
