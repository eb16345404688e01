"""The light in which a picture was taken: a colour cast, a strong shadow. What causes it is not judged here."""

from __future__ import annotations

import numpy as np

from budwood.data.checks.columns import QUARTILE, Column, Mask, class_masks, column, deviations, readable
from budwood.data.checks.findings import one_each
from budwood.data.records import Catalog, Finding, ImageRecord

CAST_FAR = 5.0  # robust spreads
CAST_SEEN = 0.2  # natural logarithm of a ratio of channels: a shift of some 22 %, which a person notices
VARIED = 0.1  # spread of these logarithms: beyond it the subjects' own colours hide any cast
GREY = 0.005  # grey levels: channels closer than this are equal
SHADED = 0.2  # of a picture in deep shade; below, field photographs show gaps between leaves
RARELY_SHADED = 0.05  # of the picture at most, in three quarters of the pictures; else dark things, not shadows


def grey_pictures(records: list[ImageRecord]) -> Mask:
    """Which pictures hold no colour at all, ``[N]``, whatever mode their files have."""
    red, green, blue = (column(records, name) for name in ("red", "green", "blue"))
    result: Mask = (np.abs(red - green) < GREY) & (np.abs(blue - green) < GREY)
    return result


def find_colour_cast(catalog: Catalog) -> list[Finding]:
    """Pictures whose light is of another colour than is usual in their class.

    Nothing is said about data of subjects in all colours (cars, birds), where a cast cannot be told from the subject.
    """
    records = readable(catalog)
    records = [r for r, grey in zip(records, grey_pictures(records), strict=True) if not grey]
    if not records:
        return []
    red, green, blue = (column(records, name) + 4 for name in ("red", "green", "blue"))
    axes = _independent(np.stack([np.log(red / green), np.log(blue / green)], axis=1))
    if np.hypot(*(np.subtract(*np.quantile(axis, (0.75, 0.25))) / (2 * QUARTILE) for axis in axes.T)) > VARIED:
        return []
    classes = class_masks(records)
    far = np.hypot(*(deviations(axis, classes, least=0.01) for axis in axes.T))
    shift = np.hypot(*(axis - np.median(axis) for axis in axes.T))
    usual = [float(np.median(values)) for values in (red / green, blue / green)]
    return one_each(
        "colour_cast",
        records,
        (far > CAST_FAR) & (shift > CAST_SEEN),
        evidence=lambda i: (
            f"red to green is {red[i] / green[i]:.2f}, blue to green {blue[i] / green[i]:.2f};"
            f" {usual[0]:.2f} and {usual[1]:.2f} are usual"
        ),
        score=far,
    )


def find_strong_shadow(catalog: Catalog) -> list[Finding]:
    """Pictures with large, deep shade beside lit ground, in data that have none as a rule."""
    records = readable(catalog)
    if not records:
        return []
    shade = column(records, "shadow")
    if np.quantile(shade, 0.75) > RARELY_SHADED:
        return []  # black backgrounds or dark objects: nothing tells them from shadows
    return one_each(
        "strong_shadow",
        records,
        shade >= SHADED,
        evidence=lambda i: f"{100 * shade[i]:.0f} % of it lies in deep shade beside lit ground",
        score=shade,
    )


def _independent(points: Column) -> Column:
    """Turn ``[N, 2]`` so that the two columns are not correlated; the outer tenth does not decide how."""
    centred = points - np.median(points, axis=0)
    distance = np.hypot(centred[:, 0], centred[:, 1])
    inner = centred[distance <= np.quantile(distance, 0.9)]
    _, turn = np.linalg.eigh(inner.T @ inner)
    result: Column = centred @ turn
    return result
