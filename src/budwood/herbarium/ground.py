"""What lies around the plant: soil, gravel, lawn, litter, moss, paving. It never knows the species.

Grounds are drawn flat with Pillow, then roughened with noise; they are a backdrop, not a simulation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from budwood.herbarium.leaf import Curve
from budwood.herbarium.paint import Canvas, Plane, noise_field

Generator = np.random.Generator
Pen = ImageDraw.ImageDraw
Colour = tuple[int, int, int]


def paint_ground(generator: Generator, size: int) -> Canvas:
    """A new canvas ``[size, size, 3]`` with one of the `GROUNDS`, chosen and varied by ``generator``."""
    names = sorted(GROUNDS)
    base, draw = GROUNDS[names[int(generator.integers(len(names)))]]
    tint = np.array(base, np.float32) * vary(generator, light=0.2, warm=0.055, green=0.02).astype(np.float32)
    image = Image.new("RGB", (size, size), _rgb(tint))
    draw(ImageDraw.Draw(image), generator, size, tint)
    blur = size / 320 * generator.uniform(0.1, 1.2)
    small = np.asarray(image.reduce(2).filter(ImageFilter.GaussianBlur(blur)), np.float32) / np.float32(255)
    rough = _rough(generator, size // 2)
    warm = noise_field(generator, size // 2, cells=5)[..., None] * np.array([0.05, 0.0, -0.05], np.float32)
    return _double(small * np.clip(1 + rough[..., None] + warm, 0.1, 2.5))


def vary(generator: Generator, *, light: float, warm: float, green: float) -> Curve:
    """Factors ``[3]`` for red, green, blue: lighter, warmer, greener or the contrary, by these deviations."""
    steps = generator.standard_normal(3) * [light, warm, green]
    return np.asarray(np.exp(steps @ [[1, 1, 1], [1, 0, -1], [-1, 1, -1]]))


def _double(small: Canvas) -> Canvas:
    """Twice the size by repeating pixels: the camera's halving gives ``small`` back exactly."""
    return np.asarray(small.repeat(2, axis=0).repeat(2, axis=1), np.float32)


def paint_blades(canvas: Canvas, generator: Generator, *, count: int, blur: float) -> None:
    """Lay a few blades of grass over the canvas, soft when they are out of focus."""
    size = canvas.shape[0]
    image = Image.new("RGBA", (size, size))
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        tone = np.array([0.34, 0.45, 0.2]) * vary(generator, light=0.2, warm=0.08, green=0.03)
        _blade(pen, generator, size, (*_rgb(tone), 255), width=generator.uniform(0.008, 0.022))
    soft = image.convert("RGBa").reduce(2).filter(ImageFilter.GaussianBlur(blur))
    layer = _double(np.asarray(soft, np.float32) / np.float32(255))
    alpha = layer[..., 3:]
    canvas *= 1 - alpha
    canvas += layer[..., :3]  # RGBa: colour is already multiplied by cover


def _rough(generator: Generator, size: int) -> Plane:
    """Fine and coarse lightness noise; the strength differs from picture to picture."""
    strength = generator.uniform(0.5, 1.3)
    fine = noise_field(generator, size, cells=size / 3) * 0.1 + noise_field(generator, size, cells=size / 9) * 0.08
    return np.asarray((fine + noise_field(generator, size, cells=6) * 0.1) * strength, np.float32)


def _soil(pen: Pen, generator: Generator, size: int, tint: Canvas) -> None:
    _stones(pen, generator, size, tint, count=260, large=0.03)
    _stones(pen, generator, size, np.full(3, generator.uniform(0.4, 0.6), np.float32), count=14, large=0.04)
    _straws(pen, generator, size, count=int(generator.integers(0, 14)))


def _gravel(pen: Pen, generator: Generator, size: int, tint: Canvas) -> None:
    _stones(pen, generator, size, tint, count=420, large=float(generator.uniform(0.035, 0.075)))


def _lawn(pen: Pen, generator: Generator, size: int, tint: Canvas) -> None:
    earth = tint * np.array([1.05, 0.72, 0.9], np.float32)
    _stones(pen, generator, size, earth, count=120, large=0.06)
    for step in range(170):
        tone = tint * (0.6 + 0.75 * step / 170) * vary(generator, light=0.14, warm=0.06, green=0.03)
        _blade(pen, generator, size, _rgb(tone), width=generator.uniform(0.006, 0.016))
    _straws(pen, generator, size, count=int(generator.integers(0, 20)))


def _litter(pen: Pen, generator: Generator, size: int, tint: Canvas) -> None:
    _straws(pen, generator, size, count=20)
    for _ in range(int(generator.integers(14, 40))):
        tone = np.array([0.42, 0.29, 0.16]) * vary(generator, light=0.28, warm=0.1, green=0.03)
        _small_leaf(pen, generator, size, tone, length=generator.uniform(0.1, 0.34))
    _straws(pen, generator, size, count=8)


def _weeds(pen: Pen, generator: Generator, size: int, tint: Canvas) -> None:
    """Moss and many small leaves that belong to no class, some three by three like clover."""
    earth = tint * np.array([1.15, 0.68, 0.85], np.float32)
    _stones(pen, generator, size, earth, count=240, large=0.05)
    for step in range(int(generator.integers(30, 110))):
        tone = tint * (0.7 + 0.008 * step) * vary(generator, light=0.14, warm=0.06, green=0.03)
        if generator.random() < 0.4:
            _clover(pen, generator, size, tone)
        else:
            _small_leaf(pen, generator, size, tone, length=generator.uniform(0.05, 0.14))


def _paving(pen: Pen, generator: Generator, size: int, tint: Canvas) -> None:
    _stones(pen, generator, size, tint, count=300, large=0.012)
    angle, gap = generator.uniform(0, np.pi), size * generator.uniform(0.35, 0.9)
    along = np.array([np.cos(angle), np.sin(angle)]) * 2 * size
    for step in range(-3, 4):
        mid = size / 2 + np.array([-along[1], along[0]]) / (2 * size) * gap * (step + 0.3)
        ends = np.concatenate([mid - along, mid + along]).tolist()
        pen.line(ends, fill=_rgb(tint * 0.45), width=max(1, size // 50))
    _straws(pen, generator, size, count=int(generator.integers(0, 12)))


def _stones(pen: Pen, generator: Generator, size: int, tint: Canvas, *, count: int, large: float) -> None:
    """Rounded polygons: a dark one, a light one shifted against it."""
    corner = np.linspace(0, 2 * np.pi, 9)[:-1]
    radius = size * large * generator.uniform(0.2, 1.0, (count, 1)) ** 1.5
    radii = radius * generator.uniform(0.7, 1.15, (count, 8))
    flat = generator.uniform(0.6, 1, (count, 1))
    rings = np.stack([radii * np.cos(corner), radii * np.sin(corner) * flat], axis=2)
    rings += generator.uniform(-0.05, 1.05, (count, 1, 2)) * size
    tones = tint * np.exp(generator.normal(0, 0.22, (count, 1))) * generator.uniform(0.95, 1.05, (count, 3))
    lights, darks = (np.clip(tones * k, 0, 255).astype(int).tolist() for k in (255, 115))
    shift = size * 0.004
    low, high = ((rings + s).reshape(count, -1).tolist() for s in (shift, -shift / 2))
    for i in range(count):
        pen.polygon(low[i], fill=tuple(darks[i]))
        pen.polygon(high[i], fill=tuple(lights[i]))


def _straws(pen: Pen, generator: Generator, size: int, *, count: int) -> None:
    for _ in range(count):
        tone = np.array([0.55, 0.46, 0.3]) * np.exp(generator.normal(0, 0.3))
        start, angle = generator.uniform(0, size, 2), generator.uniform(0, 2 * np.pi)
        end = start + size * generator.uniform(0.08, 0.5) * np.array([np.cos(angle), np.sin(angle)])
        width = max(1, round(size * generator.uniform(0.003, 0.012)))
        pen.line([*(start + width), *(end + width)], fill=_rgb(tone * 0.3), width=width)
        pen.line([*start, *end], fill=_rgb(tone), width=width)


def _blade(pen: Pen, generator: Generator, size: int, fill: tuple[int, ...], *, width: float) -> None:
    """A blade of grass: a narrow, bent triangle."""
    root, angle = generator.uniform(-0.1, 1.1, 2) * size, generator.uniform(0, 2 * np.pi)
    step = np.linspace(0, 1, 8)
    turn = angle + generator.normal(0, 0.7) * step
    length = size * generator.uniform(0.2, 0.8)
    spine = root + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], axis=1) * length / 8, axis=0)
    across = np.stack([-np.sin(turn), np.cos(turn)], axis=1) * (size * width / 2 * (1 - step**2))[:, None]
    pen.polygon(np.concatenate([spine + across, (spine - across)[::-1]]).ravel().tolist(), fill=fill)


def _small_leaf(pen: Pen, generator: Generator, size: int, tone: Curve, *, length: float) -> None:
    at, angle = generator.uniform(-0.05, 1.05, 2) * size, generator.uniform(0, 2 * np.pi)
    _lens(pen, at, angle, length * size, generator.uniform(0.15, 0.34), tone)


def _clover(pen: Pen, generator: Generator, size: int, tone: Curve) -> None:
    at, angle = generator.uniform(0, size, 2), generator.uniform(0, 2 * np.pi)
    length = size * generator.uniform(0.03, 0.06)
    for third in range(3):
        _lens(pen, at, angle + third * 2 * np.pi / 3, length, 0.45, tone * (0.9 + 0.1 * third))


def _lens(pen: Pen, at: Curve, angle: float, length: float, width: float, tone: Curve) -> None:
    """A plain pointed leaf with a shadow and a midrib."""
    step = np.linspace(0, 1, 14)
    half = width * np.sin(np.pi * step**0.8) ** 0.9
    points = np.concatenate([np.stack([step, half], 1), np.stack([step, -half], 1)[::-1]]) * length
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outline = points @ turn + at
    pen.polygon((outline + length * 0.05).ravel().tolist(), fill=_rgb(tone * 0.35))
    pen.polygon(outline.ravel().tolist(), fill=_rgb(tone))
    pen.polygon([*outline[:14].ravel().tolist()], fill=_rgb(tone * 0.88))
    pen.line([*outline[0], *outline[13]], fill=_rgb(tone * 1.25), width=max(1, round(length * 0.025)))


def _rgb(colour: Canvas | Curve) -> Colour:
    red, green, blue = (int(v) for v in np.clip(np.asarray(colour) * 255, 0, 255))
    return red, green, blue


GROUNDS: dict[str, tuple[tuple[float, float, float], Callable[[Pen, Generator, int, Canvas], None]]] = {
    "soil": ((0.36, 0.27, 0.19), _soil),
    "gravel": ((0.5, 0.47, 0.43), _gravel),
    "lawn": ((0.27, 0.33, 0.16), _lawn),
    "litter": ((0.28, 0.21, 0.14), _litter),
    "weeds": ((0.25, 0.34, 0.15), _weeds),
    "paving": ((0.52, 0.5, 0.47), _paving),
}
