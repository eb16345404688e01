"""`View`: one way of showing a picture to a network that shall answer it, and `seen`, which shows it so.

A view is made from pixels at the working size, with NumPy and Pillow alone: what trains, what scores and what ships use
this very code. Random changes of training pictures are `augment/`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SCALES = (0.5, 2.0)
_FARTHEST = 0.25

# The eight flips and turns, the most useful first: mirror, half turn, both, then the quarter turns.
ALL_TURNS = (0, 4, 2, 6, 1, 3, 5, 7)


@dataclass(frozen=True, slots=True, order=True)
class View:
    """One view. The picture is mirrored first where ``turn >= 4``, then turned by ``turn % 4`` quarters, anticlockwise.

    scale: what is then shown is a square window with 1/scale of the picture's side, enlarged (or reduced) to the side;
        0.5 to 2. right, down: how far the window's centre lies from the picture's, as parts of the side, at most 0.25.

    Raises:
        ValueError: a number is outside of that.
    """

    turn: int = 0
    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.turn, bool) or not isinstance(self.turn, int) or not 0 <= self.turn <= 7:
            raise ValueError(f"a view's turn is a whole number from 0 to 7; found {self.turn!r}")
        for name, value, low, high in (
            ("scale", self.scale, *_SCALES),
            ("right", self.right, -_FARTHEST, _FARTHEST),
            ("down", self.down, -_FARTHEST, _FARTHEST),
        ):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not low <= value <= high:
                raise ValueError(f"a view's {name} is a number from {low:g} to {high:g}; found {value!r}")

    @property
    def is_whole(self) -> bool:
        """Whether every pixel is shown as it is, only elsewhere: one of the eight flips and turns."""
        return (self.scale, self.right, self.down) == (1.0, 0.0, 0.0)

    def __str__(self) -> str:
        words = [_TURN_WORDS[self.turn]] if self.turn or self.is_whole else []
        words += [f"scale {self.scale:g}"] if self.scale != 1 else []
        words += [f"moved {self.right:+g}, {self.down:+g}"] if self.right or self.down else []
        return ", ".join(words)


_TURN_WORDS = (
    "as it is",
    "a quarter left",
    "half a turn",
    "a quarter right",
    "mirrored",
    "mirrored, a quarter left",
    "upside down",
    "mirrored, a quarter right",
)
_CROP = 0.875  # of the side: what is kept of ImageNet pictures, and a five-crop of 96 px pictures is 84 px then
_CORNER = (1 - _CROP) / 2

# What can be written in `predict.views`, by name; a product is written with *, a union with +.
MENUS: dict[str, tuple[View, ...]] = {
    "one": (View(),),
    "mirror": (View(), View(turn=4)),
    "flips": tuple(View(turn=t) for t in (0, 4, 6, 2)),
    "turns": tuple(View(turn=t) for t in (0, 2, 1, 3)),
    "all": tuple(View(turn=t) for t in ALL_TURNS),
    "crops5": (
        View(scale=1 / _CROP),
        *(View(scale=1 / _CROP, right=x, down=y) for y in (-_CORNER, _CORNER) for x in (-_CORNER, _CORNER)),
    ),
    "scales": (View(), View(scale=0.9), View(scale=1.1)),
    "shifts": (View(), *(View(right=x, down=y) for x, y in ((0.06, 0.0), (-0.06, 0.0), (0.0, 0.06), (0.0, -0.06)))),
}


def parse_views(text: str) -> tuple[View, ...]:
    """Views as they are written in a recipe: ``"flips"``, ``"turns*scales"``, ``"all+crops5"``, ``"0+4+x1.1"``.

    A term is a name of `MENUS`, a turn (0-7), or a scale (``x1.1``); ``*`` makes every pair of two sets (the turn of
    one with the window of the other), ``+`` puts sets together. Each view is kept once, in the order written.

    Raises:
        ValueError: a term is none of these, or two terms of a product both turn or both move the window.
    """
    found: list[View] = []
    for part in text.split("+"):
        product: tuple[View, ...] = (View(),)
        for name in part.split("*"):
            product = tuple(_both(a, b) for a in product for b in _term(name.strip()))
        found += product
    return tuple(dict.fromkeys(found))


def views_from(values: Iterable[Any]) -> tuple[View, ...]:
    """Views from a list of turns (0-7), tables such as ``{"scale": 1.1}``, and names such as ``"crops5"``.

    Raises:
        ValueError: an entry is none of these.
    """
    found: list[View] = []
    for value in values:
        if isinstance(value, str):
            found += parse_views(value)
        elif isinstance(value, View):
            found.append(value)
        elif isinstance(value, dict) and set(value) <= {"turn", "scale", "right", "down"}:
            found.append(View(**value))
        elif isinstance(value, int) and not isinstance(value, bool):
            found.append(View(turn=value))
        else:
            raise ValueError(
                f"a view is a turn from 0 to 7, a name such as flips, or a table of turn, scale, right and down;"
                f" found {value!r}"
            )
    return tuple(dict.fromkeys(found))


def view_to_json(view: View | int) -> int | dict[str, float]:
    """A turn as a number, any other view as a table of what is not as usual; `views_from` reads both."""
    if isinstance(view, int):
        return view
    if view.is_whole:
        return view.turn
    values = {"turn": view.turn, "scale": view.scale, "right": view.right, "down": view.down}
    usual = {"turn": 0, "scale": 1.0, "right": 0.0, "down": 0.0}
    return {name: value for name, value in values.items() if value != usual[name]}


def turned(pixels: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Flip or turn ``view`` (0-7) of a batch of pictures ``[B, S, S, 3]``: mirrored first when >= 4, then turned."""
    out = pixels[:, :, ::-1] if view >= 4 else pixels
    return np.rot90(out, view % 4, axes=(1, 2))


def seen(pixels: NDArray[np.uint8], view: View | int) -> NDArray[np.uint8]:
    """Pictures ``[N, S, S, 3]`` uint8 in one view, same shape; an int is a turn.

    Flips and turns move pixels and change none. A window is resized by Pillow's bicubic filter, which averages where
    it reduces; what it shows beyond the picture's border is filled by reflection.
    """
    if isinstance(view, int):
        return turned(pixels, view)
    whole = turned(pixels, view.turn)
    if view.is_whole:
        return whole
    side = pixels.shape[1]
    kept = side / view.scale
    left, top = side * (0.5 + view.right) - kept / 2, side * (0.5 + view.down) - kept / 2
    beyond = max(0.0, -left, -top, left + kept - side, top + kept - side)
    border = math.ceil(beyond - 1e-9) + 2 if beyond > 1e-9 else 0  # and two more, which the filter looks at
    padded = np.pad(whole, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect") if border else whole
    box = (left + border, top + border, left + border + kept, top + border + kept)
    out = np.empty_like(pixels, order="C")
    for i, picture in enumerate(padded):
        image = Image.fromarray(np.ascontiguousarray(picture))
        out[i] = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=_inside(box, padded.shape[1])))
    return out


def _inside(box: tuple[float, float, float, float], side: int) -> tuple[float, float, float, float]:
    """The box without what rounding puts a hair beyond the border, which Pillow refuses."""
    return (max(0.0, box[0]), max(0.0, box[1]), min(float(side), box[2]), min(float(side), box[3]))


def _term(name: str) -> tuple[View, ...]:
    if name in MENUS:
        return MENUS[name]
    if re.fullmatch(r"[0-7]", name):
        return (View(turn=int(name)),)
    if scale := re.fullmatch(r"x(\d+(?:\.\d+)?)", name):
        return (View(scale=float(scale[1])),)
    raise ValueError(
        f'there are no views called "{name}"; known are {", ".join(MENUS)}, turns 0 to 7 and scales such as x1.1,'
        " joined by + and *"
    )


def _both(a: View, b: View) -> View:
    """The turn of one and the window of the other."""
    if (a.turn and b.turn) or not (a.is_whole or b.is_whole):
        raise ValueError(f'"{a}" and "{b}" cannot be one view: of two sets joined by *, one turns and one moves')
    window = b if a.is_whole else a
    return View(turn=a.turn or b.turn, scale=window.scale, right=window.right, down=window.down)
