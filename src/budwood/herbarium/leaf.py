"""Leaves as curves: outline, midrib, veins and stem in leaf units. No pixels; `paint.py` draws them.

A leaf starts at (0, 0), where the stem ends, and points along +x; its blade is about 1 long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from budwood.herbarium.species import Traits

Curve = NDArray[np.float64]  # [P, 2], x and y

_HALF_POINTS = 140  # enough for 26 teeth of five points


@dataclass(frozen=True, slots=True)
class Blade:
    """One green area. ``right`` and ``left`` are the outline's halves, both from base to tip."""

    right: Curve
    left: Curve
    midrib: Curve
    veins: tuple[Curve, ...]

    @property
    def outline(self) -> Curve:
        """The closed outline, ``[P, 2]``."""
        return np.concatenate([self.right, self.left[::-1]])


@dataclass(frozen=True, slots=True)
class Leaf:
    """A simple leaf (one blade) or a compound one, with its stem."""

    blades: tuple[Blade, ...]
    stem: Curve

    def moved(self, move: Callable[[Curve], Curve]) -> Leaf:
        """The leaf with every point passed through ``move``, which is called once."""
        curves = [self.stem]
        for blade in self.blades:
            curves += [blade.right, blade.left, blade.midrib, *blade.veins]
        ends = np.cumsum([len(curve) for curve in curves])
        moved = iter(np.split(move(np.concatenate(curves)), ends[:-1]))
        stem = next(moved)
        return Leaf(
            tuple(
                Blade(next(moved), next(moved), next(moved), tuple(next(moved) for _ in blade.veins))
                for blade in self.blades
            ),
            stem,
        )


def grow_leaf(traits: Traits, generator: np.random.Generator) -> Leaf:
    """Grow one individual leaf: the species' outline with a single leaf's own deviations."""
    stem = np.stack([np.linspace(-traits.stem * generator.uniform(0.6, 1.2), 0, 8), np.zeros(8)], axis=1)
    if not traits.leaflets:
        return Leaf((_grow_blade(traits, generator),), stem)
    rachis = np.stack([np.linspace(stem[0, 0], 0.75, 16), np.zeros(16)], axis=1)
    return Leaf(tuple(_grow_leaflets(traits, generator)), rachis)


def place(leaf: Leaf, *, at: Curve, angle: float, length: float, bend: float, tilt: float) -> Leaf:
    """Bend the leaf, look at it from a side (``tilt`` in 0..1 narrows it), turn, scale and shift it.

    Args:
        at: where the blade's base comes to lie, ``[2]``.
        angle: direction of the tip, radians.
        length: of the blade, in the units of ``at``.
        bend: curvature, radians per blade length.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]]) * length

    def move(points: Curve) -> Curve:
        arc = points[:, 0] * bend
        along = points[:, 0] * np.sinc(arc / np.pi)
        across = points[:, 0] * np.sinc(arc / 2 / np.pi) * np.sin(arc / 2)
        y = points[:, 1] * (1 - tilt)
        moved: Curve = np.stack([along - y * np.sin(arc), across + y * np.cos(arc)], axis=1) @ turn + at
        return moved

    return leaf.moved(move)


def _grow_leaflets(traits: Traits, generator: np.random.Generator) -> list[Blade]:
    pairs = traits.leaflets + int(generator.integers(-1, 2))
    spread, size = generator.uniform(0.9, 1.25), generator.uniform(0.3, 0.36)
    seats = [(x, side * spread) for x in np.linspace(0.02, 0.66, pairs) for side in (-1.0, 1.0)]
    blades: list[Blade] = []
    for x, angle in [*seats, (0.72, 0.0)]:
        leaflet = Leaf((_grow_blade(traits, generator),), np.zeros((1, 2)))
        length = size * generator.uniform(0.88, 1.1) * (1 - 0.25 * abs(x - 0.3))
        at = np.array([x, 0.012 * np.sign(angle)])
        turned = place(leaflet, at=at, angle=angle + generator.normal(0, 0.06), length=length, bend=0, tilt=0)
        blades += turned.blades
    return blades


def _grow_blade(traits: Traits, generator: np.random.Generator) -> Blade:
    corners = np.array(traits.half, dtype=np.float64)
    inner = slice(1, -1)
    corners[inner] += generator.normal(0, 0.012, corners[inner].shape) * np.abs(corners[inner, 1:]) / 0.25
    corners[:, 1] *= np.exp(generator.normal(0, 0.1))
    halves, smooth = [], []
    for side in (1.0, -1.0):
        half = _smooth_half(corners * [1, np.exp(generator.normal(0, 0.05))], traits.roundness)
        smooth.append(half * [1, side])
        depth = traits.tooth_depth * generator.uniform(0.6, 1.3)
        halves.append(_serrate(half, traits.teeth, depth, generator) * [1, side])
    midrib = np.stack([np.linspace(0, 0.97 * corners[-1, 0], 24), np.zeros(24)], axis=1)
    veins = tuple(vein for half in smooth for vein in VENATIONS[traits.venation](traits, half, generator))
    return Blade(halves[0], halves[1], midrib, veins)


def _smooth_half(corners: Curve, roundness: float) -> Curve:
    """Walk along the corners at even steps and round them off; base and tip stay where they are."""
    walked = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    steps = np.linspace(0, walked[-1], _HALF_POINTS)
    points = np.stack([np.interp(steps, walked, corners[:, i]) for i in (0, 1)], axis=1)
    mirrored = np.concatenate([points[::-1] * [1, -1], points[1:-1], points[::-1] * [1, -1]])
    smooth = gaussian_filter1d(mirrored, roundness * _HALF_POINTS, axis=0)[_HALF_POINTS - 1 :][:_HALF_POINTS]
    pull = np.linspace(-1, 1, _HALF_POINTS)[:, None] ** 8  # back to the true ends, where smoothing cut them off
    blended: Curve = smooth * (1 - pull) + points * pull
    return blended


def _serrate(half: Curve, teeth: int, depth: float, generator: np.random.Generator) -> Curve:
    """Push the outline outwards by a saw whose teeth lean towards the tip."""
    if not teeth:
        return half
    ahead = np.gradient(half, axis=0)
    outward = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / (np.hypot(*ahead.T)[:, None] + 1e-9)
    place_along = np.linspace(0, 1, len(half))
    phase = place_along * (teeth + int(generator.integers(-1, 2))) + generator.uniform(0, 1)
    rise = phase % 1.0
    tooth = np.where(rise < 0.75, rise / 0.75, (1 - rise) / 0.25)
    swell = 0.7 + 0.3 * np.sin(phase * 2.1 + generator.uniform(0, 6))
    taper = np.clip(np.minimum(place_along / 0.12, (1 - place_along) / 0.06), 0, 1)
    toothed: Curve = half + outward * (depth * tooth * swell * taper)[:, None]
    return toothed


def _pinnate_veins(traits: Traits, half: Curve, generator: np.random.Generator) -> list[Curve]:
    starts = np.linspace(0.02, 0.8, traits.num_veins) * half[-1, 0] + generator.normal(0, 0.012, traits.num_veins)
    side = np.sign(half[len(half) // 2, 1])
    veins = []
    for i, start in enumerate(starts):
        angle = traits.vein_angle * (1.45 - 0.6 * i / traits.num_veins) + generator.normal(0, 0.04)
        seen = np.arctan2(half[:, 1] * side, half[:, 0] - start)
        end = half[int(np.argmin(np.abs(seen - angle)))]
        veins.append(_arc(np.array([start, 0.0]), end, sag=-0.1 * side))
    return veins


def _palmate_veins(traits: Traits, half: Curve, generator: np.random.Generator) -> list[Curve]:
    """A main vein into each lobe, which is where the outline is farthest from the base, with branches."""
    far = np.hypot(half[:, 0], half[:, 1])
    tips = [i for i in range(6, len(half) - 6) if far[i] == far[i - 6 : i + 7].max() and far[i] > 0.3]
    veins = []
    for end in [half[i] for i in tips]:
        main = _arc(np.zeros(2), end, sag=generator.normal(0, 0.03))
        veins.append(main)
        across = np.array([-end[1], end[0]])
        for start in np.linspace(3, 8, traits.num_veins).astype(int):
            veins += [_arc(main[start], main[start] + end * 0.2 + s * across * 0.16, sag=0.05 * s) for s in (-1, 1)]
    for start in (0.45, 0.6, 0.75):
        side = np.sign(half[len(half) // 2, 1])
        veins.append(_arc(np.array([start, 0.0]), np.array([start + 0.16, 0.2 * side]), sag=0.0))
    return veins


def _parallel_veins(traits: Traits, half: Curve, generator: np.random.Generator) -> list[Curve]:
    shares = (np.arange(traits.num_veins) + generator.uniform(0.8, 1.0)) / (traits.num_veins + 0.6)
    return [half[4:-4:6] * [1, share] for share in shares]


def _arc(start: Curve, end: Curve, *, sag: float) -> Curve:
    """Ten points from ``start`` to ``end``, bowed sideways by ``sag`` of the distance."""
    step = np.linspace(0, 1, 10)[:, None]
    across = np.array([-(end - start)[1], (end - start)[0]])
    points: Curve = start + (end - start) * step + across * sag * 4 * step * (1 - step)
    return points


VENATIONS: dict[str, Callable[[Traits, Curve, np.random.Generator], list[Curve]]] = {
    "pinnate": _pinnate_veins,
    "palmate": _palmate_veins,
    "parallel": _parallel_veins,
}
