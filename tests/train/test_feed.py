"""The stream of batches: complete, keyed, the same for any number of workers and from any batch on."""

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
from budwood.data.loader import PixelSet, epoch_order, num_batches
from budwood.data.preprocess import Preprocess
from budwood.seeding import record_key
from budwood.train.feed import ActivationFeed, Batch, PixelFeed, drawn_batches
from budwood.train.kept_features import KeptFeatures


def make_part(size: int, *, side: int = 8) -> PixelSet:
    pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), dtype=np.uint8)
    paths = tuple(f"{i}.png" for i in range(size))
    return PixelSet(pixels=pixels, targets=np.arange(size) % 3, paths=paths, rows=np.arange(size))


def plain(
    pixels: NDArray[np.uint8], records: Sequence[int], epoch: int, *, targets: NDArray[np.int64] | None = None
) -> torch.Tensor:
    return torch.from_numpy(pixels)


def feed(part: PixelSet, transform: object = plain) -> PixelFeed:
    return PixelFeed(part=part, transform=transform, preprocess=Preprocess(size=part.pixels.shape[1]))  # type: ignore[arg-type]


def stream(part: PixelFeed, *, batch_size: int, seed: int = 0, epoch: int = 0, **settings: int) -> list[Batch]:
    order = epoch_order(len(part.labels), seed=seed, epoch=epoch)
    return list(drawn_batches(part, order, batch_size=batch_size, epoch=epoch, **settings))


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 70), batch_size=st.integers(2, 20), workers=st.sampled_from([0, 2]))
def test_every_picture_comes_once_with_its_own_label(size: int, batch_size: int, workers: int) -> None:
    part = make_part(size, side=1)
    order = epoch_order(size, seed=1, epoch=0)
    drawn = stream(feed(part), batch_size=batch_size, seed=1, workers=workers)
    np.testing.assert_array_equal(torch.cat([b.inputs for b in drawn]), part.pixels[order])
    np.testing.assert_array_equal(torch.cat([b.targets for b in drawn]), part.targets[order])
    assert [b.number for b in drawn] == list(range(num_batches(size, batch_size)))
    sizes = [len(b.inputs) for b in drawn]
    assert size == 1 or min(sizes) > 1
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] <= batch_size + 1


def test_empty_part_gives_no_batch() -> None:
    assert stream(feed(replace(make_part(3), rows=np.arange(0))), batch_size=4) == []
    assert num_batches(0, 4) == 0


def test_only_the_rows_of_the_part_come() -> None:
    part = replace(make_part(20), rows=np.array([3, 5, 17]))
    (batch,) = stream(feed(part), batch_size=8)
    order = epoch_order(3, seed=0, epoch=0)
    np.testing.assert_array_equal(batch.inputs, part.pixels[[3, 5, 17]][order])
    np.testing.assert_array_equal(part.labels, [0, 2, 2])
    assert len(part) == 3


def wild(part: PixelSet) -> PixelFeed:
    return feed(part, Augment(AugmentSpec(rotation=180, flip="both"), Preprocess(size=16), seed=2))


@pytest.mark.parametrize("settings", [{"workers": w} for w in (1, 2, 4, 9)], ids=str)
def test_number_of_workers_changes_nothing(settings: dict[str, int]) -> None:
    part = wild(make_part(45, side=16))
    for one, other in zip(
        stream(part, batch_size=8, epoch=2), stream(part, batch_size=8, epoch=2, **settings), strict=True
    ):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.parametrize("first", [0, 1, 4, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_taken_up_in_the_middle_is_the_rest_of_the_whole(first: int, workers: int) -> None:
    part = wild(make_part(45, side=16))
    whole = stream(part, batch_size=8)[first:]
    rest = stream(part, batch_size=8, first=first, workers=workers)
    assert [b.number for b in rest] == [b.number for b in whole]
    assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(rest, whole, strict=True))


def test_a_repeat_within_an_epoch_is_drawn_anew() -> None:
    part = wild(make_part(4, side=16))
    (batch,) = drawn_batches(part, np.array([2, 2, 2, 0]), batch_size=8, epoch=0)
    (single,) = drawn_batches(part, np.array([0, 2]), batch_size=8, epoch=0)
    assert not torch.equal(batch.inputs[0], batch.inputs[1])
    assert not torch.equal(batch.inputs[1], batch.inputs[2])
    assert torch.equal(batch.inputs[0], single.inputs[1])  # the first comes as it always does
    assert torch.equal(batch.inputs[3], single.inputs[0])


def test_transform_gets_the_keys_of_the_paths_the_labels_and_the_epoch() -> None:
    seen: list[tuple[list[int], int, list[int]]] = []

    def spy(
        pixels: NDArray[np.uint8], records: Sequence[int], epoch: int, *, targets: NDArray[np.int64] | None = None
    ) -> torch.Tensor:
        assert targets is not None
        seen.append((list(records), epoch, targets.tolist()))
        return torch.from_numpy(pixels)

    part = make_part(4)
    stream(feed(part, spy), batch_size=8, epoch=6)
    order = epoch_order(4, seed=0, epoch=6)
    assert seen == [([record_key(part.paths[i]) for i in order], 6, part.targets[order].tolist())]


def test_order_is_keyed_by_seed_and_epoch() -> None:
    np.testing.assert_array_equal(epoch_order(50, seed=1, epoch=2), epoch_order(50, seed=1, epoch=2))
    orders = [tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert tuple(range(50)) not in orders


@pytest.mark.parametrize("workers", [0, 3])
def test_error_in_the_transform_reaches_the_reader(workers: int) -> None:
    def broken(*_: object, **__: object) -> torch.Tensor:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        stream(feed(make_part(20), broken), batch_size=4, workers=workers)


def test_workers_end_with_a_stream_that_is_left_early() -> None:
    before = threading.active_count()
    drawn = drawn_batches(feed(make_part(40)), np.arange(40), batch_size=4, epoch=0, workers=3)
    assert len(list(islice(drawn, 2))) == 2
    drawn.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_kept_activations_show_every_version_in_turn_and_the_plain_one_for_evaluation() -> None:
    values = np.arange(3 * 5).reshape(3, 5, 1).astype(np.float32)  # value = 5 * view + picture
    kept = ActivationFeed(kept=KeptFeatures(values), part=make_part(5))
    shown = [torch.cat([b.inputs for b in drawn_batches(kept, np.arange(5), batch_size=2, epoch=e)]) for e in range(3)]
    stacked = torch.stack(shown)[:, :, 0].long()
    assert (stacked % 5 == torch.arange(5)).all()
    assert [sorted(column.tolist()) for column in (stacked // 5).T] == [[0, 1, 2]] * 5
    np.testing.assert_array_equal(kept.plain(np.arange(5))[:, 0], np.arange(5))
    assert not kept.mixable
