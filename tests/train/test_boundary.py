"""Activations at a border: computed once, never served damaged or foreign, and trained on as if they were fresh."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.data.preprocess import Preprocess
from budwood.errors import OutputError
from budwood.models.cut import Cut, CutError, checked_cut, cut
from budwood.seeding import record_key
from budwood.train.activation_file import CHUNK
from budwood.train.border_views import PixelViews
from budwood.train.boundary import Activations, Keeping, Pictures, cache_activations, frozen_digest, views_of
from budwood.train.chain import chain
from budwood.train.features import turned
from budwood.train.worth import Work, allowed_bytes, count_work, measure_work, predict_saving

SIDE, NUM = 32, CHUNK + 40  # two chunks
PREPROCESS = Preprocess(size=SIDE)
DIGESTS = [f"picture {number}" for number in range(NUM)]
PIXELS = np.random.default_rng(0).integers(0, 256, (NUM, SIDE, SIDE, 3), dtype=np.uint8)
EXAMPLE = torch.zeros(1, 3, SIDE, SIDE)
ALL = np.arange(NUM)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=3).eval()


@pytest.fixture
def parts(model: nn.Module) -> Cut:
    return checked_cut(model, "layer2", EXAMPLE)


class Views:
    """Turns of the pictures; counts how many were asked for."""

    def __init__(self) -> None:
        turns = tuple(range(1, 8))
        keys = [record_key(digest) for digest in DIGESTS]
        self.make = PixelViews(pixels=PIXELS, rows=ALL, records=keys, preprocess=PREPROCESS, turns=turns)
        self.asked: list[int] = []

    def __call__(self, view: int, rows: NDArray[np.int64]) -> Tensor:
        self.asked += [view] * (len(rows) > 1) * len(rows)  # one row alone is asked for to learn the shape
        return self.make(view, rows)


@pytest.fixture
def views() -> Views:
    return Views()


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(folder=tmp_path / "boundaries", budget=10**9, preprocess=PREPROCESS)


def pictures(views: Views, *, num_views: int = 2, digests: Sequence[str] = DIGESTS, key: str = "turns") -> Pictures:
    return Pictures(digests=digests, make_view=views, num_views=num_views, views_key=key)


def everything(activations: Activations) -> Tensor:
    return torch.stack([activations.batch(ALL, np.full(NUM, view)) for view in range(activations.num_views)])


def test_activations_are_those_of_the_frozen_start_on_each_view(parts: Cut, views: Views, keeping: Keeping) -> None:
    kept = cache_activations(parts, pictures(views, num_views=3), keeping)
    rows, chosen = np.array([5, 0, NUM - 1, 77]), np.array([2, 0, 1, 1])
    found = kept.batch(rows, chosen)
    pairs = zip(rows, chosen, strict=True)
    images = np.concatenate([turned(PIXELS[[row]], view) for row, view in pairs])
    expected = parts.prefix(PREPROCESS.normalise(torch.from_numpy(images)))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert (len(kept), kept.shape, kept.num_bytes) == (NUM, parts.shape, 3 * NUM * 2 * int(np.prod(parts.shape)))


def test_rows_of_a_transformer_come_back_as_they_are(keeping: Keeping) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3, img_size=SIDE).eval()
    parts = checked_cut(model, "blocks.3", EXAMPLE)
    images = torch.randn(4, 3, SIDE, SIDE)
    some = Pictures(digests=DIGESTS[:4], make_view=lambda _, rows: images[rows], num_views=1, views_key="")
    kept = cache_activations(parts, some, replace(keeping, dtype="float32"))
    assert torch.equal(kept.batch(np.arange(4), np.zeros(4, np.int64)), parts.prefix(images))


def test_second_call_computes_nothing_and_gives_equal_rows(parts: Cut, views: Views, keeping: Keeping) -> None:
    first = cache_activations(parts, pictures(views), keeping)
    assert (first.computed, len(views.asked)) == (2 * NUM, 2 * NUM)
    second = cache_activations(parts, pictures(views), keeping)
    assert (second.computed, len(views.asked)) == (0, 2 * NUM)
    assert torch.equal(everything(first), everything(second))


def test_only_further_views_are_computed(parts: Cut, views: Views, keeping: Keeping) -> None:
    cache_activations(parts, pictures(views, num_views=1), keeping)
    assert cache_activations(parts, pictures(views, num_views=3), keeping).computed == 2 * NUM
    assert views.asked == [0] * NUM + [1] * NUM + [2] * NUM


def other_weights(parts: Cut) -> Cut:
    with torch.no_grad():
        parts.model.get_submodule("conv1.0").weight.add_(0.01)
    return parts


def other_statistics(parts: Cut) -> Cut:
    parts.model.get_submodule("bn1").running_mean.add_(0.01)
    return parts


OTHER: dict[str, Callable[[Cut, Pictures, Keeping], tuple[Cut, Pictures, Keeping]]] = {
    "weights": lambda c, p, k: (other_weights(c), p, k),
    "statistics": lambda c, p, k: (other_statistics(c), p, k),
    "border": lambda c, p, k: (cut(c.model, "layer3", EXAMPLE), p, k),
    "order": lambda c, p, k: (c, replace(p, digests=DIGESTS[::-1]), k),
    "views": lambda c, p, k: (c, replace(p, views_key="others"), k),
    "preprocess": lambda c, p, k: (c, p, replace(k, preprocess=Preprocess(size=SIDE, mean=(0.5, 0.5, 0.5)))),
    "bf16": lambda c, p, k: (c, p, replace(k, bf16=True)),
    "dtype": lambda c, p, k: (c, p, replace(k, dtype="float32")),
}


@pytest.mark.parametrize("change", OTHER)
def test_activations_of_anything_else_are_not_served(parts: Cut, views: Views, keeping: Keeping, change: str) -> None:
    cache_activations(parts, pictures(views, num_views=1), keeping)
    other_parts, others, otherwise = OTHER[change](parts, pictures(views, num_views=1), keeping)
    assert cache_activations(other_parts, others, otherwise).computed == NUM


def test_weights_after_the_border_do_not_count(parts: Cut, views: Views, keeping: Keeping) -> None:
    cache_activations(parts, pictures(views), keeping)
    before = frozen_digest(parts)
    with torch.no_grad():
        for parameter in parts.tail.parameters():
            parameter.add_(1)
    parts.tail.train()(parts.prefix(torch.randn(4, 3, SIDE, SIDE)))  # moves BatchNorm's statistics
    assert frozen_digest(parts) == before
    assert cache_activations(parts, pictures(views), keeping).computed == 0


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after", [1, 2, 3])
def test_chunks_made_before_a_kill_are_not_made_again(parts: Cut, views: Views, keeping: Keeping, after: int) -> None:
    whole = everything(cache_activations(parts, pictures(views), replace(keeping, folder=keeping.folder / "whole")))

    def dying(event: object) -> None:
        if type(event).__name__ == "StepAdvanced":
            done.append(1)
            if len(done) == after:
                raise Killed

    done: list[int] = []
    with pytest.raises(Killed):
        cache_activations(parts, pictures(views), keeping, listen=dying)
    kept = cache_activations(parts, pictures(views), keeping)
    made = [CHUNK, NUM, NUM + CHUNK][after - 1]
    assert kept.computed == 2 * NUM - made
    assert torch.equal(everything(kept), whole)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "empty": (lambda data: b"", NUM),
    "cut": (lambda data: data[:-1], NUM - CHUNK),
    "one bit": (lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:], CHUNK),
    "longer": (lambda data: data + b"more", 0),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_chunks_are_made_again(parts: Cut, views: Views, keeping: Keeping, damage: str) -> None:
    first = cache_activations(parts, pictures(views, num_views=1), keeping)
    rows, change = everything(first).clone(), DAMAGES[damage]
    file = first.folder / "view0.bin"
    data = file.read_bytes()
    del first  # nothing is mapped while the file shrinks
    file.write_bytes(change[0](data))
    again = cache_activations(parts, pictures(views, num_views=1), keeping)
    assert again.computed == change[1]
    assert torch.equal(everything(again), rows)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"0": "x"}', '{"0": 1}', "null", '{"x": 1}', '{"0": null}'])
def test_damaged_table_serves_nothing(parts: Cut, views: Views, keeping: Keeping, text: str) -> None:
    first = cache_activations(parts, pictures(views, num_views=1), keeping)
    (first.folder / "view0.json").write_text(text)
    assert cache_activations(parts, pictures(views, num_views=1), keeping).computed == NUM


def test_checksum_of_nothing_serves_no_empty_file(parts: Cut, views: Views, keeping: Keeping) -> None:
    folder = cache_activations(parts, pictures(views, num_views=1), keeping).folder
    (folder / "view0.json").write_text('{"0": 0, "1": 0}')
    (folder / "view0.bin").write_bytes(b"")
    assert cache_activations(parts, pictures(views, num_views=1), keeping).computed == NUM


@pytest.mark.parametrize("number", [30, pytest.param(3_000, marks=pytest.mark.slow)])
def test_no_mutation_of_the_table_or_the_rows_is_served(
    parts: Cut, views: Views, keeping: Keeping, number: int
) -> None:
    given = pictures(views, num_views=1)
    first = cache_activations(parts, given, keeping)
    rows, generator = everything(first).clone(), np.random.default_rng(0)
    files = [first.folder / "view0.json", first.folder / "view0.bin"]
    good, wrong = [file.read_bytes() for file in files], 0
    del first
    for step in range(number):
        bad = bytearray(good[step % 2])
        bad[generator.integers(len(bad))] = int(generator.integers(256))
        files[step % 2].write_bytes(bytes(bad))
        wrong += not torch.equal(everything(cache_activations(parts, given, keeping)), rows)
    assert wrong == 0


def test_more_than_the_budget_is_refused_before_anything_is_made(parts: Cut, views: Views, keeping: Keeping) -> None:
    with pytest.raises(OutputError, match="are allowed; take fewer views or a deeper border"):
        cache_activations(parts, pictures(views), replace(keeping, budget=10**5))
    assert not views.asked
    assert not keeping.folder.exists()


def test_write_that_fails_says_so_and_costs_no_good_chunk(parts: Cut, views: Views, keeping: Keeping) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    first_chunk = CHUNK * 2 * int(np.prod(parts.shape))
    resource.setrlimit(resource.RLIMIT_FSIZE, (first_chunk + 100, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot keep activations .*train\.cache=off"):
            cache_activations(parts, pictures(views), keeping)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cache_activations(parts, pictures(views), keeping).computed == 2 * NUM - CHUNK


def test_folder_that_cannot_be_made_is_an_error_in_words(parts: Cut, views: Views, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot keep activations in"):
        cache_activations(
            parts, pictures(views), Keeping(folder=tmp_path / "file", budget=10**9, preprocess=PREPROCESS)
        )


def test_activations_too_large_for_float16_are_refused(parts: Cut, views: Views, keeping: Keeping) -> None:
    with torch.no_grad():
        parts.model.get_submodule("bn1").weight.mul_(1e6)
    with pytest.raises(CutError, match="too large for float16"):
        cache_activations(parts, pictures(views), keeping)


def test_training_on_kept_float32_activations_is_training_on_pictures(
    model: nn.Module, views: Views, keeping: Keeping
) -> None:
    parts = checked_cut(model, "layer2", EXAMPLE)
    labels, losses = torch.from_numpy(ALL % 3), {}
    start = {name: value.clone() for name, value in model.state_dict().items()}
    # Folding BatchNorm reorders float32 arithmetic in the last digits.
    kept = cache_activations(parts, pictures(views), replace(keeping, dtype="float32"))
    for way in ("pictures", "kept"):
        model.load_state_dict(start)
        optimizer = torch.optim.SGD(parts.tail.parameters(), lr=0.05)
        losses[way] = []
        for step in range(4):
            rows = np.arange(step * 32, step * 32 + 32)
            given = parts.prefix(views.make(1, rows)) if way == "pictures" else kept.batch(rows, np.full(32, 1))
            loss = nn.functional.cross_entropy(parts.tail(given), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[way].append(float(loss.detach()))
    np.testing.assert_allclose(losses["kept"], losses["pictures"], rtol=1e-4)
    assert losses["kept"][0] != losses["kept"][1]


@pytest.fixture
def cuts(model: nn.Module) -> list[Cut]:
    return [checked_cut(model, border, EXAMPLE) for border in ("layer1", "layer2", "layer3", "layer4")]


def test_chain_gives_each_border_what_it_would_have_alone(cuts: list[Cut], views: Views, keeping: Keeping) -> None:
    for parts, kept in chain(cuts, pictures(views), keeping):
        alone = cache_activations(parts, pictures(views), replace(keeping, folder=keeping.folder / "alone"))
        found, expected = everything(kept), everything(alone)
        # float16 rounds once more at each border on the way
        torch.testing.assert_close(found, expected, rtol=0, atol=4e-3 * float(expected.abs().max()))


def test_chain_and_a_border_alone_do_not_serve_each_other(cuts: list[Cut], views: Views, keeping: Keeping) -> None:
    list(chain(cuts[:2], pictures(views), keeping, keep=True))
    assert cache_activations(cuts[1], pictures(views), keeping).computed == 2 * NUM
    assert cache_activations(cuts[0], pictures(views), keeping).computed == 0  # made from the pictures in both


def test_chain_looks_at_the_pictures_once_and_leaves_the_last_set(
    cuts: list[Cut], views: Views, keeping: Keeping
) -> None:
    borders = [parts.border for parts, _ in chain(cuts, pictures(views), keeping)]
    assert borders == ["layer1", "layer2", "layer3", "layer4"]
    assert len(views.asked) == 2 * NUM
    assert len(list(keeping.folder.iterdir())) == 1


def test_stopped_chain_goes_on_at_its_border(cuts: list[Cut], views: Views, keeping: Keeping) -> None:
    whole = replace(keeping, folder=keeping.folder / "whole")
    unbroken = {parts.border: everything(kept) for parts, kept in chain(cuts, pictures(views), whole)}
    views.asked.clear()
    for parts, _ in chain(cuts, pictures(views), keeping):
        if parts.border == "layer3":
            break
    asked = len(views.asked)
    rest = [
        (parts.border, everything(k)) for parts, k in chain(cuts, pictures(views), keeping, done=("layer1", "layer2"))
    ]
    assert [border for border, _ in rest] == ["layer3", "layer4"]
    assert len(views.asked) == asked
    assert all(torch.equal(found, unbroken[border]) for border, found in rest)


def test_chain_against_the_order_is_refused(cuts: list[Cut], views: Views, keeping: Keeping) -> None:
    with pytest.raises(CutError, match="lies before"):
        list(chain(cuts[::-1], pictures(views), keeping))


def test_each_picture_meets_all_its_views_in_turn() -> None:
    records = [record_key(digest) for digest in DIGESTS]
    table = np.stack([views_of(epoch, records, num_views=4) for epoch in range(4)])
    assert (np.sort(table, axis=0) == np.arange(4)[:, None]).all()
    assert set(table[0]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(views_of(7, records[5:9], num_views=4), views_of(7, records, num_views=4)[5:9])


def test_views_are_plain_then_turned_then_drawn_by_number() -> None:
    def transform(pixels: NDArray[np.uint8], records: Sequence[int], epoch: int) -> Tensor:
        assert records == [11, 13]
        return torch.full((len(pixels), 3, 4, 4), float(epoch))

    make = PixelViews(
        pixels=PIXELS,
        rows=np.array([7, 8, 9, 10]),
        records=[10, 11, 12, 13],
        preprocess=PREPROCESS,
        transform=transform,
        turns=(4,),
    )
    rows = np.array([1, 3])
    assert torch.equal(make(0, rows), PREPROCESS.normalise(torch.from_numpy(PIXELS[[8, 10]])))
    assert torch.equal(make(1, rows), make(0, rows).flip(3))
    assert make(2, rows).unique() == 2
    with pytest.raises(IndexError, match="view 2 was asked for"):
        replace(make, transform=None)(2, rows)


WORK = Work(prefix=3.0, tail_forward=1.0, tail_training=3.0)


@pytest.mark.parametrize(
    ("epochs", "views", "trainings", "use"),
    [(24, 4, 1, True), (4, 4, 1, False), (4, 4, 10, True), (24, 30, 1, False), (1, 1, 1, False)],
)
def test_cache_is_used_where_epochs_outnumber_views(epochs: int, views: int, trainings: int, use: bool) -> None:
    found = predict_saving(
        WORK, shape=(8, 4, 4), pictures=1000, epochs=epochs, views=views, budget=10**9, trainings=trainings
    )
    rounds = epochs * trainings
    assert found.use is use
    assert found.predicted_ratio == pytest.approx(rounds * 6 / (rounds * 3 + views * 3))
    assert found.bytes == 1000 * views * 256
    assert found.reason.startswith("used: " if use else "not used: ")


def test_cache_beyond_the_budget_is_not_used_and_says_so() -> None:
    found = predict_saving(WORK, shape=(61, 512), pictures=2268, epochs=18, views=4, budget=500_000_000)
    assert not found.use
    assert found.reason == "not used: 18 epochs, 4 views of 61 KiB x 2268 = 0.57 GB, of which 0.50 GB may be taken"


def test_little_frozen_work_is_not_worth_it() -> None:
    found = predict_saving(
        replace(WORK, prefix=0.2), shape=(8,), pictures=100, epochs=50, views=2, val_pictures=20, budget=10**9
    )
    assert not found.use
    assert "6 % of a step is frozen" in found.reason
    assert found.bytes == (100 * 2 + 20) * 16


def test_counted_work_moves_from_the_tail_to_the_prefix_with_the_border(cuts: list[Cut]) -> None:
    work = [count_work(parts, EXAMPLE) for parts in cuts]
    shares = [each.prefix_share for each in work]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    first = count_work(cut(cuts[0].model, "bn1", EXAMPLE), EXAMPLE)  # layers before the border count on its side only
    assert len({round(each.prefix + each.tail_forward) for each in [first, *work]}) == 1
    assert work == [count_work(parts, EXAMPLE) for parts in cuts]


def test_measuring_work_leaves_the_model_as_it_was(parts: Cut) -> None:
    parts.model.train()
    before = {name: value.clone() for name, value in parts.model.state_dict().items()}
    found = measure_work(parts, torch.randn(2, 3, SIDE, SIDE), repeats=1)
    assert min(found.prefix, found.tail_forward, found.tail_training) > 0
    assert all(torch.equal(before[name], value) for name, value in parts.model.state_dict().items())
    assert all(parameter.grad is None for parameter in parts.model.parameters())


def test_allowed_bytes_are_no_more_than_the_disk_has(tmp_path: Path) -> None:
    assert allowed_bytes(tmp_path / "not" / "there", budget=1000) == 1000
    assert allowed_bytes(tmp_path, budget=10**18) < 10**18


def test_table_names_every_chunk(parts: Cut, views: Views, keeping: Keeping) -> None:
    kept = cache_activations(parts, pictures(views, num_views=1), keeping)
    assert sorted(json.loads((kept.folder / "view0.json").read_text())) == ["0", "1"]
