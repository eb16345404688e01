"""Copies of drawn scenes are found however they were made; different scenes, and blank ones, are not tied."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from budwood.data.copies import copy_proof
from budwood.data.copies.copy_descriptors import SIZE, crop_windows
from budwood.data.copies.copy_search import HIT, Grid, _above, _keep_best, propose
from budwood.data.copies.duplicates import DIHEDRAL, DuplicatePair, dihedral, find_copies, near_duplicate_pairs
from budwood.data.copies.registration import clipped_likeness, detail_likeness, halved
from budwood.data.planes import luma_plane
from budwood.events import Event, StepAdvanced, StepFinished, StepStarted

Picture = NDArray[np.uint8]
SIDE = 96


def scene(seed: int, side: int = SIDE) -> Picture:
    """Ellipses and lines of random colours on a noisy ground: one imaginary exposure."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(rng.integers(60, 190, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = rng.uniform(-0.1, 1, 2) * side
        w, h = rng.uniform(0.03, 0.3, 2) * side
        colour = tuple(rng.integers(0, 256, 3).tolist())
        if rng.random() < 0.6:
            draw.ellipse((x, y, x + w, y + h), fill=colour)
        else:
            draw.line((x, y, x + 2 * w, y + 2 * h * rng.choice([-1, 1])), fill=colour, width=2)
    return as_bytes(np.asarray(image) + rng.normal(0, 6, (side, side, 3)))


def hand_like(seed: int) -> Picture:
    """A bright subject of one kind, each time in a different pose, before the same plain wall."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (SIDE, SIDE), (190, 190, 195))
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 45, 66, 95), fill=(205, 150, 120))
    for finger in range(5):
        tip = (12 + finger * 18 + rng.normal(0, 6), 12 + rng.normal(0, 8))
        draw.line((36 + finger * 6, 60, *tip), fill=(200, 145, 115), width=7)
    return as_bytes(np.asarray(image) + rng.normal(0, 2, (SIDE, SIDE, 1)))


def on_paper(seed: int) -> Picture:
    """`hand_like` before a bright wall with faint texture, which turns white when the picture is made brighter."""
    rng = np.random.default_rng(seed)
    texture = Image.fromarray(as_bytes(rng.normal(220, 12, (24, 24))))
    paper = np.asarray(texture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))[..., None]
    hand = hand_like(seed)
    wall = np.abs(hand.astype(float) - (190, 190, 195)).max(axis=2, keepdims=True) < 9
    return np.where(wall, paper, hand)


def as_bytes(values: NDArray[np.floating]) -> Picture:
    return np.clip(values, 0, 255).astype(np.uint8)


def resized(picture: Picture, height: int, width: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(picture: Picture, quality: int = 20) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def crop(picture: Picture, y: float, x: float, height: float, width: float) -> Picture:
    rows, columns = picture.shape[:2]
    top, left = round(y * rows), round(x * columns)
    return picture[top : top + round(height * rows), left : left + round(width * columns)]


def grey(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


COPIES: dict[str, Callable[[Picture], Picture]] = {
    **{name: (lambda p, k=k: dihedral(p, k)) for k, name in enumerate(DIHEDRAL)},
    "crop at a corner": lambda p: crop(p, 0, 0, 0.8, 0.8),
    "crop at the far corner": lambda p: crop(p, 0.2, 0.2, 0.8, 0.8),
    "crop of one side": lambda p: crop(p, 0, 0.15, 1, 0.8),
    "crop of nine tenths": lambda p: crop(p, 0.04, 0.07, 0.9, 0.9),
    "crop scaled back": lambda p: resized(crop(p, 0.1, 0.18, 0.77, 0.77), SIDE, SIDE),
    "crop stretched": lambda p: resized(crop(p, 0.05, 0.2, 0.9, 0.72), SIDE, SIDE),
    "mirrored crop": lambda p: dihedral(crop(p, 0.15, 0.05, 0.8, 0.8), 4),
    "turned crop": lambda p: dihedral(crop(p, 0.2, 0.05, 0.75, 0.85), 1),
    "quality 20": jpeg,
    "half size": lambda p: resized(p, SIDE // 2, SIDE // 2),
    "double size": lambda p: resized(p, SIDE * 2, SIDE * 2),
    "brighter": lambda p: as_bytes(p * 1.25),
    "darker": lambda p: as_bytes(p * 0.8),
    "three tenths brighter": lambda p: as_bytes(p * 1.3),
    "three tenths darker": lambda p: as_bytes(p * 0.7),
    "less contrast": lambda p: as_bytes((p - p.mean()) * 0.8 + p.mean()),
    "colour cast": lambda p: as_bytes(p * np.array([1.2, 1.0, 0.85])),
    "grey": grey,
    "shifted": lambda p: np.pad(p, ((3, 0), (2, 0), (0, 0)), mode="edge")[:SIDE, :SIDE],
    "framed": lambda p: np.pad(p, ((3, 3), (3, 3), (0, 0))),
    "quality 40": lambda p: jpeg(p, 40),
    "turned crop, quality 40": lambda p: jpeg(dihedral(crop(p, 0.1, 0.02, 0.9, 0.9), 3), 40),
    "mirrored, half size": lambda p: dihedral(resized(p, SIDE // 2, SIDE // 2), 4),
    "small and quality 20": lambda p: jpeg(resized(p, SIDE // 2, SIDE // 2)),
    "turned, quality 20": lambda p: jpeg(dihedral(p, 3)),
    "grey crop": lambda p: grey(crop(p, 0.25, 0.1, 0.75, 0.75)),
    "bright crop": lambda p: as_bytes(crop(p, 0.1, 0.1, 0.8, 0.8) * 1.2),
}


@pytest.fixture(scope="module")
def scenes() -> list[Picture]:
    return [scene(seed) for seed in range(24)]


def ties(pictures: list[Picture], **options: Any) -> list[DuplicatePair]:
    planes = [luma_plane(np.ascontiguousarray(picture)) for picture in pictures]
    return near_duplicate_pairs(np.array(planes, np.uint8).reshape(-1, 64, 64), **options)


def found(pairs: list[DuplicatePair]) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in pairs}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_tied_to_its_source_and_to_nothing_else(kind: str, scenes: list[Picture]) -> None:
    copies = [np.ascontiguousarray(COPIES[kind](scenes[i])) for i in (3, 7)]
    assert found(ties([*scenes[:12], *copies])) == {(3, 12), (7, 13)}


def test_a_copy_of_a_32_pixel_picture_is_found() -> None:
    small = [resized(scene(seed), 32, 32) for seed in range(12)]
    assert found(ties([*small, jpeg(dihedral(small[5], 6), 40)])) == {(5, 12)}


@pytest.mark.parametrize("level", [0, 255])
def test_a_frame_drawn_over_the_rim_does_not_hide_a_copy(level: int, scenes: list[Picture]) -> None:
    framed = np.full_like(scenes[5], level)
    framed[3:-3, 3:-3] = scenes[5][3:-3, 3:-3]
    assert found(ties([*scenes[:12], framed])) == {(5, 12)}


def test_a_copy_of_a_wide_picture_is_found_after_a_quarter_turn() -> None:
    wide = [scene(seed)[:64] for seed in range(12)]
    assert found(ties([*wide, dihedral(wide[2], 1)])) == {(2, 12)}


def test_different_scenes_are_not_tied(scenes: list[Picture]) -> None:
    assert ties(scenes) == []


def test_different_poses_before_one_wall_are_not_tied() -> None:
    assert ties([hand_like(seed) for seed in range(40)]) == []


@pytest.fixture(scope="module")
def hands_and_brighter() -> NDArray[np.uint8]:
    """Planes of 40 hands on paper, and after them of the first ten brightened until the paper is white."""
    hands = [on_paper(seed) for seed in range(40)]
    return np.stack([luma_plane(picture) for picture in (*hands, *(as_bytes(hand * 1.3) for hand in hands[:10]))])


def test_a_brightened_copy_that_lost_the_texture_of_the_paper_is_found(hands_and_brighter: NDArray[np.uint8]) -> None:
    assert found(near_duplicate_pairs(hands_and_brighter)) == {(i, 40 + i) for i in range(10)}


def test_clipping_alike_brings_copies_nearer_and_different_hands_hardly(
    hands_and_brighter: NDArray[np.uint8],
) -> None:
    planes = hands_and_brighter.astype(np.float32)
    whole = np.tile(np.array([[0, 1, 0, 1]], np.float32), (10, 1))
    copies = [likeness(planes[:10], planes[40:], whole) for likeness in (detail_likeness, clipped_likeness)]
    others = [likeness(planes[10:20], planes[40:], whole) for likeness in (detail_likeness, clipped_likeness)]
    assert np.all(copies[1] > copies[0] + 0.02)
    assert others[1].max() < copies[1].min() - 0.1


def test_what_nearly_agrees_is_doubtful_and_no_pair(
    hands_and_brighter: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_proof, "_SECOND_LOOK", 0)  # some brightened copies now miss their bar by little
    copies = find_copies(hands_and_brighter)
    sure, doubtful = found(copies.pairs), found(copies.doubtful)
    assert len(sure) < 10
    assert sure | doubtful >= {(i, 40 + i) for i in range(10)}
    assert not sure & doubtful
    assert near_duplicate_pairs(hands_and_brighter) == copies.pairs
    assert [(p.first, p.second) for p in copies.doubtful] == sorted(doubtful)
    monkeypatch.setattr(copy_proof, "_DOUBT", 0)
    again = find_copies(hands_and_brighter)
    assert again.doubtful == []
    assert again.pairs == copies.pairs


def test_a_copy_of_a_picture_with_too_little_detail_is_doubtful(scenes: list[Picture]) -> None:
    faint = np.full((SIDE, SIDE, 3), 100, np.uint8)
    faint[42:48, 42:48] = 110
    faint[48:50, 44:48] = 105
    copies = find_copies(np.stack([luma_plane(p) for p in (*scenes[:12], faint, as_bytes(faint * 0.7))]))
    assert (found(copies.pairs), found(copies.doubtful)) == (set(), {(12, 13)})


def test_equal_grounds_under_different_subjects_are_not_tied() -> None:
    ground = scene(0).astype(float)
    blended = [as_bytes(0.35 * ground + 0.65 * scene(seed)) for seed in range(1, 20)]
    assert ties(blended) == []


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_blank_and_nearly_blank_pictures_are_tied_to_nothing(level: int, scenes: list[Picture]) -> None:
    rng = np.random.default_rng(level)
    blank = [np.full((SIDE, SIDE, 3), level, np.uint8) for _ in range(3)]
    noisy = [as_bytes(level + rng.normal(0, 1, (SIDE, SIDE, 3))) for _ in range(10)]
    slope = [as_bytes(level + np.linspace(0, 9, SIDE)[:, None, None] + np.zeros((SIDE, SIDE, 3)))]
    assert ties([*scenes[:6], *blank, *noisy, *slope]) == []


def test_very_dark_pictures_are_not_tied() -> None:
    assert ties([as_bytes(scene(seed) * 0.03) for seed in range(12)]) == []


def test_twenty_copies_of_one_picture_are_one_component_and_leave_the_others_alone(
    scenes: list[Picture],
) -> None:
    rng = np.random.default_rng(0)
    many = [jpeg(as_bytes(dihedral(scenes[0], k % 8) * rng.uniform(0.8, 1.2)), 30 + k) for k in range(20)]
    pairs = found(ties([*many, *scenes[1:]]))
    assert component(pairs, 0) == set(range(20))
    assert all(second < 20 for _, second in pairs)


def component(pairs: set[tuple[int, int]], start: int) -> set[int]:
    reached = {start}
    while grown := {i for pair in pairs for i in pair if reached & set(pair)} - reached:
        reached |= grown
    return reached


def mixed(count: int, *, repeated: list[list[Picture]], seed: int) -> tuple[list[Picture], list[set[int]]]:
    """``count`` pictures in a random order, different ones but for the repeated; and where these are."""
    places = np.random.default_rng(seed).permutation(count).tolist()
    pictures: list[Picture] = [scene(1000 + k, 64) for k in range(count)]
    where = []
    for copies in repeated:
        chosen = [places.pop() for _ in copies]
        for place, copy in zip(chosen, copies, strict=True):
            pictures[place] = copy
        where.append(set(chosen))
    return pictures, where


def test_two_pictures_that_are_there_98_times_each_are_found_whole_and_alone() -> None:
    pictures, where = mixed(300, repeated=[[scene(1, 64)] * 98, [scene(2, 64)] * 98], seed=0)
    pairs = found(ties(pictures))
    assert [component(pairs, min(places)) for places in where] == where
    assert len(pairs) == 2 * 97


def test_98_copies_that_were_compressed_anew_are_found_whole_and_alone() -> None:
    copies = [[jpeg(as_bytes(scene(s, 64) * (0.8 + 0.004 * k)), 30 + k // 2) for k in range(98)] for s in (1, 2)]
    pictures, where = mixed(300, repeated=copies, seed=1)
    pairs = found(ties(pictures))
    assert [component(pairs, min(places)) for places in where] == where
    assert {i for pair in pairs for i in pair} == where[0] | where[1]


def test_copies_of_a_crop_that_fill_one_anothers_lists_are_tied_to_the_original(scenes: list[Picture]) -> None:
    part = crop(scenes[0], 0.1, 0.0, 0.8, 0.8)
    pairs = found(ties([*scenes[:12], *(jpeg(part, 60 + 3 * k) for k in range(8))]))
    assert component(pairs, 0) == {0, *range(12, 20)}


def test_many_near_copies_are_not_compared_each_with_each(scenes: list[Picture]) -> None:
    many = [as_bytes(scenes[0] + np.random.default_rng(k).normal(0, 2, scenes[0].shape)) for k in range(120)]
    pairs = found(ties([*many, *scenes[1:]]))
    assert component(pairs, 0) == set(range(120))
    assert len(pairs) < 6 * 120


def test_equal_pictures_are_tied_with_likeness_one(scenes: list[Picture]) -> None:
    pairs = ties([scenes[0], scenes[1], scenes[0], scenes[0]])
    assert [(p.first, p.second, p.similarity, p.transform) for p in pairs] == [
        (0, 2, 1.0, "the same picture"),
        (0, 3, 1.0, "the same picture"),
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("mirror", "mirrored"),
        ("rot90", "quarter turn"),
        ("rot180", "upside down"),
        ("mirror rot90", "mirrored quarter turn"),
        ("quality 20", "the same picture"),
        ("crop at a corner", "crop"),
        ("mirrored crop", "mirrored crop"),
    ],
)
def test_the_words_say_how_the_copy_was_made(kind: str, words: str, scenes: list[Picture]) -> None:
    (pair,) = ties([*scenes[:4], np.ascontiguousarray(COPIES[kind](scenes[1]))])
    assert pair.transform == words
    assert 0.7 <= pair.similarity <= 1


def test_the_result_does_not_depend_on_the_order(scenes: list[Picture]) -> None:
    pictures = [
        *scenes,
        *(np.ascontiguousarray(make(scenes[i % 24])) for i, make in enumerate(COPIES.values())),
    ]
    shuffled = np.random.default_rng(4).permutation(len(pictures))
    again = ties([pictures[i] for i in shuffled])
    there = {tuple(sorted((int(shuffled[p.first]), int(shuffled[p.second])))): p.similarity for p in again}
    assert there == {(p.first, p.second): p.similarity for p in ties(pictures)}


def test_the_result_is_the_same_in_every_run(scenes: list[Picture]) -> None:
    pictures = [*scenes, *(jpeg(picture, 40) for picture in scenes)]
    assert ties(pictures) == ties(pictures)


def test_equal_planes_of_blank_pictures_are_not_tied() -> None:
    assert near_duplicate_pairs(np.full((5, 64, 64), 90, np.uint8)) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_few_different_pictures_have_no_pairs(count: int) -> None:
    assert ties([scene(i) for i in range(count)]) == []


def test_the_input_is_left_as_it_was(scenes: list[Picture]) -> None:
    planes = np.stack([luma_plane(picture) for picture in scenes[:4]])
    before = planes.copy()
    near_duplicate_pairs(planes)
    assert np.array_equal(planes, before)


def test_progress_adds_up_to_the_announced_total(scenes: list[Picture]) -> None:
    events: list[Event] = []
    ties([*scenes[:5], scenes[0], np.zeros((40, 40, 3), np.uint8)], listen=events.append)
    assert isinstance(events[0], StepStarted)
    assert isinstance(events[-1], StepFinished)
    assert sum(e.count for e in events if isinstance(e, StepAdvanced)) == events[0].total
    assert {e.step for e in events if not isinstance(e, StepAdvanced)} == {"near-duplicates"}


def test_the_eight_turns_are_eight_different_pictures_in_the_named_order() -> None:
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert len({dihedral(picture, k).tobytes() for k in range(8)}) == len(DIHEDRAL) == 8
    assert np.array_equal(dihedral(picture, 4), picture[:, ::-1])
    assert np.array_equal(dihedral(picture, 5), np.rot90(picture[:, ::-1]))


def proposed(planes: NDArray[np.uint8], *, keep: int, threads: int) -> NDArray[np.void]:
    with ThreadPoolExecutor(threads) as pool:
        return propose(halved(planes), keep=keep, pool=pool, progress=lambda count: None)


def test_the_index_proposes_the_partners_whatever_the_number_of_threads(scenes: list[Picture]) -> None:
    sources = [luma_plane(scene(seed, 64)) for seed in range(300)]
    mirrored = [luma_plane(np.ascontiguousarray(jpeg(scene(seed, 64)[:, ::-1], 40))) for seed in range(300)]
    planes = np.stack([*sources, *mirrored])
    hits = proposed(planes, keep=2, threads=1)
    pairs = {(int(h["whole"]), int(h["owner"])) for h in hits}
    assert {(i, i + 300) for i in range(300)} <= pairs
    assert np.bincount(hits["whole"]).max() <= 2
    assert np.array_equal(hits, proposed(planes, keep=2, threads=3))


def test_a_look_up_reads_the_cells_whose_pivots_are_nearest() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, 9, SIZE // 2)).astype(np.float32)
    vectors = rng.normal(size=(50, SIZE)).astype(np.float32)
    grid = Grid(first=first, second=second)
    cells = grid.near_cells(vectors)
    distances = [
        ((half[:, None] - pivots) ** 2).sum(axis=2)
        for half, pivots in zip(np.split(vectors, 2, 1), (first, second), strict=True)
    ]
    nearest = [(one[:, None] + two).ravel().argsort()[:4] for one, two in zip(*distances, strict=True)]
    assert all(len(set(row)) == cells.shape[1] == 8 for row in cells.tolist())
    assert all(set(best.tolist()) <= set(row) for best, row in zip(nearest, cells.tolist(), strict=True))
    assert np.array_equal(grid.cell(vectors), [best[0] for best in nearest])


def test_a_crowd_of_look_alikes_leaves_each_picture_its_best_partners() -> None:
    ground = np.asarray(scene(0, 64), float)
    alike = [luma_plane(as_bytes(ground + np.random.default_rng(k).normal(0, 8, ground.shape))) for k in range(400)]
    hits = proposed(np.stack(alike), keep=4, threads=2)
    assert np.all(np.bincount(hits["whole"], minlength=400) == 4)
    assert np.all(np.diff(hits["score"])[np.diff(hits["whole"]) == 0] <= 0)


def test_the_best_hits_are_kept_and_of_equal_ones_the_first() -> None:
    rng = np.random.default_rng(0)
    hits = np.zeros(3000, HIT)
    for name, most in (("whole", 40), ("owner", 30), ("turn", 8), ("window", 38)):
        hits[name] = rng.integers(0, most, len(hits))
    hits["score"] = rng.choice(np.linspace(0.79, 1, 7, dtype=np.float32), len(hits))  # many are equal
    expected = []
    for whole in range(40):
        of_owner: dict[int, np.void] = {}
        for hit in hits[hits["whole"] == whole]:
            if hit["score"] > of_owner.get(int(hit["owner"]), {"score": 0})["score"]:
                of_owner[int(hit["owner"])] = hit
        expected += sorted(of_owner.values(), key=lambda hit: (-hit["score"], hit["owner"]))[:3]
    assert _keep_best(hits, 3).tolist() == [hit.tolist() for hit in expected]
    assert len(_keep_best(hits[:0], 3)) == 0


@pytest.mark.parametrize("floor", [[0.8, 0.8], [0.5, 0.9]], ids=["one floor for all", "a floor for each"])
def test_only_scores_above_the_floor_of_their_row_count(floor: list[float]) -> None:
    scores = np.array([[0.8, 0.81, 0.4, 0.95], [0.85, 0.2, 0.9, 0.95]], np.float32)
    row, column = _above(scores, np.array(floor, np.float32))
    expected = [(i, j) for i in range(2) for j in range(4) if scores[i, j] > np.float32(floor[i])]
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == expected


def test_every_crop_that_keeps_eight_tenths_lies_near_a_window() -> None:
    windows = crop_windows()
    rng = np.random.default_rng(0)
    sides = rng.uniform(0.8, 1, (500, 2))
    starts = rng.uniform(0, 1, (500, 2)) * (1 - sides)
    crops = np.stack([starts[:, 0], starts[:, 0] + sides[:, 0], starts[:, 1], starts[:, 1] + sides[:, 1]], axis=1)
    distance = np.abs(crops[:, None] - windows).max(axis=2).min(axis=1)
    assert distance.max() <= 0.1


def test_halving_takes_the_rounded_mean_of_each_square() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    squares = planes.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))
    assert np.array_equal(halved(planes), np.floor(squares + 0.5).astype(np.uint8))
