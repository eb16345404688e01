"""Pictures that look unlike the others: too dark, too bright, of low contrast, blurred. Content is not judged here.

Each is judged twice: in itself, by a bound that a person would agree with, and against what is usual in all pictures
and in its class. Data that are dark or soft throughout stay unflagged.
"""

from __future__ import annotations

import numpy as np

from budwood.data.checks.columns import class_masks, column, deviations, readable
from budwood.data.checks.findings import one_each
from budwood.data.records import Catalog, Finding

DARK, BRIGHT = 40.0, 190.0  # mean luma, 0-255: beyond it a picture may be too dark or too bright
BLACK, WHITE = 8.0, 250.0  # mean luma of a frame with hardly anything on it
MIN_DISTANCE = 30.0  # grey levels from the median, whatever the spread: dark data stay unflagged
FAR = 4.0  # robust spreads from the median; a normal tail has 1 in 30,000 there
PALE = 20.0  # grey levels of contrast: beyond it a picture is not pale, whatever the others are like
FLAT = 10.0  # grey levels of contrast: below it a picture is pale, however much the others vary
PALE_SHARE = 0.25  # of the brightness: a dark picture with more contrast is only dark
BLANK = 3.0  # grey levels of contrast: too little to say whether it is sharp
SOFT = 0.4  # sharpness after a blur of 1.5 pixels or more, in pictures of any subject that were looked at
LESS = 0.6  # of the median: contrast or sharpness must fall below it


def find_too_dark(catalog: Catalog) -> list[Finding]:
    """Pictures that are dark in themselves and far below what is usual in these data."""
    return _brightness_findings(catalog, check="too_dark", sign=-1)


def find_too_bright(catalog: Catalog) -> list[Finding]:
    """Pictures that are bright in themselves and far above what is usual in these data."""
    return _brightness_findings(catalog, check="too_bright", sign=1)


def find_low_contrast(catalog: Catalog) -> list[Finding]:
    """Pictures that are pale in themselves and far paler than is usual in these data: fog, flare, a blank frame."""
    records = readable(catalog)
    if not records:
        return []
    values = column(records, "contrast")
    median = float(np.median(values))
    far = -deviations(np.log(values + 1), class_masks(records), least=0.05)
    brightness = column(records, "brightness")
    only_dark = (brightness < DARK) & (values > PALE_SHARE * brightness)
    flagged = (values < PALE) & (values < LESS * median) & ((far > FAR) | (values < FLAT)) & ~only_dark
    return one_each(
        "low_contrast",
        records,
        flagged,
        evidence=lambda i: f"its grey levels spread by {values[i]:.0f}; by {median:.0f} in half of the pictures",
        score=far,
    )


def find_blurred(catalog: Catalog) -> list[Finding]:
    """Pictures whose finest detail is coarser than is usual in these data: out of focus, or moved."""
    records = readable(catalog)
    if not records:
        return []
    values = column(records, "sharpness")
    median = float(np.median(values))
    far = -deviations(np.log(values + 0.02), class_masks(records), least=0.05)
    flagged = (values < LESS * median) & ((far > FAR) | (values < SOFT)) & (column(records, "contrast") >= BLANK)
    return one_each(
        "blurred",
        records,
        flagged,
        evidence=lambda i: f"its sharpness is {values[i]:.2f}; half of the pictures have {median:.2f} or more",
        score=far,
    )


def _brightness_findings(catalog: Catalog, *, check: str, sign: int) -> list[Finding]:
    """``sign`` +1 looks at the bright end, -1 at the dark end."""
    records = readable(catalog)
    if not records:
        return []
    values = column(records, "brightness")
    median = float(np.median(values))
    # Light multiplies: near black and near white a grey level weighs more than in the middle.
    far = sign * deviations(np.log((values + 4) / (259 - values)), class_masks(records), least=0.05)
    distance = sign * (values - median)
    extreme, blank = (BRIGHT, WHITE) if sign > 0 else (DARK, BLACK)
    outlying = (sign * (values - extreme) > 0) & (far > FAR)
    flagged = (distance > MIN_DISTANCE) & (outlying | (sign * (values - blank) > 0))
    return one_each(
        check,
        records,
        flagged,
        evidence=lambda i: (
            f"mean brightness {values[i]:.0f} of 255; half of the pictures are "
            f"{'above' if sign < 0 else 'below'} {median:.0f}"
        ),
        score=distance,
    )
