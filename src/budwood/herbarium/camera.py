"""From the canvas to the photo: light on the scene, exposure, colour cast, blur, noise.

JPEG compression is not here; it comes with the file, in `draw.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter1d

from budwood.herbarium.paint import Canvas, Light, noise_field

Generator = np.random.Generator


def take_photo(canvas: Canvas, light: Light, generator: Generator) -> NDArray[np.uint8]:
    """Light the canvas ``[2S, 2S, 3]``, halve it and expose it: ``[S, S, 3]`` uint8."""
    size = canvas.shape[0] // 2
    rows = canvas[0::2] + canvas[1::2]
    photo = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
    photo *= _illumination(size, light, generator)[..., None]
    photo = _expose(_blur(photo, generator), generator)
    return np.asarray(np.clip(photo * 255 + 0.5, 0, 255), np.uint8)


def _illumination(size: int, light: Light, generator: Generator) -> Canvas:
    """A falling gradient, in sun with the soft shadows of twigs above, in every lens a vignette."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    along = light.x * line[None, :] + light.y * line[:, None]
    field = 1 + generator.uniform(0, 0.3) * along - generator.uniform(0, 0.18) * (line[None] ** 2 + line[:, None] ** 2)
    if generator.random() < 0.25 + 0.35 * light.hardness:
        dapple = noise_field(generator, size, cells=generator.uniform(2, 7))
        edge = generator.uniform(2, 9)
        field *= 1 - generator.uniform(0.25, 0.6) / (1 + np.exp(-edge * (dapple - generator.uniform(-0.3, 0.8))))
    return np.asarray(field, np.float32)


def _blur(photo: Canvas, generator: Generator) -> Canvas:
    """Missed focus in most pictures a little, in some a lot; camera shake in a few."""
    size = photo.shape[0]
    sigma = size / 160 * abs(generator.normal(0, 0.5))
    photo = gaussian_filter(photo, (sigma, sigma, 0), truncate=3) if sigma > 0.2 else photo
    if generator.random() < 0.12:
        reach = max(1, round(size / 160 * generator.uniform(2, 6)))
        photo = uniform_filter1d(photo, reach, axis=int(generator.integers(2)))
    return np.asarray(photo, np.float32)


def _expose(photo: Canvas, generator: Generator) -> Canvas:
    """Exposure, contrast, saturation and white balance, then sensor noise."""
    bright = max(0.05, float(photo.mean()))
    gain = (0.36 / bright) ** 0.5 * np.exp(generator.normal(0.05, 0.2))
    cast = np.exp(generator.normal(0, 0.07) * np.array([1, 0, -1]) + generator.normal(0, 0.035) * np.array([0, 1, 0]))
    photo = photo * (gain * cast).astype(np.float32)
    grey = photo.mean(axis=2, keepdims=True)
    photo = grey + (photo - grey) * np.float32(generator.uniform(0.7, 1.25))
    photo = np.float32(0.4) + (photo - np.float32(0.4)) * np.float32(generator.uniform(0.75, 1.25))
    photo = 1 - np.log1p(np.exp(12 * (1 - np.maximum(photo, 0)))) / 12  # highlights roll off instead of clipping
    spread = generator.gamma(2.0, 0.006)
    noise = generator.standard_normal(photo.shape, dtype=np.float32)
    return np.asarray(photo + noise * np.float32(spread) * (0.5 + np.sqrt(np.clip(photo, 0, 1))), np.float32)
