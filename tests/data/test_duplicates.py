"""Copies of drawn scenes are found however they were made; different scenes, and blank ones, are not tied."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from budwood.data.copy_search import crop_windows, propose
from budwood.data.duplicates import DIHEDRAL, DuplicatePair, dihedral, near_duplicate_pairs
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
    "crop at a corner": lambda p: crop(p, 0, 0, 0.7, 0.7),
    "crop at the far corner": lambda p: crop(p, 0.3, 0.3, 0.7, 0.7),
    "crop of one side": lambda p: crop(p, 0, 0.15, 1, 0.7),
    "crop scaled back": lambda p: resized(crop(p, 0.1, 0.18, 0.77, 0.77), SIDE, SIDE),
    "crop stretched": lambda p: resized(crop(p, 0.05, 0.2, 0.9, 0.72), SIDE, SIDE),
    "mirrored crop": lambda p: dihedral(crop(p, 0.2, 0.05, 0.75, 0.75), 4),
    "turned crop": lambda p: dihedral(crop(p, 0.2, 0.05, 0.75, 0.85), 1),
    "quality 20": jpeg,
    "half size": lambda p: resized(p, SIDE // 2, SIDE // 2),
    "double size": lambda p: resized(p, SIDE * 2, SIDE * 2),
    "brighter": lambda p: as_bytes(p * 1.25),
    "darker": lambda p: as_bytes(p * 0.8),
    "less contrast": lambda p: as_bytes((p - p.mean()) * 0.8 + p.mean()),
    "colour cast": lambda p: as_bytes(p * np.array([1.2, 1.0, 0.85])),
    "grey": grey,
    "shifted": lambda p: np.pad(p, ((3, 0), (2, 0), (0, 0)), mode="edge")[:SIDE, :SIDE],
    "framed": lambda p: np.pad(p, ((3, 3), (3, 3), (0, 0))),
    "small and quality 20": lambda p: jpeg(resized(p, SIDE // 2, SIDE // 2)),
    "turned, quality 20": lambda p: jpeg(dihedral(p, 3)),
    "grey crop": lambda p: grey(crop(p, 0.25, 0.1, 0.75, 0.75)),
    "bright crop": lambda p: as_bytes(crop(p, 0.1, 0.1, 0.8, 0.8) * 1.2),
}


@pytest.fixture(scope="module")
def scenes() -> list[Picture]:
    return [scene(seed) for seed in range(24)]


def found(pairs: list[DuplicatePair]) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in pairs}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_tied_to_its_source_and_to_nothing_else(kind: str, scenes: list[Picture]) -> None:
    copies = [np.ascontiguousarray(COPIES[kind](scenes[i])) for i in (3, 7)]
    assert found(near_duplicate_pairs([*scenes[:12], *copies])) == {(3, 12), (7, 13)}


def test_a_copy_of_a_32_pixel_picture_is_found() -> None:
    small = [resized(scene(seed), 32, 32) for seed in range(12)]
    assert found(near_duplicate_pairs([*small, jpeg(dihedral(small[5], 6), 40)])) == {(5, 12)}


@pytest.mark.parametrize("level", [0, 255])
def test_a_frame_drawn_over_the_rim_does_not_hide_a_copy(level: int) -> None:
    small = [resized(scene(seed), 48, 48) for seed in range(12)]
    framed = np.full_like(small[5], level)
    framed[3:-3, 3:-3] = small[5][3:-3, 3:-3]
    assert found(near_duplicate_pairs([*small, framed])) == {(5, 12)}


def test_a_copy_of_a_wide_picture_is_found_after_a_quarter_turn() -> None:
    wide = [scene(seed)[:64] for seed in range(12)]
    assert found(near_duplicate_pairs([*wide, dihedral(wide[2], 1)])) == {(2, 12)}


def test_different_scenes_are_not_tied(scenes: list[Picture]) -> None:
    assert near_duplicate_pairs(scenes) == []


def test_different_poses_before_one_wall_are_not_tied() -> None:
    assert near_duplicate_pairs([hand_like(seed) for seed in range(40)]) == []


def test_equal_grounds_under_different_subjects_are_not_tied() -> None:
    ground = scene(0).astype(float)
    blended = [as_bytes(0.35 * ground + 0.65 * scene(seed)) for seed in range(1, 20)]
    assert near_duplicate_pairs(blended) == []


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_blank_and_nearly_blank_pictures_are_tied_to_nothing(level: int, scenes: list[Picture]) -> None:
    rng = np.random.default_rng(level)
    blank = [np.full((SIDE, SIDE, 3), level, np.uint8) for _ in range(3)]
    noisy = [as_bytes(level + rng.normal(0, 1, (SIDE, SIDE, 3))) for _ in range(10)]
    slope = [as_bytes(level + np.linspace(0, 9, SIDE)[:, None, None] + np.zeros((SIDE, SIDE, 3)))]
    assert near_duplicate_pairs([*scenes[:6], *blank, *noisy, *slope]) == []


def test_very_dark_pictures_are_not_tied() -> None:
    assert near_duplicate_pairs([as_bytes(scene(seed) * 0.03) for seed in range(12)]) == []


def test_twenty_copies_of_one_picture_are_one_component_and_leave_the_others_alone(
    scenes: list[Picture],
) -> None:
    rng = np.random.default_rng(0)
    many = [jpeg(as_bytes(dihedral(scenes[0], k % 8) * rng.uniform(0.8, 1.2)), 30 + k) for k in range(20)]
    pairs = found(near_duplicate_pairs([*many, *scenes[1:]]))
    reached = {0}
    for _ in many:
        reached |= {i for pair in pairs for i in pair if reached & set(pair)}
    assert reached == set(range(20))
    assert all(second < 20 for _, second in pairs)


def test_equal_pictures_are_tied_with_likeness_one(scenes: list[Picture]) -> None:
    pairs = near_duplicate_pairs([scenes[0], scenes[1], scenes[0], scenes[0]])
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
    (pair,) = near_duplicate_pairs([*scenes[:4], np.ascontiguousarray(COPIES[kind](scenes[1]))])
    assert pair.transform == words
    assert 0.7 <= pair.similarity <= 1


def test_the_result_does_not_depend_on_the_order(scenes: list[Picture]) -> None:
    pictures = [
        *scenes,
        *(np.ascontiguousarray(make(scenes[i % 24])) for i, make in enumerate(COPIES.values())),
    ]
    shuffled = np.random.default_rng(4).permutation(len(pictures))
    again = near_duplicate_pairs([pictures[i] for i in shuffled])
    there = {tuple(sorted((int(shuffled[p.first]), int(shuffled[p.second])))): p.similarity for p in again}
    assert there == {(p.first, p.second): p.similarity for p in near_duplicate_pairs(pictures)}


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_have_no_pairs(count: int) -> None:
    assert near_duplicate_pairs([scene(i) for i in range(count)]) == []


def test_the_input_is_left_as_it_was(scenes: list[Picture]) -> None:
    before = [s.copy() for s in scenes[:4]]
    near_duplicate_pairs(scenes[:4])
    assert all(np.array_equal(a, b) for a, b in zip(before, scenes, strict=False))


def test_progress_adds_up_to_the_announced_total(scenes: list[Picture]) -> None:
    events: list[Event] = []
    near_duplicate_pairs([*scenes[:5], scenes[0], np.zeros((40, 40, 3), np.uint8)], listen=events.append)
    assert isinstance(events[0], StepStarted)
    assert isinstance(events[-1], StepFinished)
    assert sum(e.count for e in events if isinstance(e, StepAdvanced)) == events[0].total
    assert {e.step for e in events if not isinstance(e, StepAdvanced)} == {"near-duplicates"}


def test_the_eight_turns_are_eight_different_pictures_in_the_named_order() -> None:
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert len({dihedral(picture, k).tobytes() for k in range(8)}) == len(DIHEDRAL) == 8
    assert np.array_equal(dihedral(picture, 4), picture[:, ::-1])
    assert np.array_equal(dihedral(picture, 5), np.rot90(picture[:, ::-1]))


def test_the_index_proposes_what_comparing_all_with_all_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sources = [np.asarray(Image.fromarray(scene(s, 48)).convert("L").resize((64, 64)), np.float32) for s in range(60)]
    planes = np.stack([*sources, *(s[:, ::-1] + rng.normal(0, 3, s.shape) for s in sources)]).astype(np.float32)
    monkeypatch.setattr("budwood.data.copy_search._READS", 6)
    hits = propose(planes, keep=4, progress=lambda count: None)
    proposed = {(int(h["whole"]), int(h["owner"])) for h in hits}
    assert {(i, i + 60) for i in range(60)} <= proposed


def test_every_crop_that_keeps_seven_tenths_lies_near_a_window() -> None:
    windows = crop_windows()
    rng = np.random.default_rng(0)
    sides = rng.uniform(0.7, 1, (500, 2))
    starts = rng.uniform(0, 1, (500, 2)) * (1 - sides)
    crops = np.stack([starts[:, 0], starts[:, 0] + sides[:, 0], starts[:, 1], starts[:, 1] + sides[:, 1]], axis=1)
    distance = np.abs(crops[:, None] - windows).max(axis=2).min(axis=1)
    assert distance.max() <= 0.076
    assert np.quantile(distance, 0.95) <= 0.04
