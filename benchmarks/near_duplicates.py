"""Measures the near-duplicate search on a folder of pictures, with copies planted on the fly; or how its time grows.

    python benchmarks/near_duplicates.py FOLDER [--limit 2000] [--copies 400] [--side 0] [--seed 0] [--beyond]
                                                [--sheet TIES.png]
    python benchmarks/near_duplicates.py FOLDER --scale 1000,3000,10000,30000,100000

The kinds of copies are flips, quarter turns, 90 % crops at a random place, JPEG at quality 40, 0.5-2 times the size,
brightness +-30 %, and all pairs of these; with --beyond also smaller crops, shifts, frames, more compression. Prints
for each kind the recall (copies tied to their source) and the precision (true ties among those that touch such a copy),
the same of all kinds together, and the time for one picture beside Pillow's bare decode of a file. A tie of a copy is
true when it leads to its source, or to a picture that is itself tied to the source. Ties between pictures of the folder
are listed and drawn side by side (--sheet): look at them, some are true; the last line counts them all as false.

--scale draws large sets of different pictures, blends of pieces of the folder's. Nothing but the sheet is written.
"""

from __future__ import annotations

import argparse
import io
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import monotonic, process_time

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.data.copies.duplicates import DuplicatePair, dihedral, near_duplicate_pairs
from budwood.data.planes import PLANE_SIDE, luma_plane

Picture = NDArray[np.uint8]
Fault = Callable[[Picture, np.random.Generator], Picture]
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
SMALLEST, LARGEST = 32, 320  # shorter side that the search is made for
SHEET_COLUMNS, SHEET_ROWS = 8, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A copy, the position of the picture it was made from, and how it was made."""

    picture: Picture
    source: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The ties, apart: own = of two pictures of the folder; true and false ones that touch a copy, by its kind."""

    own: list[DuplicatePair]
    found: Counter[str]
    true: Counter[str]
    false: Counter[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=2000, help="pictures read, drawn at random")
    parser.add_argument("--copies", type=int, default=400, help="copies planted")
    parser.add_argument("--side", type=int, default=0, help="first scale every picture to this side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beyond", action="store_true", help="also plant copies that are harder than the bar's")
    parser.add_argument("--sheet", type=Path, help="draw the ties between pictures of the folder into this PNG")
    parser.add_argument("--scale", default="", help="numbers of made-up pictures, with commas")
    options = parser.parse_args()
    names, pictures, decode = read(options.folder, limit=options.limit, side=options.side, seed=options.seed)
    planes = np.stack([luma_plane(picture) for picture in pictures])
    if options.scale:
        print_growth(planes, [int(number) for number in options.scale.split(",")], seed=options.seed)
        return
    kinds = BAR | BEYOND if options.beyond else BAR
    planted = plant(pictures, kinds=kinds, count=options.copies, seed=options.seed)
    copies = np.stack([luma_plane(copy.picture) for copy in planted])
    print_time("the folder alone", planes, decode)
    pairs = print_time(f"with {len(planted)} copies", np.concatenate([planes, copies]), decode)
    judged = judge(pairs, planted, first_copy=len(pictures))
    print_kinds(judged, planted)
    print_own(judged.own, names)
    if options.sheet:
        draw(judged.own, planes, options.sheet)


def read(folder: Path, *, limit: int, side: int, seed: int) -> tuple[list[str], list[Picture], float]:
    """Up to ``limit`` pictures below ``folder``, shorter sides brought to 32-320 px, and the seconds a decode took."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in ENDINGS)
    if not files:
        raise SystemExit(f"no pictures below {folder}: give a folder of {', '.join(sorted(ENDINGS))} files")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(files))[:limit])
    pictures, seconds = [], 0.0
    for data in (files[i].read_bytes() for i in chosen):
        started = process_time()
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        seconds += process_time() - started
        pictures.append(sized(picture, side, side) if side else fitted(picture))
    return [str(files[i].relative_to(folder)) for i in chosen], pictures, seconds / len(chosen)


def sized(picture: Picture, height: int, width: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def fitted(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    shorter = min(height, width)
    scale = min(max(shorter, SMALLEST), LARGEST) / shorter
    return picture if scale == 1 else sized(picture, round(height * scale), round(width * scale))


def flip(picture: Picture, rng: np.random.Generator) -> Picture:
    return picture[::-1] if rng.random() < 0.5 else picture[:, ::-1]


def quarter_turn(picture: Picture, rng: np.random.Generator) -> Picture:
    return dihedral(picture, int(rng.integers(1, 4)))


def nine_tenths(picture: Picture, rng: np.random.Generator) -> Picture:
    return piece(picture, 0.9, 0.9, rng)


def piece(picture: Picture, tall: float, wide: float, rng: np.random.Generator) -> Picture:
    rows, columns = round(picture.shape[0] * tall), round(picture.shape[1] * wide)
    top, left = rng.integers(0, picture.shape[0] - rows + 1), rng.integers(0, picture.shape[1] - columns + 1)
    return picture[top : top + rows, left : left + columns]


def jpeg(picture: Picture, quality: int) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def jpeg_40(picture: Picture, rng: np.random.Generator) -> Picture:
    return jpeg(picture, 40)


def scale(picture: Picture, rng: np.random.Generator) -> Picture:
    factor = 2 ** rng.uniform(-1, 1)
    return sized(picture, max(8, round(picture.shape[0] * factor)), max(8, round(picture.shape[1] * factor)))


def brightness(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.clip(picture * rng.choice([0.7, 1.3]), 0, 255).astype(np.uint8)


def small_crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """Keeps 70-90 % of each side; half of the crops are stretched back to the old size."""
    part = piece(picture, *rng.uniform(0.7, 0.9, 2), rng)
    return sized(part, *picture.shape[:2]) if rng.random() < 0.5 else part


def jpeg_20(picture: Picture, rng: np.random.Generator) -> Picture:
    return jpeg(picture, 20)


def recolour(picture: Picture, rng: np.random.Generator) -> Picture:
    values = (picture - picture.mean()) * rng.uniform(0.8, 1.25) + picture.mean() * rng.uniform(0.8, 1.25)
    luma = values.mean(axis=2, keepdims=True)
    values = (values * rng.uniform(0.9, 1.1, 3) - luma) * rng.uniform(0, 1.25) + luma
    return np.clip(values, 0, 255).astype(np.uint8)


def shift(picture: Picture, rng: np.random.Generator) -> Picture:
    """Moves by 2-3 px (edges repeated or black), or draws a black or white frame of that width."""
    by = int(rng.integers(2, 4))
    around = ((by, by), (by, by), (0, 0))
    if rng.random() < 1 / 3:
        return np.pad(picture, around, constant_values=int(rng.choice([0, 255])))
    padded = np.pad(picture, around, mode="edge") if rng.random() < 0.5 else np.pad(picture, around)
    down, right = rng.choice([0, 2 * by], 2)
    return padded[down : down + picture.shape[0], right : right + picture.shape[1]]


def with_pairs(singles: dict[str, Fault]) -> dict[str, tuple[Fault, ...]]:
    pairs = {f"{a} + {b}": (singles[a], singles[b]) for a, b in combinations(singles, 2)}
    return {name: (fault,) for name, fault in singles.items()} | pairs


BAR = with_pairs(
    {"flip": flip, "turn": quarter_turn, "crop": nine_tenths, "jpeg": jpeg_40, "size": scale, "brightness": brightness}
)
BEYOND = with_pairs({"small crop": small_crop, "jpeg 20": jpeg_20, "colour": recolour, "shift": shift})


def plant(pictures: list[Picture], *, kinds: dict[str, tuple[Fault, ...]], count: int, seed: int) -> list[Planted]:
    """At most one copy of each picture, the kinds in turn."""
    rng = np.random.default_rng(seed)
    planted = []
    for place, source in enumerate(rng.permutation(len(pictures))[:count].tolist()):
        kind = list(kinds)[place % len(kinds)]
        picture = pictures[source]
        for fault in kinds[kind]:
            picture = np.ascontiguousarray(fault(picture, rng))
        planted.append(Planted(picture=fitted(picture), source=source, kind=kind))
    return planted


def print_time(label: str, planes: NDArray[np.uint8], decode: float) -> list[DuplicatePair]:
    started, cpu = monotonic(), process_time()
    pairs = near_duplicate_pairs(planes)
    wall, cpu = (monotonic() - started) / len(planes), (process_time() - cpu) / len(planes)
    print(
        f"{label}: {len(planes)} pictures, {1e6 * wall:.0f} us a picture ({1e6 * cpu:.0f} us of processor;"
        f" a bare decode takes {1e6 * decode:.0f}), {len(pairs)} ties"
    )
    return pairs


def judge(pairs: list[DuplicatePair], planted: list[Planted], *, first_copy: int) -> Judged:
    own = [pair for pair in pairs if pair.second < first_copy]
    tied = {(pair.first, pair.second) for pair in own}
    found: Counter[str] = Counter()
    true: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for pair in pairs:
        copies = [planted[end - first_copy] for end in (pair.first, pair.second) if end >= first_copy]
        if not copies:
            continue
        one, other = sorted(planted[e - first_copy].source if e >= first_copy else e for e in (pair.first, pair.second))
        found.update(copy.kind for copy in copies if one == other and len(copies) == 1)
        (true if one == other or (one, other) in tied else false).update(copy.kind for copy in copies)
    return Judged(own=own, found=found, true=true, false=false)


def print_kinds(judged: Judged, planted: list[Planted]) -> None:
    total = Counter(copy.kind for copy in planted)
    print(f"  {'kind':<24}{'found':>12}  {'recall':>8}{'false ties':>12}{'precision':>11}")
    for kind in total:
        print_line(kind, [kind], judged, total)
    print_line("all", total, judged, total)
    if BEYOND.keys() & total.keys():
        print_line("all of the bar", BAR, judged, total)
    true = judged.true.total()
    worst = true / max(1, true + judged.false.total() + len(judged.own))
    print(f"  precision if every tie within the folder is false: {100 * worst:.1f} %")


def print_line(label: str, kinds: Iterable[str], judged: Judged, total: Counter[str]) -> None:
    found, planted, true, false = (
        sum(counts[kind] for kind in kinds) for counts in (judged.found, total, judged.true, judged.false)
    )
    precision = f"{100 * true / (true + false):9.1f} %" if true + false else "-"
    share = 100 * found / max(1, planted)
    print(f"  {label:<24}{found:>5} of {planted:<4}{share:7.1f} %{false:>12}{precision:>11}")


def print_own(own: list[DuplicatePair], names: list[str]) -> None:
    print(f"  ties within the folder: {len(own)}; the least alike:")
    for pair in sorted(own, key=lambda p: p.similarity)[:20]:
        print(f"    {pair.similarity:.2f}  {pair.transform}: {names[pair.first]}  {names[pair.second]}")


def draw(own: list[DuplicatePair], planes: NDArray[np.uint8], file: Path) -> None:
    """The least alike ties, side by side, row by row."""
    shown = sorted(own, key=lambda p: p.similarity)[: SHEET_COLUMNS * SHEET_ROWS]
    width, height = 2 * PLANE_SIDE + 8, PLANE_SIDE + 8
    sheet = np.full((height * max(1, -(-len(shown) // SHEET_COLUMNS)), width * SHEET_COLUMNS), 128, np.uint8)
    for k, pair in enumerate(shown):
        top, left = k // SHEET_COLUMNS * height, k % SHEET_COLUMNS * width
        both = np.concatenate([planes[pair.first], planes[pair.second]], axis=1)
        sheet[top : top + PLANE_SIDE, left : left + 2 * PLANE_SIDE] = both
    Image.fromarray(sheet).save(file)


def print_growth(planes: NDArray[np.uint8], numbers: list[int], *, seed: int) -> None:
    for number in numbers:
        made = blends(planes, number, seed=seed)
        started, cpu = monotonic(), process_time()
        pairs = near_duplicate_pairs(made)
        wall, cpu = monotonic() - started, process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{number:>7} pictures: {wall:6.2f} s, {1e6 * wall / number:4.0f} us a picture"
            f" ({1e6 * cpu / number:4.0f} us of processor), {len(pairs)} ties, peak memory {peak:.0f} MB"
        )


def blends(planes: NDArray[np.uint8], count: int, *, seed: int) -> NDArray[np.uint8]:
    """``count`` made-up planes: a quarter of one picture, enlarged, over a turned quarter of another."""
    rng = np.random.default_rng(seed)
    half = PLANE_SIDE // 2
    made = np.empty((count, PLANE_SIDE, PLANE_SIDE), np.uint8)
    for k in range(count):
        values = np.zeros((half, half))
        for i, (top, left) in zip(rng.integers(len(planes), size=2), rng.integers(0, half, (2, 2)), strict=True):
            part = planes[i, top : top + half, left : left + half]
            values += dihedral(part, int(rng.integers(8)))
        made[k] = np.clip(values - values.mean() + 120, 0, 255).repeat(2, axis=0).repeat(2, axis=1)
    return made


if __name__ == "__main__":
    main()
