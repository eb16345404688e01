"""One picture: a ground, a plant of the species in one of four habits, things in front of it, the camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.errors import UsageError
from budwood.herbarium.camera import take_photo
from budwood.herbarium.ground import paint_blades, paint_ground, vary
from budwood.herbarium.leaf import Leaf, grow_leaf, place
from budwood.herbarium.paint import Canvas, Light, Look, paint_leaf
from budwood.herbarium.species import SPECIES, TRAITS, Habit, Traits
from budwood.seeding import named_generator

Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where one leaf grows: base in picture sides (0..1), direction in radians, relative length."""

    x: float
    y: float
    angle: float
    length: float = 1.0


def draw_picture(species: str, *, seed: int, size: int = 160) -> NDArray[np.uint8]:
    """Draw one picture of a species.

    Args:
        species: one of `SPECIES`.
        seed: equal seeds give equal pictures; another ``size`` gives another picture.
        size: side of the picture in pixels, at least 16.

    Returns:
        ``[size, size, 3]`` uint8, RGB.

    Raises:
        UsageError: the species is unknown or the size too small.
    """
    if species not in TRAITS:
        raise UsageError(f'unknown species "{species}"; the herbarium grows {", ".join(SPECIES)}')
    if size < 16:
        raise UsageError(f"a picture of {size} px is too small to draw a leaf in; use size 16 or more")
    generator = named_generator(seed, f"herbarium/{species}")
    canvas = paint_ground(generator, 2 * size)
    toward = generator.uniform(0, 2 * np.pi)
    light = Light(x=float(np.cos(toward)), y=float(np.sin(toward)), hardness=float(generator.beta(1.2, 1.2)))
    _paint_plant(canvas, TRAITS[species], light, generator)
    if generator.random() < 0.4:
        blur = 2 * size / 320 * generator.uniform(0.5, 5)
        paint_blades(canvas, generator, count=int(generator.integers(1, 7)), blur=blur)
    return take_photo(canvas, light, generator)


def _paint_plant(canvas: Canvas, traits: Traits, light: Light, generator: Generator) -> None:
    habit = traits.habits[int(generator.integers(len(traits.habits)))]
    zoom = float(np.clip(np.exp(generator.normal(0.1, 0.2)), 0.75, 1.7))
    health = vary(generator, light=0.17, warm=0.1, green=0.04)
    dry = generator.random() < 0.12
    seats = HABITS[habit](traits, zoom, generator)
    if habit == "twig":
        _paint_twig(canvas, seats, light, generator)
    for seat in seats:
        colour = np.array(traits.colour) * health * vary(generator, light=0.07, warm=0.05, green=0.02)
        if dry or generator.random() < 0.05:
            colour = colour * 0.6 + np.array([0.5, 0.4, 0.14]) * generator.uniform(0.3, 0.5)
        length = canvas.shape[0] * traits.size * zoom * seat.length
        look = _choose_look(traits, seat, light, generator, colour=colour.astype(np.float32), length=length)
        bend = generator.normal(0, 0.7 if traits.venation == "parallel" else 0.3)
        at, tilt = np.array([seat.x, seat.y]) * canvas.shape[0], 0.3 * generator.beta(1, 3)
        leaf = place(grow_leaf(traits, generator), at=at, angle=seat.angle, length=length, bend=bend, tilt=tilt)
        paint_leaf(canvas, leaf, look, light, generator)


def _choose_look(
    traits: Traits, seat: Seat, light: Light, generator: Generator, *, colour: Canvas, length: float
) -> Look:
    """The species' surface with one leaf's deviations; the half that faces the light is the brighter one."""
    return Look(
        colour=colour,
        length=length,
        vein=traits.vein * generator.uniform(0.8, 1.6),
        relief=traits.relief * generator.uniform(0.6, 1.3),
        gloss=traits.gloss * generator.uniform(0.3, 1.4),
        fold=generator.normal(0, 0.07) + 0.14 * np.sin(np.arctan2(light.y, light.x) - seat.angle),
        blemish=generator.uniform(0.2, 0.7) if generator.random() < 0.25 else 0.0,
        lift=generator.uniform(0.02, 0.06),
    )


def _paint_twig(canvas: Canvas, seats: list[Seat], light: Light, generator: Generator) -> None:
    """The stem that the leaves of a twig sit on: a leaf without a blade, from the first seat to the last."""
    points = np.array([(seat.x, seat.y) for seat in seats]) * canvas.shape[0]
    root = points[0] + (points[0] - points[-1]) * generator.uniform(0.05, 0.5)
    bark = np.array([0.36, 0.33, 0.17]) * vary(generator, light=0.2, warm=0.1, green=0.05)
    length = canvas.shape[0] * generator.uniform(0.35, 0.6)
    look = Look(colour=bark.astype(np.float32), length=length, vein=0, relief=0, gloss=0)
    paint_leaf(canvas, Leaf((), np.concatenate([root[None], points])), look, light, generator)


def _single(traits: Traits, zoom: float, generator: Generator) -> list[Seat]:
    angle, length = generator.uniform(0, 2 * np.pi), generator.uniform(1.1, 1.45)
    x, y = _centred(angle, 0.45 * traits.size * zoom * length, generator.uniform(0.38, 0.62, 2))
    return [Seat(x=x, y=y, angle=angle, length=length)]


def _scattered(traits: Traits, zoom: float, generator: Generator) -> list[Seat]:
    """Leaves of all directions, some cut off by the border."""
    seats = []
    for _ in range(int(generator.integers(2, 6))):
        angle, length = generator.uniform(0, 2 * np.pi), generator.uniform(0.65, 1.1)
        x, y = _centred(angle, 0.45 * traits.size * zoom * length, generator.uniform(0.15, 0.85, 2))
        seats.append(Seat(x=x, y=y, angle=angle, length=length))
    return seats


def _rosette(traits: Traits, zoom: float, generator: Generator) -> list[Seat]:
    """Leaves around one root, as seen from above; outer ones first, young ones on top."""
    centre = generator.uniform(0.35, 0.65, 2)
    count = int(generator.integers(5, 11)) + (6 if traits.venation == "parallel" else 0)
    turn, start = 2.4, generator.uniform(0, 2 * np.pi)  # 2.4 rad: the golden angle of real rosettes
    away = traits.stem * traits.size * zoom * 0.6
    seats = []
    for i in range(count):
        angle = start + turn * i + generator.normal(0, 0.15)
        length = (0.95 - 0.5 * i / count) * generator.uniform(0.85, 1.1)
        x, y = centre + away * length * np.array([np.cos(angle), np.sin(angle)])
        seats.append(Seat(x=float(x), y=float(y), angle=angle, length=length))
    return seats


def _twig(traits: Traits, zoom: float, generator: Generator) -> list[Seat]:
    """Leaves left and right of a line across the picture, one at its end."""
    angle = generator.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    middle, count = generator.uniform(0.35, 0.65, 2), int(generator.integers(4, 8))
    spread, reach = generator.uniform(0.6, 1.2), generator.uniform(0.3, 0.5)
    seats = []
    for i, step in enumerate(np.linspace(-reach, reach * 0.8, count)):
        side = (-1) ** i * spread if i < count - 1 else 0.0
        x, y = middle + along * step + generator.normal(0, 0.01, 2)
        length = generator.uniform(0.6, 0.9)
        seats.append(Seat(x=float(x), y=float(y), angle=angle + side + generator.normal(0, 0.12), length=length))
    return seats


def _centred(angle: float, half: float, centre: NDArray[np.float64]) -> tuple[float, float]:
    """The base of a leaf whose blade is centred on ``centre``."""
    return float(centre[0] - half * np.cos(angle)), float(centre[1] - half * np.sin(angle))


HABITS: dict[Habit, Callable[[Traits, float, Generator], list[Seat]]] = {
    "single": _single,
    "scattered": _scattered,
    "rosette": _rosette,
    "twig": _twig,
}
