"""Plants copies, runs scan, audit and split, and counts the copies that lie in another part than their source.

    python benchmarks/split_leaks.py FOLDER [--limit 3000] [--copies 1000] [--seed 0] [--splits 3]

A copy has one change: a flip, a quarter turn, a 90 % crop, JPEG at quality 40, another size, or brightness +-30 %, see
`near_duplicates.py`. Prints how many are tied to their source, surely or as doubtful pairs; the copies across parts for
each split, with and without the doubtful pairs; how large the groups are; and the class whose share of a part is worst.
The pictures are written to a temporary folder, which goes at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from near_duplicates import BAR, ENDINGS, plant
from PIL import Image

from budwood.data.audit import AuditResult, audit
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.split import Split, SplitSpec, largest_deviation, split, tied_groups
from budwood.data.store import PictureStore

SIDE = 320  # px of the pictures that the store keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The paths of a picture and of its planted copy, and how that was made."""

    source: str
    copy: str
    kind: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of class folders")
    parser.add_argument("--limit", type=int, default=3000, help="pictures taken, drawn at random")
    parser.add_argument("--copies", type=int, default=1000, help="copies planted")
    parser.add_argument("--seed", type=int, default=0, help="of the copies")
    parser.add_argument("--splits", type=int, default=3, help="splits made, with seeds 0, 1, ...")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        pairs = write(options.folder, photos, limit=options.limit, copies=options.copies, seed=options.seed)
        store = PictureStore(Path(scratch) / "store", side=SIDE)
        catalog = scan(photos, store=store)
        found = audit(catalog, store)
    report(catalog.usable(), found, pairs, splits=options.splits)


def write(folder: Path, photos: Path, *, limit: int, copies: int, seed: int) -> list[Pair]:
    """Copy up to ``limit`` pictures to ``photos``, and plant copies beside their sources."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in ENDINGS)
    if not files:
        raise SystemExit(f"no pictures below {folder}: give a folder of {', '.join(sorted(ENDINGS))} files")
    files = [files[i] for i in np.sort(np.random.default_rng(seed).permutation(len(files))[:limit])]
    for file in files:
        place = photos / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    singles = {kind: faults for kind, faults in BAR.items() if len(faults) == 1}
    pairs = []
    for number, planted in enumerate(plant(pictures, kinds=singles, count=copies, seed=seed)):
        source = files[planted.source].relative_to(folder)
        copy = source.with_name(f"planted{number:05}.png")
        Image.fromarray(planted.picture).save(photos / copy)
        pairs.append(Pair(source=source.as_posix(), copy=copy.as_posix(), kind=planted.kind))
    return pairs


def report(catalog: Catalog, found: AuditResult, pairs: Sequence[Pair], *, splits: int) -> None:
    sure = tied_groups(catalog, found.groups)
    for seed in range(splits):
        plain = split(catalog, groups=found.groups, seed=seed)
        made = split(catalog, groups=found.groups, doubtful=found.doubtful, seed=seed)
        print(
            f"split {seed}: {across(plain, catalog, pairs)} of {len(pairs)} copies across parts by the sure pairs,"
            f" {across(made, catalog, pairs)} with the doubtful ones; {share(made, catalog)}"
        )
    untied = [pair for pair in pairs if pair not in within(made.groups, pairs)]
    print(f"tied: {len(within(sure, pairs))} surely, {len(pairs) - len(untied)} in all; left: {kinds(untied)}")
    united = set(made.groups) - set(sure)
    print(
        f"{len(found.doubtful)} doubtful pairs made {len(united)} groups of {sum(map(len, united))} of {len(catalog)}"
        f" pictures; largest group: {longest(sure)} pictures by the sure pairs, {longest(made.groups)} in all"
    )


def across(made: Split, catalog: Catalog, pairs: Iterable[Pair]) -> int:
    part_of = {catalog.records[i].path: part for part, rows in made.parts.items() for i in rows}
    return sum(part_of[pair.source] != part_of[pair.copy] for pair in pairs)


def within(groups: Iterable[Sequence[str]], pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs of which both lie in one group."""
    group_of = {path: number for number, paths in enumerate(groups) for path in paths}
    return [pair for pair in pairs if pair.source in group_of and group_of[pair.source] == group_of.get(pair.copy)]


def share(made: Split, catalog: Catalog) -> str:
    worst = largest_deviation(made, catalog, SplitSpec())
    missed = 100 * abs(worst.found - worst.wished) / catalog.counts()[worst.label]
    where = f"{worst.label} in {worst.part}"
    return f"worst share: {worst.found} of {where} for {worst.wished:.1f} ({missed:.1f} % of the class)"


def kinds(pairs: Iterable[Pair]) -> str:
    return ", ".join(f"{pair.kind} of {pair.source}" for pair in pairs) or "none"


def longest(groups: Iterable[Sequence[str]]) -> int:
    return max(map(len, groups), default=1)


if __name__ == "__main__":
    main()
