"""Records -> NumPy columns, and how far each value is from what is usual in them. No check is made here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from budwood.data.records import Catalog, ImageRecord

QUARTILE = 0.6745  # standard deviations from the median to a quartile of a normal distribution
MIN_CLASS = 20  # pictures: fewer do not show what is usual in a class

Column = NDArray[np.float64]
Mask = NDArray[np.bool_]


def readable(catalog: Catalog) -> list[ImageRecord]:
    """The records whose state is ``ok``, in order."""
    return [record for record in catalog.records if record.state == "ok"]


def column(records: list[ImageRecord], name: str) -> Column:
    """One field of all records, ``[N]`` float64."""
    return np.array([getattr(record, name) for record in records], np.float64)


def class_masks(records: list[ImageRecord]) -> list[Mask]:
    """For each class of `MIN_CLASS` pictures or more, which of the records belong to it."""
    _, codes = np.unique(np.array([record.label for record in records]), return_inverse=True)
    masks = [codes == code for code in range(int(codes.max(initial=-1)) + 1)]
    return [mask for mask in masks if mask.sum() >= MIN_CLASS]


def deviations(values: Column, classes: list[Mask], *, least: float) -> Column:
    """How many robust spreads each value lies above the median of its class, ``[N]``; negative below it.

    Pictures of classes that are not in ``classes`` are compared with all. The spread is taken of the quarter of the
    values next to the median on the same side: sharpness has a long upper tail that says nothing about the lower one.
    ``least`` is the smallest spread that is believed.
    """
    result = _distances(values, least)
    for mask in classes:
        result[mask] = _distances(values[mask], least)
    return result


def _distances(values: Column, least: float) -> Column:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    above, below = max((high - median) / QUARTILE, least), max((median - low) / QUARTILE, least)
    result: Column = np.where(values > median, (values - median) / above, (values - median) / below)
    return result
