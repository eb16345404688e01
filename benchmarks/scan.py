"""Times the scan and the audit against Pillow's bare decode of the same files, on the same cores, in one run.

    python benchmarks/scan.py [FOLDER] [--side 96] [--count 2000] [--format JPEG] [--repeats 5] [--processes 2]

FOLDER holds class folders; without it, ``count`` pictures of ``side`` pixels are drawn into a temporary folder. Each
repeat runs, in turn: the bare decode (``Image.open`` and ``load`` in that many processes, started before the clock),
scan and audit with an empty store and as set by default, without embeddings, and both once more with nothing changed.
All start with the files in the page cache. Nothing is written but a store in a temporary folder.

The seconds of processor beside the wall time tell on a busy machine what the wall time cannot. What a scan takes before
its first picture, mostly the start of its processes, is shown by a scan of 16 tiny pictures for each process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from budwood.data.audit import AuditSpec, audit
from budwood.data.inputs.sources import open_source
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.store import PictureStore

SIDE = 320  # of the store, as in training
FEWEST = 16  # pictures a process, see reader.FILES_A_WORKER
CHUNK = 64  # files that a bare process is handed at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=96, help="pixels a side of drawn pictures")
    parser.add_argument("--count", type=int, default=2000, help="how many are drawn")
    parser.add_argument("--format", default="JPEG", choices=["JPEG", "PNG", "WEBP"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--no-near-duplicates", action="store_true", help="leave the search for copies out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="budwood-bench-") as place:
        folder = options.folder or draw(
            Path(place, "drawn"), side=options.side, count=options.count, kind=options.format
        )
        spec = AuditSpec(near_duplicates=not options.no_near_duplicates)
        measure(folder, Path(place, "store"), spec=spec, repeats=options.repeats, processes=options.processes)


def draw(folder: Path, *, side: int, count: int, kind: str) -> Path:
    """``count`` different pictures with shapes, texture and grain, in four classes; their files are ``kind``."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class {number % 4}" / f"{number:06}.{kind.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((side, side), 3)
        fine = Image.fromarray(rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)).resize((side, side), 2)
        picture = Image.blend(coarse, fine, 0.3)
        picture = Image.blend(picture, Image.effect_noise((side, side), 60).convert("RGB"), 0.15)
        picture.save(path, quality=88)
    return folder


def measure(folder: Path, place: Path, *, spec: AuditSpec, repeats: int, processes: int) -> None:
    """Run all in turn, print the medians, and each ratio with its spread."""
    files = [entry.place for entry in open_source(folder).entries]
    tiny = draw(place.with_name("tiny"), side=8, count=FEWEST * processes, kind="JPEG")
    spent: dict[str, list[Spent]] = {name: [] for name in ("bare decode", "start", "scan", "audit", "second scan")}
    with ProcessPoolExecutor(processes) as pool:
        bare(pool, files)  # processes are started, files are in the page cache
        for repeat in range(repeats):
            spent["bare decode"].append(timed(lambda: bare(pool, files)))
            spent["start"].append(timed(partial(scanned, tiny, place / f"{repeat} tiny", processes=processes)))
            once(folder, place / str(repeat), spec=spec, spent=spent, processes=processes)
    print(f"{len(files)} pictures, {repeats} repeats, {processes} processes; microseconds for one picture:")
    for name, values in spent.items():
        wall = [value.wall / len(files) * 1e6 for value in values]
        processor = statistics.median(value.processor for value in values) / len(files) * 1e6
        share = f"{statistics.median(wall):9.1f}   ({min(wall):.1f} - {max(wall):.1f})"
        print(f"  {name:12} {share:32} {processor:9.1f} of processor")
    both = [Spent(*map(sum, zip(*pair, strict=True))) for pair in zip(spent["scan"], spent["audit"], strict=True)]
    show("scan alone, of the bare decode's rate", spent["bare decode"], spent["scan"], percent=True)
    show("scan and audit, of the bare decode's rate", spent["bare decode"], both, percent=True)
    show("second scan, times faster", spent["scan"], spent["second scan"], percent=False)


def once(folder: Path, place: Path, *, spec: AuditSpec, spent: dict[str, list[Spent]], processes: int) -> None:
    catalogs: list[Catalog] = []
    spent["scan"].append(timed(lambda: catalogs.append(scanned(folder, place, processes=processes))))
    store = PictureStore(place, side=SIDE)
    spent["audit"].append(timed(lambda: audit(catalogs[0], store, spec=spec)))
    spent["second scan"].append(timed(lambda: catalogs.append(scanned(folder, place, processes=processes))))
    assert catalogs[0] == catalogs[1]


def scanned(folder: Path, place: Path, *, processes: int) -> Catalog:
    return scan(folder, store=PictureStore(place, side=SIDE), workers=processes)


def bare(pool: ProcessPoolExecutor, files: list[str]) -> float:
    """Decode all; returns the seconds of processor in the pool, which are not in this process's count."""
    return sum(pool.map(load, [files[k : k + CHUNK] for k in range(0, len(files), CHUNK)]))


def load(files: list[str]) -> float:
    began = time.process_time()
    for file in files:
        with Image.open(file) as image:
            image.load()
    return time.process_time() - began


class Spent(NamedTuple):
    """Seconds of a step: by the clock, and of all processors, child processes that ended in it included."""

    wall: float
    processor: float


def timed(step: Callable[[], object]) -> Spent:
    """Run a step; what it returns, if a number, are seconds of processor in processes that go on."""
    began, before = time.perf_counter(), sum(os.times()[:4])
    more = step()
    spent = sum(os.times()[:4]) - before + (more if isinstance(more, float) else 0.0)
    return Spent(time.perf_counter() - began, spent)


def show(name: str, base: list[Spent], other: list[Spent], *, percent: bool) -> None:
    ratios = sorted(a.wall / b.wall * (100 if percent else 1) for a, b in zip(base, other, strict=True))
    unit = " %" if percent else " x"
    processor = statistics.median(a.processor / max(b.processor, 1e-9) for a, b in zip(base, other, strict=True))
    by_processor = f"; {processor * (100 if percent else 1):.1f}{unit} by seconds of processor"
    print(f"{name}: {statistics.median(ratios):.1f}{unit} ({ratios[0]:.1f} - {ratios[-1]:.1f}){by_processor}")


if __name__ == "__main__":
    main()
