"""The stream of batches: complete, keyed, the same for any number of workers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet, batches, epoch_order, num_batches
from budwood.data.preprocess import Preprocess
from budwood.seeding import record_key


def make_part(size: int, *, side: int = 8) -> PixelSet:
    pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), dtype=np.uint8)
    paths = tuple(f"{i}.png" for i in range(size))
    return PixelSet(pixels=pixels, targets=np.arange(size) % 3, paths=paths, rows=np.arange(size))


def plain(pixels: NDArray[np.uint8], records: Sequence[int], epoch: int) -> torch.Tensor:
    return torch.from_numpy(pixels)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 70), batch_size=st.integers(2, 20), workers=st.sampled_from([0, 2]))
def test_every_picture_comes_once_with_its_own_label(size: int, batch_size: int, workers: int) -> None:
    part = make_part(size, side=1)
    stream = list(batches(part, plain, batch_size=batch_size, seed=1, epoch=0, workers=workers))
    assert sorted(path for batch in stream for path in batch.paths) == sorted(part.paths)
    for batch in stream:
        rows = [int(path.removesuffix(".png")) for path in batch.paths]
        np.testing.assert_array_equal(batch.targets, part.targets[rows])
        np.testing.assert_array_equal(batch.images, part.pixels[rows])
    assert len(stream) == num_batches(size, batch_size)
    sizes = [len(batch.paths) for batch in stream]
    assert size == 1 or min(sizes) > 1
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] <= batch_size + 1


def test_empty_part_gives_no_batch() -> None:
    part = replace(make_part(3), rows=np.arange(0))
    assert list(batches(part, plain, batch_size=4, seed=0, epoch=0)) == []
    assert num_batches(0, 4) == 0


def test_only_the_rows_of_the_part_come() -> None:
    part = replace(make_part(20), rows=np.array([3, 5, 17]))
    (batch,) = batches(part, plain, batch_size=8, seed=0, epoch=0)
    assert sorted(batch.paths) == ["17.png", "3.png", "5.png"]
    np.testing.assert_array_equal(part.labels, [0, 2, 2])
    assert len(part) == 3


def test_number_of_workers_changes_nothing() -> None:
    part = make_part(45, side=16)
    augment = Augment(AugmentSpec(rotation=180, flip="both"), Preprocess(size=16), seed=2)
    streams = [
        list(batches(part, augment, batch_size=8, seed=3, epoch=2, workers=workers)) for workers in (0, 1, 2, 4, 9)
    ]
    for stream in streams[1:]:
        for one, other in zip(streams[0], stream, strict=True):
            assert one.paths == other.paths
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.targets, other.targets)


def test_transform_gets_the_keys_of_the_paths_and_the_epoch() -> None:
    seen: list[tuple[list[int], int]] = []

    def spy(pixels: NDArray[np.uint8], records: Sequence[int], epoch: int) -> torch.Tensor:
        seen.append((list(records), epoch))
        return torch.from_numpy(pixels)

    (batch,) = batches(make_part(4), spy, batch_size=8, seed=0, epoch=6)
    assert seen == [([record_key(path) for path in batch.paths], 6)]


def test_order_is_keyed_by_seed_and_epoch() -> None:
    np.testing.assert_array_equal(epoch_order(50, seed=1, epoch=2), epoch_order(50, seed=1, epoch=2))
    orders = [tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert tuple(range(50)) not in orders


@pytest.mark.parametrize("workers", [0, 3])
def test_error_in_the_transform_reaches_the_reader(workers: int) -> None:
    def broken(pixels: NDArray[np.uint8], records: Sequence[int], epoch: int) -> torch.Tensor:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(batches(make_part(20), broken, batch_size=4, seed=0, epoch=0, workers=workers))


def test_workers_end_with_a_stream_that_is_left_early() -> None:
    before = threading.active_count()
    stream = batches(make_part(40), plain, batch_size=4, seed=0, epoch=0, workers=3)
    assert len(list(islice(stream, 2))) == 2
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
