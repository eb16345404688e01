"""Times the scan and the audit against Pillow's bare decode of the same files, on the same cores, in one run.

    python benchmarks/scan.py [FOLDER] [--side 96] [--count 2000] [--format JPEG] [--repeats 5] [--processes 2]

FOLDER holds class folders; without it, ``count`` pictures of ``side`` pixels are drawn into a temporary folder. Each
repeat runs, in turn: the bare decode (``Image.open`` and ``load`` in that many processes, started before the clock),
scan and audit with an empty store and as set by default, without embeddings, and both once more with nothing changed.
All start with the files in the page cache. Nothing is written but a store in a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from budwood.data.audit import AuditSpec, audit
from budwood.data.inputs.sources import open_source
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.store import PictureStore

SIDE = 320  # of the store, as in training
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
    seconds: dict[str, list[float]] = {"bare decode": [], "scan": [], "audit": [], "second scan": []}
    with ProcessPoolExecutor(processes) as pool:
        bare(pool, files)  # processes are started, files are in the page cache
        for repeat in range(repeats):
            seconds["bare decode"].append(timed(lambda: bare(pool, files)))
            once(folder, place / str(repeat), spec=spec, seconds=seconds, processes=processes)
    print(f"{len(files)} pictures, {repeats} repeats, {processes} processes; microseconds for one picture:")
    for name, values in seconds.items():
        each = [value / len(files) * 1e6 for value in values]
        print(f"  {name:12} {statistics.median(each):9.1f}   ({min(each):.1f} - {max(each):.1f})")
    both = [a + b for a, b in zip(seconds["scan"], seconds["audit"], strict=True)]
    show("scan alone, of the bare decode's rate", seconds["bare decode"], seconds["scan"], percent=True)
    show("scan and audit, of the bare decode's rate", seconds["bare decode"], both, percent=True)
    show("second scan, times faster", seconds["scan"], seconds["second scan"], percent=False)


def once(folder: Path, place: Path, *, spec: AuditSpec, seconds: dict[str, list[float]], processes: int) -> None:
    catalogs: list[Catalog] = []

    def scanned() -> None:
        catalogs.append(scan(folder, store=PictureStore(place, side=SIDE), workers=processes))

    seconds["scan"].append(timed(scanned))
    store = PictureStore(place, side=SIDE)
    seconds["audit"].append(timed(lambda: audit(catalogs[0], store, spec=spec)))
    seconds["second scan"].append(timed(scanned))
    assert catalogs[0] == catalogs[1]


def bare(pool: ProcessPoolExecutor, files: list[str]) -> None:
    for _ in pool.map(load, [files[k : k + CHUNK] for k in range(0, len(files), CHUNK)]):
        pass


def load(files: list[str]) -> None:
    for file in files:
        with Image.open(file) as image:
            image.load()


def timed(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def show(name: str, base: list[float], other: list[float], *, percent: bool) -> None:
    ratios = sorted(a / b * (100 if percent else 1) for a, b in zip(base, other, strict=True))
    unit = " %" if percent else " x"
    print(f"{name}: {statistics.median(ratios):.1f}{unit} ({ratios[0]:.1f} - {ratios[-1]:.1f})")


if __name__ == "__main__":
    main()
