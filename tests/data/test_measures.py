"""What is measured on one picture: each number answers to its own fault, and hardly to the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from budwood.data.measures import measure, measure_many

Picture = NDArray[np.uint8]


def scene(seed: int = 0, *, height: int = 96, width: int = 96) -> Picture:
    """Noise of several scales, as leaves and soil are."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 110.0)
    for scale in (1, 2, 4, 8, 16):
        coarse = rng.normal(0, 12, (height // scale + 2, width // scale + 2))
        total += np.kron(coarse, np.ones((scale, scale)))[:height, :width, None]
    return np.clip(total * (1.0, 1.05, 0.9), 0, 255).astype(np.uint8)


def blurred(picture: Picture, radius: float) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def test_brightness_is_the_mean_luma_and_contrast_its_deviation() -> None:
    luma = np.asarray(Image.fromarray(scene()).convert("L"), float)
    found = measure(scene())
    assert found.brightness == pytest.approx(luma.mean(), abs=0.1)
    assert found.contrast == pytest.approx(luma.std(), abs=0.1)


@pytest.mark.parametrize("size", [(96, 96), (33, 50), (320, 201), (2, 9), (1, 1)], ids=str)
def test_a_picture_measures_the_same_among_others_as_alone(size: tuple[int, int]) -> None:
    pictures = np.stack([scene(seed, height=size[0], width=size[1]) // (1 + seed % 3) for seed in range(16)])
    lumas = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pictures])
    found = measure_many(pictures, lumas)
    np.testing.assert_allclose(found, [measure(picture) for picture in pictures], atol=0.0011)


def test_sharpness_is_that_of_its_definition() -> None:
    """The same written down picture by picture, with the neighbours of every pixel of the bands."""
    picture = scene(3, height=61, width=47)
    green = picture[..., 1].astype(float)
    energies = []
    for down, across in ((1, 0), (0, 1), (1, 1), (1, -1)):
        slope = bend = 0.0
        for row in np.linspace(0, 58, 16).astype(int) + 1:
            for column in range(1, 46):
                one, other = green[row - down, column - across], green[row + down, column + across]
                slope += (other - one) ** 2 + 0.25
                bend += (one + other - 2 * green[row, column]) ** 2
        energies.append(bend / slope)
    assert measure(picture).sharpness == pytest.approx(min(energies) ** 0.5, abs=0.001)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("radius", [1.5, 3.0])
def test_blur_takes_sharpness_away_at_any_size(scale: int, radius: float) -> None:
    picture = scene(height=120 * scale, width=90 * scale)
    assert measure(blurred(picture, radius)).sharpness < 0.5 * measure(picture).sharpness


@pytest.mark.parametrize("direction", [(0, 1), (1, 0), (1, 1), (1, -1)])
def test_motion_takes_sharpness_away_in_every_direction(direction: tuple[int, int]) -> None:
    picture = scene()
    steps = [np.roll(picture, (n * direction[0], n * direction[1]), (0, 1)).astype(float) for n in range(7)]
    moved = np.mean(steps, axis=0).astype(np.uint8)
    assert measure(moved).sharpness < 0.6 * measure(picture).sharpness


def test_sharpness_does_not_depend_on_contrast_or_light() -> None:
    pale = (scene() * 0.5 + 60).astype(np.uint8)
    assert measure(pale).sharpness == pytest.approx(measure(scene()).sharpness, rel=0.1)


def test_levels_follow_the_colour_of_the_light() -> None:
    red = np.clip(scene() * (1.3, 1, 1), 0, 255).astype(np.uint8)
    before, after = measure(scene()), measure(red)
    assert after.red / before.red == pytest.approx(1.3, abs=0.05)
    assert after.green == before.green


def test_levels_of_a_grey_picture_are_equal() -> None:
    grey = np.repeat(np.asarray(Image.fromarray(scene()).convert("L"))[..., None], 3, axis=2)
    found = measure(grey)
    assert found.red == found.green == found.blue


@pytest.mark.parametrize(("height", "width"), [(96, 96), (32, 48), (500, 300)])
def test_shade_over_half_of_the_picture_is_measured(height: int, width: int) -> None:
    picture = blurred(scene(height=height, width=width), 1)
    shaded = picture.copy()
    shaded[: height // 2] //= 5
    assert measure(picture).shadow == 0
    assert measure(shaded).shadow == pytest.approx(0.5, abs=0.12)


def test_small_gaps_and_even_darkness_are_no_shade() -> None:
    gaps = scene()
    gaps[::12] = 0
    gaps[:, ::12] = 0
    assert measure(gaps).shadow == 0
    assert measure((scene() * 0.2).astype(np.uint8)).shadow == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_a_narrow_dark_stripe_is_no_shade(axis: int) -> None:
    stripe = scene()
    np.moveaxis(stripe, axis, 0)[40:56] = 0  # two cells wide: a branch, a stem
    assert measure(stripe).shadow == 0


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    value=st.sampled_from([0, 1, 127, 255]),
    noisy=st.booleans(),
)
def test_pictures_of_any_size_are_measured_within_bounds(height: int, width: int, value: int, noisy: bool) -> None:
    picture = np.full((height, width, 3), value, np.uint8)
    if noisy:
        picture[:: 1 + height // 7, :: 1 + width // 5] = 255 - value
    found = measure(picture)
    assert all(np.isfinite(found))
    assert all(0 <= number <= 255.001 for number in (found.brightness, found.red, found.green, found.blue))
    assert found.contrast >= 0
    assert found.sharpness >= 0
    assert 0 <= found.shadow <= 1
    if not noisy:
        assert (found.contrast, found.sharpness, found.shadow) == (0, 0, 0)
        assert found.red == pytest.approx(value, abs=0.01)
