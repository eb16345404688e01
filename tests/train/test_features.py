"""Frozen features: computed once, never served from a damaged or foreign shard, the same in any batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from budwood.data.copies.duplicates import dihedral
from budwood.data.preprocess import Preprocess
from budwood.events import StepAdvanced
from budwood.models.backbones import load_backbone
from budwood.train.features import FeatureCache, FeatureSource, frozen_features, turned

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def source() -> FeatureSource:
    torch.manual_seed(0)
    backbone = load_backbone("test_resnet", pretrained=False)
    return FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=Preprocess(size=32),
        identity="test_resnet random",
        bf16=False,
    )


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features")


DIGESTS = list("abcdef")


class Computed:
    """A listener that counts the pictures that go through the network."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: object) -> None:
        if isinstance(event, StepAdvanced):
            self.count += event.count


def run(
    source: FeatureSource, pixels: Pixels, cache: FeatureCache | None, *, rows: list[int], views: tuple[int, ...] = (0,)
) -> tuple[NDArray[np.float32], int]:
    computed = Computed()
    digests = [DIGESTS[i] for i in rows]
    return frozen_features(source, pixels[rows], digests, views=views, cache=cache, listen=computed), computed.count


@pytest.mark.parametrize("view", range(8))
def test_view_is_the_turn_that_the_audit_names_so(pixels: Pixels, view: int) -> None:
    expected = np.stack([dihedral(picture, view) for picture in pixels])
    np.testing.assert_array_equal(turned(pixels, view), expected)


def test_views_are_eight_different_pictures(pixels: Pixels) -> None:
    assert len({turned(pixels, view).tobytes() for view in range(8)}) == 8


def test_features_are_those_of_the_network_on_the_turned_picture(source: FeatureSource, pixels: Pixels) -> None:
    features, _ = run(source, pixels, None, rows=[0, 1, 2], views=(0, 5))
    assert features.shape == (2, 3, source.num_features)
    with torch.inference_mode():
        for row, view in enumerate((0, 5)):
            turn = np.stack([dihedral(picture, view) for picture in pixels[:3]])
            expected = source.module.eval()(source.preprocess.normalise(torch.from_numpy(turn))).numpy()
            np.testing.assert_allclose(features[row], expected, atol=1e-3 * np.abs(expected).max())


def test_features_do_not_depend_on_the_batch(source: FeatureSource) -> None:
    many = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    together = frozen_features(source, many, [str(i) for i in range(40)], views=(0,))
    alone = np.stack([frozen_features(source, many[i : i + 1], [str(i)], views=(0,))[0, 0] for i in (0, 7, 33, 39)])
    np.testing.assert_allclose(together[0, [0, 7, 33, 39]], alone, atol=1e-3 * np.abs(together).max())


def test_second_run_computes_nothing_and_gives_equal_rows(
    source: FeatureSource, pixels: Pixels, cache: FeatureCache
) -> None:
    first, computed = run(source, pixels, cache, rows=list(range(6)), views=(0, 4))
    assert computed == 12
    second, computed = run(source, pixels, cache, rows=list(range(6)), views=(0, 4))
    assert computed == 0
    np.testing.assert_array_equal(first, second)


def test_some_of_the_pictures_in_another_order_are_not_computed_again(
    source: FeatureSource, pixels: Pixels, cache: FeatureCache
) -> None:
    first, _ = run(source, pixels, cache, rows=list(range(6)))
    some, computed = run(source, pixels, cache, rows=[4, 1])
    assert computed == 0
    np.testing.assert_array_equal(some[0], first[0, [4, 1]])


def test_only_new_pictures_and_views_are_computed(source: FeatureSource, pixels: Pixels, cache: FeatureCache) -> None:
    first, _ = run(source, pixels, cache, rows=[0, 1, 2])
    more, computed = run(source, pixels, cache, rows=[5, 0, 3, 1, 2, 4])
    assert computed == 3
    np.testing.assert_array_equal(more[0, [1, 3, 4]], first[0])
    assert run(source, pixels, cache, rows=[0, 1, 2], views=(0, 2))[1] == 3
    assert run(source, pixels, cache, rows=list(range(6)))[1] == 0  # two shards answer together


@pytest.mark.parametrize(
    "change",
    [
        {"identity": "test_resnet other weights"},
        {"preprocess": Preprocess(size=32, mean=(0.5, 0.5, 0.5))},
        {"bf16": True},
    ],
    ids=["backbone", "preprocess", "bf16"],
)
def test_rows_of_another_source_are_not_used(
    source: FeatureSource, pixels: Pixels, cache: FeatureCache, change: dict[str, object]
) -> None:
    run(source, pixels, cache, rows=[0, 1])
    assert run(replace(source, **change), pixels, cache, rows=[0, 1])[1] == 2
    assert run(source, pixels, cache, rows=[0, 1])[1] == 0


def test_bfloat16_features_are_close_to_float32(source: FeatureSource, pixels: Pixels) -> None:
    exact, _ = run(source, pixels, None, rows=list(range(6)))
    rough, _ = run(replace(source, bf16=True), pixels, None, rows=list(range(6)))
    assert not np.array_equal(exact, rough)
    assert np.abs(exact - rough).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"junk" * 50, id="junk"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut"),
        pytest.param(lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:], id="one bit"),
        pytest.param(lambda data: data[:-10] + b"\xff" * 10, id="end"),
        pytest.param(lambda data: b"PK\x03\x04" + b"\0" * 100, id="zip without content"),
    ],
)
def test_damaged_shard_is_dropped_and_computed_again(
    source: FeatureSource, pixels: Pixels, cache: FeatureCache, damage: object
) -> None:
    first, _ = run(source, pixels, cache, rows=list(range(6)))
    (shard,) = cache.folder.rglob("*.npz")
    shard.write_bytes(damage(shard.read_bytes()))  # type: ignore[operator]
    raised = ""
    try:
        again, computed = run(source, pixels, cache, rows=list(range(6)))
    except Exception as error:
        raised = repr(error)
    assert raised == ""
    assert computed == 6
    np.testing.assert_array_equal(first, again)
    assert run(source, pixels, cache, rows=list(range(6)))[1] == 0


@pytest.mark.parametrize("number", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_mutation_of_a_shard_raises_or_gives_other_rows(
    source: FeatureSource, pixels: Pixels, cache: FeatureCache, number: int
) -> None:
    features, _ = run(source, pixels, cache, rows=list(range(6)))
    (shard,) = cache.folder.rglob("*.npz")
    data, generator, raised = shard.read_bytes(), np.random.default_rng(0), ""
    for _ in range(number):
        bad = bytearray(data)
        for at in generator.integers(0, len(bad), 3):
            bad[at] = int(generator.integers(256))
        shard.write_bytes(bytes(bad))
        try:
            kept = cache.load(source, 0)
        except Exception as error:
            raised = repr(error)
        assert raised == ""
        assert all(np.array_equal(kept[d].astype(np.float32), features[0, DIGESTS.index(d)]) for d in kept)


def test_source_network_is_left_as_it_was(source: FeatureSource, pixels: Pixels) -> None:
    before = {name: value.clone() for name, value in source.module.state_dict().items()}
    run(replace(source, bf16=True), pixels, None, rows=[0, 1])
    after = source.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
