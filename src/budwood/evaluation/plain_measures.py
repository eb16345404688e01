"""Plain measures of pictures, in the words in which two sets of them are compared. See `data.measures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_COLUMNS = ("brightness", "contrast", "sharpness", "red", "green", "blue", "shadow", "width", "height")


def measures_of(rows: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Plain measures of N pictures -> those that are compared, in words: name -> ``[N]``.

    Args:
        rows: brightness, contrast, sharpness, red, green, blue, shadow, width and height of each, as `ImageRecord`
            and `measures.Measures` have them.
    """
    column = {name: np.array([float(row[name]) for row in rows]) for name in _COLUMNS}
    grey = np.maximum(column["red"] + column["green"] + column["blue"], 1.0)
    sides = np.minimum(column["width"], column["height"])
    return {
        "brightness": column["brightness"],
        "contrast": column["contrast"],
        "sharpness": column["sharpness"],
        "red in its light": 3 * column["red"] / grey,
        "green in its light": 3 * column["green"] / grey,
        "blue in its light": 3 * column["blue"] / grey,
        "deep shade": column["shadow"],
        "pixels on the shorter side": sides,
        "width against height": column["width"] / np.maximum(column["height"], 1.0),
    }
