"""CutMix and MixUp: labels are mixed exactly as the pixels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.augment.mix import mix_batch
from budwood.seeding import batch_generator


def flat_batch(size: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of one value each: their number; targets are one-hot on it."""
    images = torch.arange(size).float().view(-1, 1, 1, 1).expand(size, 3, side, side).clone()
    return images, torch.eye(size)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 9), side=st.integers(4, 40))
def test_cutmix_labels_are_the_shares_of_the_area(seed: int, size: int, side: int) -> None:
    images, targets = flat_batch(size, side)
    mixed, labels = mix_batch(images, targets, cutmix=1, mixup=0, generator=np.random.default_rng(seed))
    shares = torch.stack([(mixed[:, 0] == k).float().mean((1, 2)) for k in range(size)], dim=1)
    torch.testing.assert_close(labels, shares, atol=1e-5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 9))
def test_mixup_labels_are_the_shares_of_the_pixels(seed: int, size: int) -> None:
    images, targets = flat_batch(size, 4)
    mixed, labels = mix_batch(images, targets, cutmix=0, mixup=1, generator=np.random.default_rng(seed))
    torch.testing.assert_close(labels @ torch.arange(size).float(), mixed[:, 0, 0, 0], atol=1e-4, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cutmix=st.floats(0, 1), mixup=st.floats(0, 1))
def test_rows_of_targets_sum_to_one(seed: int, cutmix: float, mixup: float) -> None:
    images, targets = flat_batch(6, 8)
    _, labels = mix_batch(images, targets, cutmix=cutmix, mixup=mixup, generator=np.random.default_rng(seed))
    torch.testing.assert_close(labels.sum(1), torch.ones(6))
    assert float(labels.min()) >= 0


def test_nothing_is_mixed_when_nothing_is_asked_for() -> None:
    images, targets = flat_batch(4, 8)
    for seed in range(20):
        mixed, labels = mix_batch(images, targets, cutmix=0, mixup=0, generator=np.random.default_rng(seed))
        assert mixed is images
        assert labels is targets


@pytest.mark.parametrize(("cutmix", "mixup"), [(0.3, 0.0), (0.0, 0.3), (0.3, 0.3), (0.5, 0.5)])
def test_share_of_mixed_batches_is_the_one_asked_for(cutmix: float, mixup: float) -> None:
    images, targets = flat_batch(8, 4)
    mixed = [
        mix_batch(images, targets, cutmix=cutmix, mixup=mixup, generator=batch_generator(0, 0, step))[0] is not images
        for step in range(1000)
    ]
    assert np.mean(mixed) == pytest.approx(cutmix + mixup, abs=0.05)


@pytest.mark.parametrize(("cutmix", "mixup"), [(1, 0), (0, 1)], ids=["cutmix", "mixup"])
def test_mix_is_keyed_and_leaves_the_batch_as_it_was(cutmix: float, mixup: float) -> None:
    images, targets = flat_batch(8, 16)
    before = images.clone(), targets.clone()

    def mix(step: int) -> torch.Tensor:
        return mix_batch(images, targets, cutmix=cutmix, mixup=mixup, generator=batch_generator(0, 0, step))[0]

    assert torch.equal(mix(3), mix(3))
    assert not torch.equal(mix(3), mix(4))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])
