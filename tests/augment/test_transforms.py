"""Random augmentation: each picture draws for itself, and each draw does what the spec says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.augment import transforms
from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.preprocess import Preprocess

Pixels = NDArray[np.uint8]
PREPROCESS = Preprocess(size=24)
PLAIN = Preprocess(size=24, mean=(0, 0, 0), std=(1, 1, 1))
CALM: dict[str, Any] = {
    "rotation": 0,
    "flip": "none",
    "scale": (1, 1),
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "cutmix": 0,
}
WILD = AugmentSpec(rotation=180, flip="both")


def calm(**changes: Any) -> AugmentSpec:
    return AugmentSpec(**(CALM | changes))


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float64]:
    """The nine numbers that every picture draws (angle, scale, flips, two shifts, three colours); 0.5 is the middle."""
    numbers = np.full(9, 0.5)

    class Fixed:
        def random(self, size: int) -> NDArray[np.float64]:
            assert size == 9
            return numbers

    monkeypatch.setattr(transforms, "picture_generator", lambda seed, epoch, record: Fixed())
    return numbers


def as_images(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def test_picture_is_changed_alike_in_any_batch(pixels: Pixels) -> None:
    augment = Augment(WILD, PREPROCESS, seed=4)
    together = augment(pixels, [10, 11, 12, 13, 14, 15], 3)
    turned = augment(pixels[::-1].copy(), [15, 14, 13, 12, 11, 10], 3)
    alone = augment(pixels[2:3], [12], 3)
    assert torch.equal(together, turned.flip(0))
    assert torch.equal(together[2:3], alone)


def test_pictures_epochs_and_seeds_draw_differently(pixels: Pixels) -> None:
    same = np.repeat(pixels[:1], 2, axis=0)
    first = Augment(WILD, PREPROCESS, seed=0)(same, [1, 2], 0)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, Augment(WILD, PREPROCESS, seed=0)(same, [1, 2], 1))
    assert not torch.equal(first, Augment(WILD, PREPROCESS, seed=1)(same, [1, 2], 0))
    assert torch.equal(first, Augment(WILD, PREPROCESS, seed=0)(same, [1, 2], 0))


def test_spec_that_changes_nothing_gives_what_prediction_sees(pixels: Pixels) -> None:
    out = Augment(calm(), PREPROCESS, seed=0)(pixels, range(6), 0)
    torch.testing.assert_close(out, PREPROCESS.normalise(torch.from_numpy(pixels)), atol=1e-5, rtol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_given_pixels_are_not_changed(pixels: Pixels) -> None:
    before = pixels.copy()
    Augment(WILD, PREPROCESS, seed=0)(pixels, range(6), 0)
    np.testing.assert_array_equal(before, pixels)


@pytest.mark.parametrize(
    ("flip", "expected"), [("none", {(1, 1)}), ("horizontal", {(1, 1), (-1, 1)}), ("both", None)], ids=str
)
def test_flips_are_those_that_are_allowed_and_all_of_them(flip: str, expected: set[tuple[int, int]] | None) -> None:
    matrices, _ = Augment(calm(flip=flip), PREPROCESS, seed=0).draw(range(60), 0)
    seen = {(int(m[0, 0]), int(m[1, 1])) for m in matrices}
    assert seen == (expected or {(1, 1), (-1, 1), (1, -1), (-1, -1)})


def test_mirror_is_a_mirror(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    draws[2] = 0.0
    out = Augment(calm(flip="horizontal"), PLAIN, seed=0)(pixels, range(6), 0)
    torch.testing.assert_close(out, as_images(pixels).flip(3), atol=1e-5, rtol=0)


def test_half_turn_equals_both_flips(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    draws[0] = 1.0
    out = Augment(calm(rotation=180), PLAIN, seed=0)(pixels, range(6), 0)
    torch.testing.assert_close(out, as_images(pixels).flip(2, 3), atol=1e-4, rtol=0)


def test_quarter_turn_moves_no_pixel_off_its_place(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    draws[0] = 1.0
    out = Augment(calm(rotation=90), PLAIN, seed=0)(pixels, range(6), 0)
    turns = [torch.rot90(as_images(pixels), k, (2, 3)) for k in (1, 3)]
    assert min(float((out - turn).abs().max()) for turn in turns) < 1e-4


def test_magnification_by_two_shows_the_middle_half(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    out = Augment(calm(scale=(2, 2)), PLAIN, seed=0)(pixels, range(6), 0)
    wider = torch.nn.functional.interpolate(as_images(pixels), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(out, wider[:, :, 12:36, 12:36], atol=1e-4, rtol=0)


def test_shift_moves_by_a_share_of_the_side(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    draws[4] = 1.0
    out = Augment(calm(shift=0.25), PLAIN, seed=0)(pixels, range(6), 0)
    torch.testing.assert_close(out[..., :18], as_images(pixels)[..., 6:], atol=1e-4, rtol=0)
    torch.testing.assert_close(out[..., 18:], as_images(pixels).flip(3)[..., :6], atol=1e-4, rtol=0)  # reflected


def test_borders_are_filled_by_reflection_not_black() -> None:
    white = np.full((40, 24, 24, 3), 255, dtype=np.uint8)
    spec = calm(rotation=180, scale=(0.5, 0.5), shift=0.5)
    assert float(Augment(spec, PLAIN, seed=0)(white, range(40), 0).min()) > 0.999


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rotation=st.floats(0, 180), low=st.floats(0.3, 1), span=st.floats(1, 3))
def test_draws_stay_within_the_spec(seed: int, rotation: float, low: float, span: float) -> None:
    spec = calm(rotation=rotation, scale=(low, low * span), shift=0.2, brightness=0.3, contrast=0.1, saturation=0.5)
    matrices, colours = Augment(spec, PREPROCESS, seed=seed).draw(range(20), 0)
    window = np.linalg.norm(matrices[:, :, 0], axis=1)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert (np.abs(angles) <= rotation + 1e-3).all()
    assert (window >= 1 / (low * span) - 1e-5).all()
    assert (window <= 1 / low + 1e-5).all()
    assert (np.abs(matrices[:, :, 2]) <= 0.4 + 1e-6).all()
    assert (np.abs(colours - 1) <= np.array([0.3, 0.1, 0.5]) + 1e-6).all()


def test_no_draw_shears_a_picture() -> None:
    matrices, _ = Augment(calm(rotation=180, flip="both", scale=(0.5, 2)), PREPROCESS, seed=0).draw(range(50), 0)
    for linear in matrices[:, :, :2]:
        product = linear @ linear.T
        np.testing.assert_allclose(product, product[0, 0] * np.eye(2), atol=1e-5)


def test_draws_reach_both_ends_of_the_spec() -> None:
    spec = calm(rotation=30, scale=(0.5, 2), shift=0.2)
    matrices, _ = Augment(spec, PREPROCESS, seed=0).draw(range(400), 0)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    window = np.linalg.norm(matrices[:, :, 0], axis=1)
    assert angles.min() < -28
    assert angles.max() > 28
    assert window.min() < 0.53
    assert window.max() > 1.9
    assert np.median(window) == pytest.approx(1, abs=0.1)  # as often enlarged as reduced


def test_brightness_scales_and_saturation_zero_leaves_grey(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    draws[6] = 0.0
    darker = Augment(calm(brightness=0.5), PLAIN, seed=0)(pixels, range(6), 0)
    torch.testing.assert_close(darker, as_images(pixels) * 0.5, atol=1e-5, rtol=0)
    draws[6], draws[8] = 0.5, 0.0
    grey = Augment(calm(saturation=1), PLAIN, seed=0)(pixels, range(6), 0)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    expected = (as_images(pixels) * weights).sum(1, keepdim=True).expand_as(grey)
    torch.testing.assert_close(grey, expected, atol=1e-5, rtol=0)


def test_contrast_pulls_towards_the_pictures_own_grey(pixels: Pixels, draws: NDArray[np.float64]) -> None:
    draws[7] = 0.0
    flatter = Augment(calm(contrast=0.5), PLAIN, seed=0)(pixels, range(6), 0)
    images = as_images(pixels)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    middle = (images * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    torch.testing.assert_close(flatter, (images + middle) / 2, atol=1e-5, rtol=0)


def test_colours_stay_within_black_and_white(pixels: Pixels) -> None:
    spec = calm(brightness=0.9, contrast=0.9, saturation=1)
    out = Augment(spec, PLAIN, seed=0)(pixels, range(6), 0)
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1


@pytest.mark.parametrize("spec", [AugmentSpec(), AugmentSpec(rotation=5), AugmentSpec(flip="none")], ids=str)
def test_undecided_spec_is_refused(spec: AugmentSpec) -> None:
    with pytest.raises(ValueError, match="resolve the spec first"):
        Augment(spec, PREPROCESS, seed=0)


@pytest.mark.parametrize(
    ("turn_free", "mirror_free", "rotation", "flip"),
    [
        (True, True, 180, "both"),
        (True, False, 180, "none"),
        (False, True, 10, "horizontal"),
        (False, False, 10, "none"),
    ],
)
def test_auto_is_decided_by_what_was_measured(turn_free: bool, mirror_free: bool, rotation: float, flip: str) -> None:
    spec = AugmentSpec().resolved(turn_free=turn_free, mirror_free=mirror_free)
    assert (spec.rotation, spec.flip) == (rotation, flip)
    given = AugmentSpec(rotation=33, flip="horizontal")
    assert given.resolved(turn_free=turn_free, mirror_free=mirror_free) == given


@pytest.mark.parametrize(
    "values",
    [
        {"rotation": -1},
        {"rotation": 181},
        {"flip": "vertical"},
        {"scale": (0, 1)},
        {"scale": (1.2, 0.8)},
        {"shift": 0.6},
        {"brightness": 1},
        {"cutmix": 0.7, "mixup": 0.7},
        {"blur": 1},
    ],
    ids=str,
)
def test_impossible_spec_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        AugmentSpec(**values)
