"""CutMix and MixUp: labels are mixed exactly as the pixels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.augment.mix import mix_batch
from budwood.augment.spec import AugmentSpec
from budwood.seeding import batch_generator

CUTMIX = AugmentSpec(cutmix=1)
MIXUP = AugmentSpec(cutmix=0, mixup=1)


def flat_batch(size: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of one value each: their number; targets are one-hot on it."""
    images = torch.arange(size).float().view(-1, 1, 1, 1).expand(size, 3, side, side).clone()
    return images, torch.eye(size)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 9), side=st.integers(4, 40))
def test_cutmix_labels_are_the_shares_of_the_area(seed: int, size: int, side: int) -> None:
    images, targets = flat_batch(size, side)
    mixed, labels = mix_batch(images, targets, spec=CUTMIX, generator=np.random.default_rng(seed))
    shares = torch.stack([(mixed[:, 0] == k).float().mean((1, 2)) for k in range(size)], dim=1)
    torch.testing.assert_close(labels, shares, atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    side=st.integers(8, 60),
    limits=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda pair: (min(pair), max(pair))),
    beta=st.floats(0.1, 5),
)
def test_pasted_area_is_within_the_limits(seed: int, side: int, limits: tuple[float, float], beta: float) -> None:
    images, targets = torch.zeros(2, 3, side, side), torch.eye(2)
    images[1] = 1
    generator = np.random.default_rng(seed)
    spec = AugmentSpec(cutmix=1, cutmix_area=limits, cutmix_beta=beta)
    for _ in range(40):  # in every other batch, each of the two is its own partner
        mixed, labels = mix_batch(images, targets, spec=spec, generator=generator)
        share = float(mixed[0].mean())
        assert float(labels[0, 1]) == pytest.approx(share, abs=1e-5)
        if share:
            break
    assert limits[0] - 0.6 / side <= share <= limits[1] + 0.6 / side  # rounded to whole columns


def test_equal_limits_give_the_same_labels_in_every_batch() -> None:
    images, targets = flat_batch(8, 50)
    spec = AugmentSpec(cutmix=1, cutmix_area=(0.4, 0.4))
    for seed in range(20):
        _, labels = mix_batch(images, targets, spec=spec, generator=np.random.default_rng(seed))
        for row in labels[labels.max(1).values < 1]:  # a picture may be its own partner
            assert sorted(row.tolist())[-2:] == pytest.approx([0.4, 0.6], abs=0.01)


def test_beta_decides_whether_shares_lie_in_the_middle_or_at_the_ends() -> None:
    def spread(**values: float) -> float:
        images, targets = flat_batch(2, 32)
        spec = AugmentSpec(**{"cutmix": 0, "mixup": 0, **values})
        drawn = [
            mix_batch(images, targets, spec=spec, generator=np.random.default_rng(seed))[1][0, 1] for seed in range(300)
        ]
        shares = np.array([float(share) for share in drawn if share > 0])
        return float(np.abs(shares - 0.5).mean())

    assert spread(cutmix=1, cutmix_beta=20) < 0.1 < 0.2 < spread(cutmix=1) < 0.3
    assert spread(mixup=1, mixup_beta=20) < 0.1 < spread(mixup=1, mixup_beta=1) < 0.3 < spread(mixup=1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 9))
def test_mixup_labels_are_the_shares_of_the_pixels(seed: int, size: int) -> None:
    images, targets = flat_batch(size, 4)
    mixed, labels = mix_batch(images, targets, spec=MIXUP, generator=np.random.default_rng(seed))
    torch.testing.assert_close(labels @ torch.arange(size).float(), mixed[:, 0, 0, 0], atol=1e-4, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cutmix=st.floats(0, 1), beta=st.floats(0.05, 10))
def test_rows_of_targets_sum_to_one(seed: int, cutmix: float, beta: float) -> None:
    images, targets = flat_batch(6, 8)
    spec = AugmentSpec(cutmix=cutmix, mixup=1 - cutmix, cutmix_beta=beta, mixup_beta=beta)
    _, labels = mix_batch(images, targets, spec=spec, generator=np.random.default_rng(seed))
    torch.testing.assert_close(labels.sum(1), torch.ones(6))
    assert float(labels.min()) >= 0


def test_nothing_is_mixed_when_nothing_is_asked_for() -> None:
    images, targets = flat_batch(4, 8)
    for seed in range(20):
        mixed, labels = mix_batch(images, targets, spec=AugmentSpec(cutmix=0), generator=np.random.default_rng(seed))
        assert mixed is images
        assert labels is targets


@pytest.mark.parametrize(("cutmix", "mixup"), [(0.3, 0.0), (0.0, 0.3), (0.3, 0.3), (0.5, 0.5)])
def test_share_of_mixed_batches_is_the_one_asked_for(cutmix: float, mixup: float) -> None:
    images, targets = flat_batch(8, 4)
    spec = AugmentSpec(cutmix=cutmix, mixup=mixup)
    mixed = [
        mix_batch(images, targets, spec=spec, generator=batch_generator(0, 0, step))[0] is not images
        for step in range(1000)
    ]
    assert np.mean(mixed) == pytest.approx(cutmix + mixup, abs=0.05)


@pytest.mark.parametrize("spec", [CUTMIX, MIXUP], ids=["cutmix", "mixup"])
def test_mix_is_keyed_and_leaves_the_batch_as_it_was(spec: AugmentSpec) -> None:
    images, targets = flat_batch(8, 16)
    before = images.clone(), targets.clone()

    def mix(step: int) -> torch.Tensor:
        return mix_batch(images, targets, spec=spec, generator=batch_generator(0, 0, step))[0]

    assert torch.equal(mix(3), mix(3))
    assert not torch.equal(mix(3), mix(4))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])
