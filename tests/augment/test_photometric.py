"""Changes of colour: what each does to pixels, and that it stays within the settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.augment import photometric
from budwood.augment.photometric import (
    LUMA,
    Colours,
    blurred,
    colours_of,
    compressed,
    quality_of,
    recoloured,
    sigma_of,
)
from budwood.augment.spec import AugmentSpec

Pixels = NDArray[np.uint8]
Calm = Callable[..., AugmentSpec]
NUMBERS = st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8)


def luma(pixels: Pixels) -> NDArray[np.float64]:
    return np.asarray(pixels @ np.array(LUMA))


def chroma(pixels: Pixels) -> NDArray[np.complex128]:
    """Colours without their brightness, as points of a plane: the angle is the hue, the length the saturation."""
    yiq = pixels.astype(float) @ photometric._TO_YIQ.T
    return np.asarray(yiq[..., 1] + 1j * yiq[..., 2])


def test_brightness_scales(patches: Pixels) -> None:
    np.testing.assert_allclose(recoloured(patches[0], Colours(brightness=0.5)), patches[0] * 0.5, atol=1)


def test_contrast_pulls_towards_the_pictures_own_grey(patches: Pixels) -> None:
    flatter = recoloured(patches[0], Colours(contrast=0.5))
    np.testing.assert_allclose(flatter, (patches[0] + luma(patches[0]).mean()) / 2, atol=1)


def test_all_four_together_are_one_after_another(patches: Pixels) -> None:
    together = recoloured(patches[0], Colours(brightness=0.8, contrast=1.1, saturation=0.7, hue=0.1))
    image = patches[0] * 0.8
    grey = luma(image)[..., None]
    turned = image @ photometric._turned(0.1).T
    image = grey + (turned - grey) * 0.7
    image = (image - grey.mean()) * 1.1 + grey.mean()
    np.testing.assert_allclose(together, np.clip(image, 0, 255), atol=1)


@settings(max_examples=30, deadline=None)
@given(saturation=st.floats(0, 1))
def test_saturation_scales_the_colours_and_keeps_luma(patches: Pixels, saturation: float) -> None:
    changed = recoloured(patches[1], Colours(saturation=saturation))
    np.testing.assert_allclose(np.abs(chroma(changed)), np.abs(chroma(patches[1])) * saturation, atol=1.5)
    np.testing.assert_allclose(luma(changed), luma(patches[1]), atol=1)


@settings(max_examples=30, deadline=None)
@given(hue=st.floats(-0.5, 0.5))
def test_hue_turns_all_colours_by_one_angle_and_keeps_luma(hue: float) -> None:
    muted = np.random.default_rng(3).integers(100, 150, (8, 8, 3), dtype=np.uint8)  # far from black and white
    changed = recoloured(muted, Colours(hue=hue))
    np.testing.assert_allclose(chroma(changed), chroma(muted) * np.exp(2j * np.pi * hue), atol=1.5)
    np.testing.assert_allclose(luma(changed), luma(muted), atol=1)


@settings(max_examples=50, deadline=None)
@given(numbers=NUMBERS, hue=st.floats(0, 0.5), saturation=st.floats(0, 1))
def test_colours_stay_within_the_settings(calm: Calm, numbers: list[float], hue: float, saturation: float) -> None:
    spec = calm(brightness=0.3, contrast=0.1, saturation=saturation, hue=hue)
    colours = colours_of(numbers, spec)
    assert abs(colours.brightness - 1) <= 0.3 + 1e-9
    assert abs(colours.contrast - 1) <= 0.1 + 1e-9
    assert abs(colours.saturation - 1) <= saturation + 1e-9
    assert abs(colours.hue) <= hue


@settings(max_examples=30, deadline=None)
@given(numbers=NUMBERS)
def test_grey_pictures_have_equal_channels(calm: Calm, noise: Pixels, numbers: list[float]) -> None:
    spec = calm(grayscale=1, brightness=0.5, contrast=0.5, saturation=1, hue=0.5)
    grey = recoloured(noise[0], colours_of(numbers, spec))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_grey_is_the_luma_of_the_picture(noise: Pixels) -> None:
    np.testing.assert_allclose(recoloured(noise[0], Colours(saturation=0))[..., 1], luma(noise[0]), atol=1)


def test_share_of_grey_pictures_is_the_one_asked_for(calm: Calm) -> None:
    drawn = np.random.default_rng(0).random((1000, 8)).tolist()
    grey = [colours_of(numbers, calm(grayscale=0.3)).saturation == 0 for numbers in drawn]
    assert np.mean(grey) == pytest.approx(0.3, abs=0.05)


def test_what_leaves_black_and_white_is_cut_off_not_wrapped() -> None:
    ends = np.repeat(np.array([0, 255], dtype=np.uint8), 32).reshape(8, 8, 1).repeat(3, axis=2)
    changed = recoloured(ends, Colours(contrast=1.9, brightness=1.4))
    assert set(np.unique(changed)) == {0, 255}


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_blur_spreads_a_point_by_its_deviation_and_keeps_the_light(sigma: float) -> None:
    point = np.zeros((41, 41, 3), dtype=np.uint8)
    point[19:22, 19:22] = 255
    spread = blurred(point, sigma)[..., 0].astype(float)
    place = np.arange(41) - 20
    variance = (spread.sum(0) @ place**2) / spread.sum() - (point[..., 0].sum(0) @ place**2) / point[..., 0].sum()
    assert np.sqrt(variance) == pytest.approx(sigma, rel=0.15)
    assert spread.sum() == pytest.approx(point[..., 0].sum(), rel=0.05)


def test_blur_does_not_darken_the_borders() -> None:
    white = np.full((24, 24, 3), 255, dtype=np.uint8)
    assert int(blurred(white, 5).min()) == 255


def test_jpeg_of_less_quality_is_further_from_the_picture(noise: Pixels, patches: Pixels) -> None:
    errors = [np.abs(compressed(noise[0], quality).astype(int) - noise[0]).mean() for quality in (95, 60, 10)]
    assert 0 < errors[0] < errors[1] < errors[2]
    assert np.abs(compressed(patches[0], 95).astype(int) - patches[0]).mean() < 4


def test_jpeg_keeps_luma_better_than_colour(noise: Pixels) -> None:
    # With R and B taken for one another it is the other way round for pictures in red and blue.
    red_and_blue = noise[0].repeat(2, axis=0).repeat(2, axis=1).copy()
    red_and_blue[..., 1] = 0
    found = compressed(red_and_blue, 60)
    error = {channel: np.abs(found[..., channel].astype(int) - red_and_blue[..., channel]).mean() for channel in (0, 2)}
    assert error[0] < error[2]  # red adds three times as much to luma as blue


@settings(max_examples=100, deadline=None)
@given(numbers=NUMBERS, low=st.integers(1, 100), span=st.integers(0, 99))
def test_quality_and_sigma_stay_within_the_settings(calm: Calm, numbers: list[float], low: int, span: int) -> None:
    high = min(100, low + span)
    spec = calm(jpeg=1, jpeg_quality=(low, high), blur=1, blur_sigma=(0.5, 1.5))
    quality, sigma = quality_of(numbers, spec), sigma_of(numbers, spec)
    assert quality is not None
    assert low <= quality <= high
    assert sigma is not None
    assert 0.5 <= sigma <= 1.5


def test_each_quality_of_the_range_is_drawn(calm: Calm) -> None:
    drawn = np.random.default_rng(0).random((200, 8)).tolist()
    spec = calm(jpeg=1, jpeg_quality=(50, 53))
    assert {quality_of(numbers, spec) for numbers in drawn} == {50, 51, 52, 53}


def test_share_of_blurred_and_compressed_pictures_is_the_one_asked_for(calm: Calm) -> None:
    drawn = np.random.default_rng(0).random((1000, 8)).tolist()
    spec = calm(blur=0.2, jpeg=0.6)
    assert np.mean([sigma_of(numbers, spec) is not None for numbers in drawn]) == pytest.approx(0.2, abs=0.05)
    assert np.mean([quality_of(numbers, spec) is not None for numbers in drawn]) == pytest.approx(0.6, abs=0.05)
