"""Painting one leaf into a canvas: shadow, relief, veins, gloss, blemishes.

A canvas is ``[S, S, 3]`` float32 in 0..1, drawn at twice the picture's size; hard edges become smooth when
the camera halves it. Functions named ``paint_*`` change the canvas that they are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import uniform_filter

from budwood.herbarium.leaf import Curve, Leaf

Canvas = NDArray[np.float32]
Plane = NDArray[np.float32]

_BROWN = np.array([0.36, 0.25, 0.12], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Where the light comes from (unit vector in the picture) and how hard: 0 overcast, 1 noon sun."""

    x: float
    y: float
    hardness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The surface of one leaf; strengths in 0..1, ``length`` of the blade in canvas pixels."""

    colour: Canvas
    length: float
    vein: float
    relief: float
    gloss: float
    fold: float = 0.0
    blemish: float = 0.0
    lift: float = 0.03  # height over the ground in blade lengths: how far the shadow falls


def noise_field(generator: np.random.Generator, size: int, *, cells: float) -> Plane:
    """Smooth noise ``[size, size]`` with mean 0 and deviation about 1, ``cells`` bumps across."""
    count = max(2, int(cells))
    grid = generator.standard_normal((count + 1, count + 1), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def paint_leaf(canvas: Canvas, leaf: Leaf, look: Look, light: Light, generator: np.random.Generator) -> None:
    """Paint ``leaf`` (in canvas pixels) over what is there, with the shadow that it casts."""
    reach = 0.12 * look.length
    box = _bounding_box(leaf, reach, canvas.shape[0])
    if box is None:
        return
    left, top, right, bottom = box
    crop = canvas[top:bottom, left:right]
    corner = np.array([left, top], np.float64)
    size = (right - left, bottom - top)
    local = leaf.moved(lambda points: points - corner)
    stem = _stem_mask(local, size, look)
    blade = _fill((b.outline for b in local.blades), size)
    _cast_shadow(crop, np.maximum(blade, stem), look, light)
    _blend(crop, look.colour * 0.9 + np.array([0.08, 0.02, 0.0], np.float32), stem)
    if leaf.blades:
        _blend(crop, _surface(local, blade, look, light, generator), blade)


def _surface(leaf: Leaf, blade: Plane, look: Look, light: Light, generator: np.random.Generator) -> NDArray[np.float32]:
    """The colours of the blade ``[H, W, 3]``, lit; outside the blade they mean nothing."""
    size = (blade.shape[1], blade.shape[0])
    veins = _vein_mask(leaf, size, look)
    right = _fill((np.concatenate([b.right, b.midrib[::-1]]) for b in leaf.blades), size)
    body = _soften(blade, 0.05 * look.length)
    pits = _soften(veins, max(0.7, 0.016 * look.length))
    slope_y, slope_x = np.gradient(0.55 * body - 0.5 * look.relief * pits)
    lit = (slope_x * -light.x + slope_y * -light.y) * look.length * 0.1
    field = noise_field(generator, max(size), cells=4 + 3 * generator.random())[: size[1], : size[0]]
    grain = noise_field(generator, max(size), cells=max(size) / 4)[: size[1], : size[0]]
    shade = 1 + (0.35 + 0.65 * light.hardness) * lit + look.fold * (right - 0.5) + 0.05 * field + 0.025 * grain
    colour = look.colour * np.maximum(shade, 0.25)[..., None]
    pale = look.colour * 0.8 + np.array([0.26, 0.28, 0.18], np.float32)
    colour += (pale - colour) * (look.vein * veins)[..., None]
    shine = np.clip(field * 0.5 + 6 * lit - 0.4, 0, 1) * look.gloss * (0.2 + 0.5 * light.hardness)
    colour += shine[..., None] * (np.array([0.8, 0.86, 0.88], np.float32) - colour) * 0.6
    if look.blemish:
        rot = np.clip(look.blemish * 2.4 + field * 0.8 + grain * 0.35 - 1.3 * body - 0.9, 0, 1)
        colour += (_BROWN - colour) * rot[..., None]
    return np.asarray(colour, np.float32)


def _cast_shadow(crop: Canvas, mask: Plane, look: Look, light: Light) -> None:
    far = look.lift * look.length
    soft = _soften(mask, max(1.0, far * (0.9 - 0.6 * light.hardness)))
    shadow = _shifted(soft, round(-light.y * far), round(-light.x * far))
    crop *= (1 - (0.35 + 0.35 * light.hardness) * shadow)[..., None]


def _shifted(mask: Plane, down: int, right: int) -> Plane:
    """The mask moved by whole pixels; what leaves on one side does not come back on the other."""
    out = np.zeros_like(mask)
    height, width = mask.shape
    source = mask[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    top, left = max(0, down), max(0, right)
    out[top : top + source.shape[0], left : left + source.shape[1]] = source
    return out


def _soften(mask: Plane, sigma: float) -> Plane:
    """Two box filters of about a Gaussian's deviation: their time does not grow with ``sigma``."""
    width = max(2, round(sigma * 2.45))  # two boxes of width w have deviation w / sqrt(6)
    return np.asarray(uniform_filter(uniform_filter(mask, width), width), np.float32)


def _blend(crop: Canvas, colour: NDArray[np.float32], mask: Plane) -> None:
    crop += (colour - crop) * mask[..., None]


def _bounding_box(leaf: Leaf, reach: float, size: int) -> tuple[int, int, int, int] | None:
    points = np.concatenate([leaf.stem, *(b.outline for b in leaf.blades)])
    left, top = np.clip(np.floor(points.min(axis=0) - reach), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0) + reach), 0, size).astype(int)
    return (int(left), int(top), int(right), int(bottom)) if right - left > 2 and bottom - top > 2 else None


def _fill(outlines: Iterable[Curve], size: tuple[int, int]) -> Plane:
    image = Image.new("L", size)
    pen = ImageDraw.Draw(image)
    for outline in outlines:
        pen.polygon(outline.ravel().tolist(), fill=255)
    return np.asarray(image, np.float32) / np.float32(255)


def _stem_mask(leaf: Leaf, size: tuple[int, int], look: Look) -> Plane:
    image = Image.new("L", size)
    width = max(2, round(0.022 * look.length))
    ImageDraw.Draw(image).line(leaf.stem.ravel().tolist(), fill=255, width=width, joint="curve")
    return np.asarray(image, np.float32) / np.float32(255)


def _vein_mask(leaf: Leaf, size: tuple[int, int], look: Look) -> Plane:
    """Midribs taper towards the tip; side veins are thinner and fainter."""
    image = Image.new("L", size)
    pen = ImageDraw.Draw(image)
    scale = look.length / (1 if len(leaf.blades) == 1 else 2.5)
    for blade in leaf.blades:
        for vein in blade.veins:
            pen.line(vein.ravel().tolist(), fill=130, width=max(1, round(0.009 * scale)))
        for share, part in ((0.02, blade.midrib[:14]), (0.013, blade.midrib[13:])):
            pen.line(part.ravel().tolist(), fill=230, width=max(1, round(share * scale)))
    return np.asarray(image, np.float32) / np.float32(255)
