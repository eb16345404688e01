"""Measures the near-duplicate search on a folder of pictures, with copies planted on the fly.

    python benchmarks/near_duplicates.py FOLDER [--limit 2000] [--copies 400] [--side 0] [--seed 0]

Prints, for each way of copying, how many copies were tied to their source; then the ties between pictures of the
folder itself (look at them: some are true), the largest group, and the time. Nothing is written.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from budwood.data.duplicates import DuplicatePair, dihedral, near_duplicate_pairs

Picture = NDArray[np.uint8]
Fault = Callable[[Picture, np.random.Generator], Picture]
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
SMALLEST, LARGEST = 32, 320  # shorter side that the search is made for


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A copy, the position of the picture it was made from, and how it was made."""

    picture: Picture
    source: int
    kind: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=2000, help="pictures read, drawn at random")
    parser.add_argument("--copies", type=int, default=400, help="copies planted")
    parser.add_argument("--side", type=int, default=0, help="first scale every picture to this side")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names, pictures = read(options.folder, limit=options.limit, side=options.side, seed=options.seed)
    planted = plant(pictures, count=options.copies, seed=options.seed)
    started = monotonic()
    pairs = near_duplicate_pairs([*pictures, *(p.picture for p in planted)])
    seconds = monotonic() - started
    print(f"{len(pictures)} pictures and {len(planted)} copies: {seconds:.1f} s")
    print_recall(pairs, planted, len(pictures))
    print_ties(pairs, names)


def read(folder: Path, *, limit: int, side: int, seed: int) -> tuple[list[str], list[Picture]]:
    """Up to ``limit`` pictures below ``folder``, their shorter sides brought to 32-320 px."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in ENDINGS)
    if not files:
        raise SystemExit(f"no pictures below {folder}: give a folder of {', '.join(sorted(ENDINGS))} files")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(files))[:limit])
    pictures = []
    for file in (files[i] for i in chosen):
        with Image.open(file) as image:
            picture = np.asarray(image.convert("RGB"))
        pictures.append(sized(picture, side, side) if side else fitted(picture))
    return [str(files[i].relative_to(folder)) for i in chosen], pictures


def sized(picture: Picture, height: int, width: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def fitted(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    shorter = min(height, width)
    scale = min(max(shorter, SMALLEST), LARGEST) / shorter
    return picture if scale == 1 else sized(picture, round(height * scale), round(width * scale))


def turn(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.ascontiguousarray(dihedral(picture, int(rng.integers(1, 8))))


def crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """Keeps 70-97 % of each side; half of the crops are stretched back to the old size."""
    height, width = picture.shape[:2]
    kept = rng.uniform(0.7, 0.97, 2) if rng.random() < 0.5 else np.repeat(rng.uniform(0.7, 0.95), 2)
    rows, columns = int(np.ceil(height * kept[0])), int(np.ceil(width * kept[1]))
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    part = picture[top : top + rows, left : left + columns]
    return sized(part, height, width) if rng.random() < 0.5 else part


def recompress(picture: Picture, rng: np.random.Generator) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=int(rng.integers(20, 60)))
    return np.asarray(Image.open(buffer).convert("RGB"))


def scale(picture: Picture, rng: np.random.Generator) -> Picture:
    factor = 2 ** rng.uniform(-1, 1)
    return sized(picture, max(8, round(picture.shape[0] * factor)), max(8, round(picture.shape[1] * factor)))


def recolour(picture: Picture, rng: np.random.Generator) -> Picture:
    values = picture * rng.uniform(0.8, 1.25)
    values = (values - values.mean()) * rng.uniform(0.8, 1.25) + values.mean()
    luma = values.mean(axis=2, keepdims=True)
    values = (values * rng.uniform(0.9, 1.1, 3) - luma) * rng.uniform(0.8, 1.25) + luma
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


def grey(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


FAULTS: dict[str, tuple[Fault, ...]] = {
    "turn": (turn,),
    "crop": (crop,),
    "jpeg": (recompress,),
    "scale": (scale,),
    "colour": (recolour,),
    "shift": (shift,),
    "grey": (grey,),
    "turn + crop": (turn, crop),
    "turn + jpeg": (turn, recompress),
    "turn + scale": (turn, scale),
    "turn + colour": (turn, recolour),
    "turn + shift": (turn, shift),
    "crop + jpeg": (crop, recompress),
    "crop + scale": (crop, scale),
    "crop + colour": (crop, recolour),
    "crop + grey": (crop, grey),
    "scale + jpeg": (scale, recompress),
    "colour + jpeg": (recolour, recompress),
    "shift + jpeg": (shift, recompress),
}


def plant(pictures: list[Picture], *, count: int, seed: int) -> list[Planted]:
    """At most one copy of each picture, the kinds in turn."""
    rng = np.random.default_rng(seed)
    kinds, planted = list(FAULTS), []
    for place, source in enumerate(rng.permutation(len(pictures))[:count]):
        kind = kinds[place % len(kinds)]
        picture = pictures[source]
        for fault in FAULTS[kind]:
            picture = np.ascontiguousarray(fault(picture, rng))
        planted.append(Planted(picture=fitted(picture), source=int(source), kind=kind))
    return planted


def print_recall(pairs: list[DuplicatePair], planted: list[Planted], first_copy: int) -> None:
    tied = {(p.first, p.second) for p in pairs}
    total = Counter(p.kind for p in planted)
    hit = Counter(p.kind for k, p in enumerate(planted) if (p.source, first_copy + k) in tied)
    for kind in FAULTS:
        if total[kind]:
            print(f"  {kind:<14} {hit[kind]:>4} of {total[kind]:<4} {100 * hit[kind] / total[kind]:6.1f} %")
    print(f"  {'all':<14} {hit.total():>4} of {total.total():<4} {100 * hit.total() / max(1, total.total()):6.1f} %")


def print_ties(pairs: list[DuplicatePair], names: list[str]) -> None:
    own = [p for p in pairs if p.second < len(names)]
    edges = (np.ones(len(own)), ([p.first for p in own], [p.second for p in own]))
    groups = connected_components(coo_array(edges, shape=(len(names), len(names))), directed=False)[1]
    print(f"  ties within the folder: {len(own)}; largest group: {np.bincount(groups).max()}")
    for pair in sorted(own, key=lambda p: p.similarity)[:20]:
        print(f"    {pair.similarity:.2f}  {pair.transform}: {names[pair.first]}  {names[pair.second]}")


if __name__ == "__main__":
    main()
