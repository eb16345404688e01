"""Numbers out of JSON that others may have written: the right one, or a ValueError that names it."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any, name: str) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or not math.isfinite(value):
        raise ValueError(f"{name} is {str(value)[:40]!r}; expected a number")
    return float(value)


def share(value: Any, name: str) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError: it is none.
    """
    found = number(value, name)
    if not 0 <= found <= 1:
        raise ValueError(f"{name} is {found:g}; expected a number from 0 to 1")
    return found


def whole(value: Any, name: str) -> int:
    """A whole number that is not negative.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"{name} is {str(value)[:40]!r}; expected a whole number from 0 on")
    return value
