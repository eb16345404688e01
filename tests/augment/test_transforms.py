"""Random augmentation: each picture draws for itself, whoever asks, and each operation does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.augment.transforms import NUMBERS, OPERATIONS, Augment, AugmentSpec
from budwood.data.preprocess import Preprocess
from budwood.errors import SettingsError

Pixels = NDArray[np.uint8]
Calm = Callable[..., AugmentSpec]
PREPROCESS = Preprocess(size=24)
# Settings under which an operation is sure to do something, by its name.
ACTIVE: dict[str, dict[str, Any]] = {
    "move": {"rotation": 180, "flip": "both", "scale": (0.8, 1.2), "shift": 0.1, "shear": 10},
    "recolour": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1, "grayscale": 0.2},
    "blur": {"blur": 1},
    "jpeg": {"jpeg": 1},
    "gridmask": {"gridmask": 1},
    "cutout": {"cutout": 1},
}
EVERYTHING = AugmentSpec(**{key: value for keys in ACTIVE.values() for key, value in keys.items()})


def test_every_operation_has_settings_that_turn_it_on() -> None:
    assert ACTIVE.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_the_same_for_equal_keys_and_another_in_other_epochs(
    calm: Calm, patches: Pixels, name: str
) -> None:
    augment = Augment(calm(**ACTIVE[name]), Preprocess(size=48), seed=3)
    first = augment(patches, range(6), 1)
    assert torch.equal(first, Augment(augment.spec, augment.preprocess, seed=3)(patches, range(6), 1))
    for other in (augment(patches, range(6), 2), augment(patches, range(10, 16), 1)):
        assert bool((first != other).flatten(1).any(1).all())
    assert not torch.equal(first, Augment(augment.spec, augment.preprocess, seed=4)(patches, range(6), 1))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_leaves_its_input_and_the_size_alone(calm: Calm, noise: Pixels, name: str) -> None:
    numbers = np.random.default_rng(0).random(NUMBERS).tolist()
    picture = noise[0]  # it is read-only
    out = OPERATIONS[name](picture, numbers, calm(**ACTIVE[name]), (9, 9, 9))
    assert (out.shape, out.dtype) == ((24, 24, 3), np.uint8)
    assert (out != picture).any()
    assert OPERATIONS[name](picture, numbers, calm(), (9, 9, 9)) is picture


@pytest.mark.parametrize("name", OPERATIONS)
def test_turning_one_operation_on_does_not_change_what_others_draw(calm: Calm, noise: Pixels, name: str) -> None:
    seen: dict[bool, dict[str, list[float]]] = {}
    for on in (False, True):
        heard = seen[on] = {}
        spec = calm(**(ACTIVE[name] if on else {}))
        with pytest.MonkeyPatch.context() as patch:
            for other in OPERATIONS:

                def hear(pixels: Pixels, numbers: list[float], *_: Any, other: str = other, to: Any = heard) -> Pixels:
                    to[other] = numbers
                    return pixels

                patch.setitem(OPERATIONS, other, hear)
            Augment(spec, PREPROCESS, seed=0)(noise[:1], [5], 2)
    assert seen[False] == seen[True]
    assert len({tuple(numbers) for numbers in seen[True].values()}) == len(OPERATIONS)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(6)), cut=st.integers(0, 6), epoch=st.integers(0, 50))
def test_picture_is_changed_alike_in_any_batch(noise: Pixels, order: list[int], cut: int, epoch: int) -> None:
    augment = Augment(EVERYTHING, PREPROCESS, seed=4)
    together = augment(noise, range(6), epoch)
    parts = [part for part in (order[:cut], order[cut:]) if part]
    split = torch.cat([augment(noise[part], part, epoch) for part in parts])
    assert torch.equal(split, together[order])


def test_picture_is_changed_alike_by_any_number_of_threads(noise: Pixels) -> None:
    augment = Augment(EVERYTHING, PREPROCESS, seed=4)
    alone = [augment(noise, range(6), epoch) for epoch in range(24)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda epoch: augment(noise, range(6), epoch), range(24)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    "preprocess", [PREPROCESS, Preprocess(size=24, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)], ids=["net", "lite"]
)
def test_spec_that_changes_nothing_gives_exactly_what_prediction_sees(
    calm: Calm, noise: Pixels, preprocess: Preprocess
) -> None:
    out = Augment(calm(), preprocess, seed=0)(noise, range(6), 0)
    assert torch.equal(out, preprocess.normalise(torch.from_numpy(noise.copy())))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.dtype == torch.float32


def test_pixels_are_what_the_network_is_given(noise: Pixels) -> None:
    augment = Augment(EVERYTHING, PREPROCESS, seed=0)
    seen = augment.pixels(noise, range(6), 7)
    assert torch.equal(PREPROCESS.normalise(torch.from_numpy(seen)), augment(noise, range(6), 7))
    assert augment.pixels(noise[:0], [], 7).shape == (0, 24, 24, 3)
    assert augment(noise[:0], [], 7).shape == (0, 3, 24, 24)


@pytest.mark.parametrize("name", ["cutout", "gridmask"])
def test_hidden_part_is_next_to_zero_in_the_networks_input(calm: Calm, name: str) -> None:
    white = np.full((1, 24, 24, 3), 255, dtype=np.uint8)
    out = Augment(calm(**ACTIVE[name]), PREPROCESS, seed=0)(white, [0], 0)
    hidden = out < out.max() - 1
    assert bool(hidden.any())
    assert float(out[hidden].abs().max()) < 0.02


def test_settings_of_a_class_touch_that_class_only(calm: Calm, noise: Pixels) -> None:
    spec = calm(classes={"b": {"brightness": 0.5, "flip": "both"}})
    targets = np.array([0, 1, 2, 1, 0, 2])
    seen = Augment(spec, PREPROCESS, seed=0, classes=("a", "b", "c", "d")).pixels(noise, range(6), 0, targets=targets)
    others = targets != 1
    np.testing.assert_array_equal(seen[others], noise[others])
    assert all((seen[i] != noise[i]).any() for i in (1, 3))
    alone = Augment(calm(brightness=0.5, flip="both"), PREPROCESS, seed=0).pixels(noise, range(6), 0)
    np.testing.assert_array_equal(seen[~others], alone[~others])


def test_settings_of_a_class_need_its_name_and_the_targets(calm: Calm, noise: Pixels) -> None:
    spec = calm(classes={"b": {"brightness": 0.5}})
    with pytest.raises(SettingsError, match='the pictures have no class "b"'):
        Augment(spec, PREPROCESS, seed=0, classes=("oak", "elm"))
    with pytest.raises(ValueError, match="hand in the names of the classes"):
        Augment(spec, PREPROCESS, seed=0)
    with pytest.raises(ValueError, match="hand in the targets"):
        Augment(spec, PREPROCESS, seed=0, classes=("a", "b"))(noise, range(6), 0)


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(),
        AugmentSpec(rotation=5),
        AugmentSpec(flip="none"),
        AugmentSpec(rotation=5, flip="none", classes={"a": {"flip": "auto"}}),
    ],
    ids=["both", "flip", "rotation", "class"],
)
def test_undecided_spec_is_refused(spec: AugmentSpec) -> None:
    with pytest.raises(ValueError, match="resolve the spec first"):
        Augment(spec, PREPROCESS, seed=0, classes=("a",))
