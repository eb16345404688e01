"""One definition of a network's input, for any picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from budwood.data.preprocess import Preprocess, reduce_to


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(16, 64),
    crop_fraction=st.floats(0.25, 1),
    store_side=st.integers(16, 80),
)
def test_any_picture_becomes_a_square_of_the_size(
    height: int, width: int, size: int, crop_fraction: float, store_side: int
) -> None:
    preprocess = Preprocess(size=size, crop_fraction=crop_fraction, store_side=store_side)
    out = preprocess.pixels(np.full((height, width, 3), 77, dtype=np.uint8))
    assert out.shape == (size, size, 3)
    assert out.dtype == np.uint8
    assert out.flags["C_CONTIGUOUS"]
    assert (out == 77).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (100, 1), (2000, 20), (3000, 4000)], ids=str)
def test_extreme_pictures_become_squares(shape: tuple[int, int]) -> None:
    assert Preprocess(size=32).pixels(np.zeros((*shape, 3), np.uint8)).shape == (32, 32, 3)


def test_picture_of_the_right_size_passes_untouched() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Preprocess(size=32).pixels(picture), picture)


@pytest.mark.parametrize("wide", [True, False])
def test_middle_of_a_longer_picture_is_kept(wide: bool) -> None:
    stripes = np.zeros((32, 96, 3), dtype=np.uint8)
    stripes[:, 32:64] = 200
    picture = stripes if wide else stripes.transpose(1, 0, 2).copy()
    assert (Preprocess(size=32).pixels(picture) == 200).all()


def test_crop_fraction_keeps_that_part_of_the_shorter_side() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[16:48, 16:48] = 200
    assert (Preprocess(size=32, crop_fraction=0.5).pixels(picture) == 200).all()
    whole = Preprocess(size=32, crop_fraction=1.0).pixels(picture)
    assert (whole > 100).mean() == pytest.approx(0.25, abs=0.02)


def test_proportions_are_kept() -> None:
    picture = np.zeros((40, 120, 3), dtype=np.uint8)
    picture[10:30, 50:70] = 255  # a square of half the height, in the middle
    out = Preprocess(size=80).pixels(picture)[..., 0] > 127
    assert np.ptp(np.flatnonzero(out.any(0))) == pytest.approx(np.ptp(np.flatnonzero(out.any(1))), abs=1)
    assert out.mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_resize_is_pillows(name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    expected = Image.fromarray(picture).resize((32, 32), getattr(Image.Resampling, name.upper()))
    np.testing.assert_array_equal(Preprocess(size=32, interpolation=name).pixels(picture), np.asarray(expected))


def test_store_reduces_as_a_fresh_decode_does() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    preprocess = Preprocess(size=48, store_side=100)
    np.testing.assert_array_equal(preprocess.pixels(picture), preprocess.pixels(reduce_to(picture, 100)))


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 200), side=st.integers(8, 150))
def test_reduced_picture_has_the_shorter_side_asked_for(height: int, width: int, side: int) -> None:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    out = reduce_to(picture, side)
    assert min(out.shape[:2]) == min(side, height, width)
    if min(height, width) <= side:
        assert out is picture
    else:
        assert max(out.shape[:2]) == pytest.approx(max(height, width) * side / min(height, width), abs=1)
        np.testing.assert_array_equal(reduce_to(out, side), out)


@pytest.mark.parametrize("size", [(640, 700), (641, 640), (1024, 900), (1279, 1300)], ids=str)
def test_large_picture_is_reduced_in_place_and_much_as_by_bicubic_alone(size: tuple[int, int]) -> None:
    """A ramp with waves: a shift by half a pixel of the result would show as 3 grey levels."""
    rows, columns = np.mgrid[: size[0], : size[1]] / min(size)
    waves = 120 + 60 * np.sin(40 * columns + 9 * rows) + 50 * np.cos(37 * rows)
    picture = np.repeat(np.clip(waves, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    found = reduce_to(picture, 320)
    alone = Image.fromarray(picture).resize((found.shape[1], found.shape[0]), Image.Resampling.BICUBIC)
    assert np.abs(found.astype(int) - np.asarray(alone)).mean() < 0.7


def test_normalise_is_scale_then_standardise() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8))
    preprocess = Preprocess(size=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    out = preprocess.normalise(pixels)
    assert torch.equal(out, preprocess.standardise(pixels.permute(0, 3, 1, 2).float() / 255))
    for channel in range(3):
        expected = (pixels[..., channel].float() / 255 - (0.1, 0.2, 0.3)[channel]) / (0.5, 0.6, 0.7)[channel]
        torch.testing.assert_close(out[:, channel], expected)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_preprocess_survives_json() -> None:
    preprocess = Preprocess(size=96, crop_fraction=0.875, interpolation="bilinear", mean=(1 / 3, 0.1, 0.7))
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
