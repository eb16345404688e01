"""Measures the checks that need no network on a folder of class folders, with faults planted into copies.

    python benchmarks/checks.py FOLDER [--limit 3000] [--copies 1000] [--share 0.05] [--seed 0] [--show DIR]

For each fault and strength, a share of the pictures is replaced by faulty copies, written as files and scanned; the
table says how many of them the check found and how many others. "Others" are pictures of the folder itself: some have
the fault by nature, so look at them (--show writes contact sheets of what each check finds in the folder as it is).
Then copies, repeats, wrong labels and cut files are planted among ``--copies`` pictures and audited. The folder itself
is not changed.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
from faults import LOOKS, RARE, Picture, Plan, jpeg
from PIL import Image

from budwood.data.audit import audit
from budwood.data.checks import CHECKS
from budwood.data.records import Catalog, Finding, ImageRecord
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.files import unescape_name

QUALITY = 92  # faulty copies are JPEG files, as those of a camera with that fault would be
RARE_SHARE = 0.015  # of the pictures: a size is rare when few have it
SHEET = 120  # pictures on a contact sheet
COPIES = {
    "unreadable": "cut at 10-90 %",
    "exact_duplicate": "one copy each",
    "repeated_picture": "98 equal, 98 recompressed",
    "conflicting_labels": "equal; mirrored and recompressed",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=3000, help="pictures used, drawn at random")
    parser.add_argument("--copies", type=int, default=1000, help="pictures used for copies; 0 leaves them out")
    parser.add_argument("--share", type=float, default=0.05, help="part of the pictures that get a fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=Path, help="folder for contact sheets")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    catalog = drawn(scan(options.folder), options.limit, rng)
    print_natural(catalog, show=options.show)
    print(f"{'check':<19} {'fault':<33} {'planted':>7} {'found':>6} {'others':>7} {'recall':>7} {'precision':>10}")
    with tempfile.TemporaryDirectory() as place:
        for number, plan in enumerate((*LOOKS, *RARE)):
            share = options.share if plan in LOOKS else min(options.share, RARE_SHARE)
            try_plan(plan, catalog, share=share, rng=rng, folder=Path(place) / f"{number}")
        if options.copies:
            try_copies(drawn(catalog, options.copies, rng), rng=rng, folder=Path(place) / "copies")


def drawn(catalog: Catalog, limit: int, rng: np.random.Generator) -> Catalog:
    chosen = np.sort(rng.permutation(len(catalog))[:limit])
    return replace(catalog, records=tuple(catalog.records[i] for i in chosen))


def print_natural(catalog: Catalog, *, show: Path | None) -> None:
    started = process_time()
    own = {name: check(catalog) for name, check in CHECKS.items()}
    cost = 1e6 * (process_time() - started) / len(catalog)
    print(f"{len(catalog)} pictures, {len(catalog.classes)} classes; all checks: {cost:.1f} microseconds a picture")
    for name, found in own.items():
        if found:
            print(f"  {name:<19} {len(found):>5} in the folder as it is{said_of_all(found)}")
        if show:
            contact_sheet(catalog, found, show / f"{name}.png")


def row(check: str, strength: str, *, planted: set[str], flagged: set[str], note: str = "") -> None:
    found, others = len(planted & flagged), len(flagged - planted)
    recall, precision = found / max(1, len(planted)), found / max(1, found + others)
    numbers = f"{len(planted):>7} {found:>6} {others:>7} {recall:>7.2f} {precision:>10.2f}"
    print(f"{check:<19} {strength:<33} {numbers}{note}", flush=True)


def try_plan(plan: Plan, catalog: Catalog, *, share: float, rng: np.random.Generator, folder: Path) -> None:
    """Replace a share of the records by those of faulty copies, and judge all."""
    for i in rng.permutation(len(catalog))[: max(1, round(share * len(catalog)))].tolist():
        record = catalog.records[i]
        save(plan.change(read(catalog, record.path), rng), folder / unescape_name(record.path), plan)
    faulty = {record.path: record for record in scan(folder, min_classes=1).records}
    records = tuple(faulty.get(record.path, record) for record in catalog.records)
    found = [f for name in plan.checks for f in CHECKS[name](replace(catalog, records=records))]
    flagged = {path for finding in found for path in finding.paths}
    row(plan.checks[0], plan.strength, planted=set(faulty), flagged=flagged, note=said_of_all(found))


def read(catalog: Catalog, path: str) -> Picture:
    with Image.open(catalog.root / unescape_name(path)) as image:
        return np.asarray(image.convert("RGB"))


def save(picture: Picture, file: Path, plan: Plan) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # The scan looks at the bytes, not at the ending: the record keeps its path.
    options = {"quality": QUALITY} if plan.format == "JPEG" else {}
    Image.fromarray(picture).convert(plan.mode).save(file, plan.format, **options)


def said_of_all(found: list[Finding]) -> str:
    said = [finding.evidence for finding in found if not finding.paths]
    return f"  ({said[0]})" if said else ""


def try_copies(catalog: Catalog, *, rng: np.random.Generator, folder: Path) -> None:
    """Plant copies among the pictures and audit them all."""
    photos = folder / "photos"
    for record in catalog.records:
        write(photos, record.path, original(catalog, record))
    planted, sources = plant_copies(catalog, photos, rng)
    store = PictureStore(folder / "store", side=320)
    findings = audit(scan(photos, store=store), store).findings
    for check, strength in COPIES.items():
        flagged = {path for finding in findings if finding.check == check for path in finding.paths}
        # Equal files that another fault needed, and the originals of copies, are found rightly.
        rightly = set().union(*planted.values()) | sources if check == "exact_duplicate" else set()
        row(check, strength, planted=planted[check], flagged=flagged - (rightly - planted[check]))


def plant_copies(catalog: Catalog, photos: Path, rng: np.random.Generator) -> tuple[dict[str, set[str]], set[str]]:
    """Two pictures 98 times each, 30 copied once, 60 copied into another class, 30 copied and cut."""
    order = [catalog.records[i] for i in rng.permutation(len(catalog)).tolist()]
    planted: dict[str, set[str]] = {name: set() for name in COPIES}

    def plant(check: str, name: str, data: bytes) -> None:
        write(photos, name, data)
        planted[check].add(name)

    for number, record in enumerate(order[:2]):
        planted["repeated_picture"].add(record.path)
        for copy in range(97):
            data = original(catalog, record) if number else jpeg(read(catalog, record.path), 50 + copy // 2)
            plant("repeated_picture", f"{record.label}/repeat{number}-{copy:02}.jpg", data)
    for number, record in enumerate(order[2:32]):
        plant("exact_duplicate", f"{record.label}/copy{number}.jpg", original(catalog, record))
    for number, record in enumerate(order[32:92]):
        mirrored = np.ascontiguousarray(read(catalog, record.path)[:, ::-1])
        data = original(catalog, record) if number % 2 else jpeg(mirrored, 70)
        other = catalog.classes[(catalog.classes.index(record.label) + 1) % len(catalog.classes)]
        plant("conflicting_labels", f"{other}/conflict{number}.jpg", data)
        planted["conflicting_labels"].add(record.path)
    for number, record in enumerate(order[92:122]):
        data = original(catalog, record)
        plant("unreadable", f"{record.label}/cut{number}.jpg", data[: int(len(data) * rng.uniform(0.1, 0.9))])
    return planted, {record.path for record in order[:32]}


def original(catalog: Catalog, record: ImageRecord) -> bytes:
    return (catalog.root / unescape_name(record.path)).read_bytes()


def write(folder: Path, path: str, data: bytes) -> None:
    file = folder / unescape_name(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def contact_sheet(catalog: Catalog, found: list[Finding], file: Path) -> None:
    """The pictures that a check flagged, strongest first, 20 a row."""
    paths = [path for finding in sorted(found, key=lambda f: -f.score) for path in finding.paths][:SHEET]
    if not paths:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (20 * 98, -(-len(paths) // 20) * 98))
    for place, path in enumerate(paths):
        small = Image.fromarray(read(catalog, path)).resize((96, 96))
        sheet.paste(small, (place % 20 * 98, place // 20 * 98))
    sheet.save(file)


if __name__ == "__main__":
    main()
