"""A pool: every picture-view passes each block once for all trainings, and gives what each would make for itself."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.data.rounds import Round
from budwood.errors import IntegrityError
from budwood.events import Warned
from budwood.files import read_json
from budwood.models.build import Classifier
from budwood.models.cut import checked_cut
from budwood.train import boundary
from budwood.train.boundary import Keeping
from budwood.train.chain import Demand, plan_chain, rows_of
from budwood.train.feed import ActivationFeed, Feed
from budwood.train.pool import Pool, PoolPart, border_of
from budwood.train.pool_views import PixelVersions, pictures_of
from budwood.train.stages import Stage
from budwood.train.worth import Work

SIDE, NUM, VIEWS, EPOCHS = 32, 36, 3, 6
PREPROCESS = Preprocess(size=SIDE)
SPEC = AugmentSpec(rotation=10, flip="horizontal", cutmix=0)
FOLDS = tuple(Round(tuple(i for i in range(NUM) if i % 3 != fold), tuple(range(fold, NUM, 3))) for fold in range(3))
HOLDOUT = (Round(tuple(range(24)), tuple(range(24, NUM))),)
DEPTHS = (Stage(trains="all"), Stage(trains=4), Stage(trains=2), Stage(trains=1))


class Counting(nn.Module):
    """Passes its input on and counts the pictures that are kept of it."""

    passed: ClassVar[Counter[str]] = Counter()
    on = False

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.name, self.inner = name, inner

    def forward(self, inputs: Tensor) -> Tensor:
        if Counting.on:
            Counting.passed[self.name] += len(inputs)
        out: Tensor = self.inner(inputs)
        return out


class Chained(nn.Module):
    """Six blocks one after the other; ``layers.0`` to ``layers.5``."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 4, 6, 6, 8, 8, 8]
        self.layers = nn.Sequential(
            *(
                Counting(
                    f"layers.{n}",
                    nn.Sequential(nn.Conv2d(a, b, 3, stride=1 + n % 2, padding=1), nn.BatchNorm2d(b), nn.ReLU()),
                )
                for n, (a, b) in enumerate(itertools.pairwise(widths))
            )
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.pool(self.layers(images))
        return out


@pytest.fixture
def model(tiny: Callable[..., Classifier]) -> Classifier:
    found = tiny()
    torch.manual_seed(1)
    found.backbone, found.head = Chained().eval(), nn.Linear(8, 3)
    return found.eval()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Pictures that passed each block while activations were made; checks and forecasts do not count."""
    real = boundary._run

    def run(*args: object, **settings: object) -> object:
        Counting.on = True
        try:
            return real(*args, **settings)
        finally:
            Counting.on = False

    monkeypatch.setattr(boundary, "_run", run)
    Counting.passed = Counter()
    return Counting.passed


@pytest.fixture
def pixels(squares: Callable[..., PixelSet]) -> PixelSet:
    return squares(NUM)


@pytest.fixture
def open_pool(pixels: PixelSet, tmp_path: Path) -> Callable[..., Pool]:
    def opened(
        rounds: tuple[Round, ...] = FOLDS, *, name: str = "pool", listen: object = None, **changes: object
    ) -> Pool:
        transform = Augment(SPEC, PREPROCESS, seed=0)
        parts = []
        for rows, views in zip(rows_of(rounds), (VIEWS, 1), strict=True):
            if rows:
                part = replace(pixels, rows=np.array(rows))
                digests = [pixels.paths[i] for i in rows]
                made = pictures_of(
                    part, digests, transform=transform, preprocess=PREPROCESS, num_views=views, views_key="draws"
                )
                parts.append(PoolPart(rows=part.rows, pictures=made))
        demand = Demand.of(rounds, views=VIEWS, epochs=EPOCHS, repeats=2, budget=10**9, always=True)
        return Pool(
            parts,
            stages=DEPTHS[::-1],
            demand=replace(demand, **changes),
            keeping=Keeping(folder=tmp_path / name, budget=10**9, preprocess=PREPROCESS),
            decisions=tmp_path / "chain.json",
            listen=listen or (lambda event: None),
        )

    return opened


def part(pixels: PixelSet, rows: tuple[int, ...]) -> PixelSet:
    return replace(pixels, rows=np.array(rows))


def plain(chosen: PixelSet) -> Tensor:
    return PREPROCESS.normalise(torch.from_numpy(np.ascontiguousarray(chosen.pixels[chosen.rows])))


def drawn(feed: Feed, epoch: int) -> Tensor:
    return feed.drawn(np.arange(len(feed.labels)), np.zeros(len(feed.labels), dtype=np.int64), epoch)


def test_each_view_of_a_picture_passes_each_block_once_in_all_trainings(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], counted: Counter[str]
) -> None:
    pool = open_pool()
    for stage in DEPTHS:
        for _seed in range(2):
            for each in FOLDS:
                pool.share(model, stage, part(pixels, each.train), part(pixels, each.judged))
    assert counted == {f"layers.{n}": NUM * VIEWS for n in range(5)}


def test_pictures_that_are_only_judged_pass_once(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], counted: Counter[str]
) -> None:
    pool = open_pool(HOLDOUT)
    for stage in DEPTHS:
        shared = pool.share(model, stage, part(pixels, HOLDOUT[0].train), part(pixels, HOLDOUT[0].judged))
        assert shared.val is not None
        assert len(shared.val.labels) == 12
    assert counted == {f"layers.{n}": 24 * VIEWS + 12 for n in range(5)}


@pytest.mark.parametrize("stage", DEPTHS, ids=lambda stage: f"trains {stage.trains}")
@pytest.mark.parametrize("rounds", [FOLDS, HOLDOUT], ids=["folds", "holdout"])
def test_what_a_training_takes_is_what_it_would_make_for_itself(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], stage: Stage, rounds: tuple[Round, ...]
) -> None:
    pool, alone = open_pool(rounds), open_pool(rounds, name="none", budget=0, trainings=7)
    for each in rounds:
        train, judged = part(pixels, each.train), part(pixels, each.judged)
        found, expected = (p.share(model, stage, train, judged) for p in (pool, alone))
        assert expected.network is model
        assert found.link.use == (stage.trains != "all")
        for epoch in range(4):
            with torch.no_grad():
                got, wanted = found.network(drawn(found.train, epoch)), model(drawn(expected.train, epoch))
            # float16 rounds once at each border on the way
            torch.testing.assert_close(got, wanted, rtol=0, atol=4e-3 * float(wanted.abs().max()))
        assert found.val is not None
        assert expected.val is not None
        with torch.no_grad():
            rows = np.arange(len(judged))
            got, wanted = found.network(found.val.plain(rows)), model(plain(judged))
        torch.testing.assert_close(got, wanted, rtol=0, atol=4e-3 * float(wanted.abs().max()))
        np.testing.assert_array_equal(found.train.labels, train.labels)
        np.testing.assert_array_equal(found.val.labels, judged.labels)


def test_at_most_two_sets_lie_on_the_disk_and_none_in_the_end(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = open_pool()
    sets = []
    for stage in DEPTHS:
        pool.share(model, stage, part(pixels, FOLDS[0].train), None)
        sets.append(len(list((tmp_path / "pool").glob("*"))))
    assert sets == [0, 1, 1, 1]
    pool.close()
    assert not (tmp_path / "pool").exists()


def test_a_border_after_a_kill_is_made_from_the_set_that_is_left(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], counted: Counter[str]
) -> None:
    train = part(pixels, FOLDS[0].train)
    unbroken = open_pool(name="whole")
    expected = [drawn(unbroken.share(model, stage, train, None).train, 1) for stage in DEPTHS]
    first = open_pool()
    for stage in DEPTHS[:3]:
        first.share(model, stage, train, None)
    counted.clear()
    found = open_pool().share(model, DEPTHS[3], train, None)
    assert counted == {"layers.4": NUM * VIEWS}
    assert torch.equal(drawn(found.train, 1), expected[3])


def test_other_weights_before_the_border_have_sets_of_their_own(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool]
) -> None:
    pool, train = open_pool(), part(pixels, FOLDS[0].train)
    one = drawn(pool.share(model, DEPTHS[2], train, None).train, 0)
    with torch.no_grad():
        model.get_submodule("backbone.layers.0.inner.0").weight.mul_(-1)
    other = drawn(pool.share(model, DEPTHS[2], train, None).train, 0)
    assert not torch.equal(one, other)


def test_what_was_decided_once_holds_for_a_later_process(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    before = open_pool().link(model, DEPTHS[1])
    assert before.use
    assert open_pool(budget=0).link(model, DEPTHS[1]) == before  # the disk was filled between
    file = tmp_path / "chain.json"
    (key,) = read_json(file)
    file.write_text(f'{{"{key}": [{{"border": 3}}]}}')
    with pytest.raises(IntegrityError, match=r"chain\.json is damaged"):
        open_pool().link(model, DEPTHS[1])


def test_a_set_that_cannot_be_kept_costs_no_training(
    model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    (tmp_path / "pool").write_text("in the way")
    heard: list[object] = []
    found = open_pool(listen=heard.append).share(model, DEPTHS[1], part(pixels, FOLDS[0].train), None)
    assert found.network is model
    assert not found.link.use
    assert any(isinstance(event, Warned) and "cannot be kept" in event.text for event in heard)


def test_pictures_of_no_part_are_refused(model: Classifier, pixels: PixelSet, open_pool: Callable[..., Pool]) -> None:
    with pytest.raises(ValueError, match="not all in one part"):
        open_pool(HOLDOUT).share(model, DEPTHS[1], part(pixels, (0, 30)), None)


def test_rows_are_found_in_any_order(open_pool: Callable[..., Pool]) -> None:
    found = PoolPart(rows=np.array([5, 1, 9]), pictures=open_pool().parts[0].pictures)
    places = found.places(np.array([9, 5, 5]))
    assert places is not None
    assert places.tolist() == [2, 0, 0]
    assert found.places(np.array([5, 2])) is None
    assert found.places(np.array([10])) is None


def test_versions_from_pixels_are_the_views_that_would_be_kept(
    open_pool: Callable[..., Pool], pixels: PixelSet
) -> None:
    pictures = open_pool().parts[0].pictures
    feed = ActivationFeed(kept=PixelVersions(pictures), part=pixels)
    assert torch.equal(feed.plain(np.arange(NUM)), pictures.make_view(0, np.arange(NUM)))
    shown = [drawn(feed, epoch) for epoch in range(VIEWS)]
    for i in range(NUM):
        kept = [pictures.make_view(view, np.array([i]))[0] for view in range(VIEWS)]
        found = {next(v for v in range(VIEWS) if torch.equal(images[i], kept[v])) for images in shown}
        assert found == set(range(VIEWS))  # all in turn


WORKS = (
    Work(prefix=10, tail_forward=90, tail_training=270),
    Work(prefix=50, tail_forward=50, tail_training=150),
    Work(prefix=90, tail_forward=10, tail_training=30),
)


@pytest.mark.parametrize(
    ("changes", "used", "words"),
    [
        ({"always": False}, [False, True, True], "from those at"),
        ({}, [True, True, True], "kept"),
        ({"budget": 0}, [False, False, False], "0.00 GB may be taken"),
        ({"always": False, "epochs": 1, "trainings": 1, "seen": 24, "judged": 12}, [False] * 3, "not worth it"),
    ],
    ids=["where it pays", "always", "no room", "one epoch"],
)
def test_a_border_is_kept_where_that_pays_and_fits(
    model: Classifier, changes: dict[str, object], used: list[bool], words: str
) -> None:
    example = torch.zeros(2, 3, SIDE, SIDE)
    cuts = [checked_cut(model, border_of(model, stage), example) for stage in DEPTHS[1:]]
    demand = Demand.of(FOLDS, views=VIEWS, epochs=EPOCHS, repeats=2, budget=10**9, always=True)
    links = plan_chain(cuts, WORKS, demand=replace(demand, **changes))
    assert [link.use for link in links] == used
    assert words in links[-1].reason


def test_two_sets_must_fit_at_once(model: Classifier) -> None:
    example = torch.zeros(2, 3, SIDE, SIDE)
    cuts = [checked_cut(model, border_of(model, stage), example) for stage in DEPTHS[1:]]
    demand = Demand.of(FOLDS, views=VIEWS, epochs=EPOCHS, repeats=2, budget=10**9, always=True)
    first, second, third = (demand.bytes_at(parts.shape) for parts in cuts)
    links = plan_chain(cuts, WORKS, demand=replace(demand, budget=first + second - 1))
    assert [link.use for link in links] == [True, False, first + third < first + second]
    assert f"beside {first / 1e9:.2f} GB" in links[1].reason


def test_the_forecast_counts_only_the_way_from_the_last_border(model: Classifier) -> None:
    example = torch.zeros(2, 3, SIDE, SIDE)
    cuts = [checked_cut(model, border_of(model, stage), example) for stage in DEPTHS[2:]]
    demand = Demand.of(FOLDS, views=VIEWS, epochs=EPOCHS, repeats=2, budget=10**9)
    _, link = plan_chain(cuts, WORKS[1:], demand=demand)
    (direct,) = plan_chain(cuts[1:], WORKS[2:], demand=demand)
    after = EPOCHS * 2 * (72 * 30 + NUM * 10)
    without = after + EPOCHS * 2 * (72 + NUM) * 90
    assert link.predicted_ratio == pytest.approx(without / (after + NUM * VIEWS * 40))
    assert direct.predicted_ratio == pytest.approx(without / (after + NUM * VIEWS * 90))
