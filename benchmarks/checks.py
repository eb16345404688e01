"""Measures the checks that need no network on a folder of class folders, with faults planted into copies.

    python benchmarks/checks.py FOLDER [--limit 3000] [--copies 1000] [--share 0.05] [--seed 0] [--show DIR]

For each fault and strength, a share of the pictures is replaced by faulty copies, written as files and scanned; the
table says how many of them the check found and how many others. "Others" are pictures of the folder itself: some have
the fault by nature, so look at them (--show writes contact sheets of what each check finds in the folder as it is).
Then copies, repeats and wrong labels are planted into the first ``--copies`` pictures and audited. The folder itself
is not changed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from budwood.data.audit import audit
from budwood.data.checks import CHECKS
from budwood.data.records import Catalog, Finding
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.files import unescape_name

Picture = NDArray[np.uint8]
Fault = Callable[[Picture, np.random.Generator], Picture]
QUALITY = 92  # faulty copies are JPEG files, as those of a camera with that fault would be
SHEET = 120  # pictures on a contact sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fault: the checks that may find it, its strength in words, how a picture gets it, and how it is saved."""

    checks: tuple[str, ...]
    strength: str
    change: Fault
    mode: str = "RGB"
    format: str = "JPEG"


def light(gain: float) -> Fault:
    return lambda picture, _: as_bytes(picture * np.float32(gain))


def pale(factor: float) -> Fault:
    def change(picture: Picture, rng: np.random.Generator) -> Picture:
        mean = picture.mean()
        return as_bytes((picture - mean) * factor + mean + rng.uniform(-15, 15))

    return change


def soft(share: float) -> Fault:
    """Gaussian blur; its radius is a share of the shorter side."""

    def change(picture: Picture, _: np.random.Generator) -> Picture:
        radius = share * min(picture.shape[:2])
        return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))

    return change


def moved(share: float) -> Fault:
    """Motion blur in a random direction; its length is a share of the shorter side."""

    def change(picture: Picture, rng: np.random.Generator) -> Picture:
        length, angle = share * min(picture.shape[:2]), rng.uniform(0, np.pi)
        margin = int(np.ceil(length / 2)) + 1
        framed = Image.fromarray(np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
        steps = np.linspace(-length / 2, length / 2, 2 * int(np.ceil(length)) + 1)
        total = np.zeros((framed.height, framed.width, 3), np.float32)
        for step in steps:
            across, down = step * np.cos(angle), step * np.sin(angle)
            matrix = (1, 0, across, 0, 1, down)
            total += np.asarray(
                framed.transform(framed.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            )
        return as_bytes(total / len(steps))[margin:-margin, margin:-margin]

    return change


def tinted(red: float, green: float, blue: float) -> Fault:
    return lambda picture, _: as_bytes(picture * np.array([red, green, blue]))


def shaded(darkness: float) -> Fault:
    """A shadow with a straight, slightly soft edge over 30-55 % of the picture."""

    def change(picture: Picture, rng: np.random.Generator) -> Picture:
        height, width = picture.shape[:2]
        angle = rng.uniform(0, 2 * np.pi)
        rows, columns = np.mgrid[0:height, 0:width]
        along = columns * np.cos(angle) + rows * np.sin(angle)
        edge = np.quantile(along, rng.uniform(0.3, 0.55))
        lit = np.clip((along - edge) / (0.02 * min(height, width)) + 0.5, 0, 1)[..., None]
        return as_bytes(picture * (darkness + (1 - darkness) * lit))

    return change


def resized(width: float, height: float) -> Fault:
    def change(picture: Picture, _: np.random.Generator) -> Picture:
        size = (max(4, round(picture.shape[1] * width)), max(4, round(picture.shape[0] * height)))
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))

    return change


def any_size(picture: Picture, rng: np.random.Generator) -> Picture:
    """Each of another size, as pictures from the web among prepared ones (report A4)."""
    return resized(*rng.uniform(0.4, 1.6, 2))(picture, rng)


def same(picture: Picture, _: np.random.Generator) -> Picture:
    return picture


def as_bytes(values: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


LOOKS = (
    *(Plan(checks=("too_dark",), strength=f"light x {g}", change=light(g)) for g in (0.06, 0.12, 0.2)),
    *(Plan(checks=("too_bright",), strength=f"light x {g}", change=light(g)) for g in (8.0, 5.0, 3.0)),
    *(Plan(checks=("low_contrast",), strength=f"contrast x {f}", change=pale(f)) for f in (0.1, 0.18, 0.3)),
    *(Plan(checks=("blurred",), strength=f"Gauss {100 * s:.1f} %", change=soft(s)) for s in (0.05, 0.03, 0.02)),
    *(Plan(checks=("blurred",), strength=f"motion {100 * s:.0f} %", change=moved(s)) for s in (0.16, 0.1, 0.06)),
    *(
        Plan(checks=("colour_cast",), strength=f"red, green, blue x {g}", change=tinted(*g))
        for g in ((1.5, 0.7, 0.75), (0.6, 1, 1.5), (1.4, 1, 0.6), (1.2, 1, 0.8))
    ),
    *(Plan(checks=("strong_shadow",), strength=f"shade x {d}", change=shaded(d)) for d in (0.15, 0.25, 0.35)),
)
RARE = (
    Plan(checks=("odd_dimensions", "odd_aspect"), strength="any size", change=any_size),
    Plan(checks=("odd_dimensions", "odd_aspect"), strength="half size", change=resized(0.5, 0.5)),
    Plan(checks=("odd_mode",), strength="grey file", change=same, mode="L"),
    Plan(checks=("odd_mode",), strength="CMYK", change=same, mode="CMYK"),
    Plan(checks=("odd_mode",), strength="palette", change=same, mode="P", format="PNG"),
    Plan(checks=("odd_mode",), strength="transparency", change=same, mode="RGBA", format="PNG"),
    Plan(checks=("odd_format",), strength="PNG", change=same, format="PNG"),
)


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
    print(f"{len(catalog)} pictures, {len(catalog.classes)} classes")
    started = process_time()
    own = {name: check(catalog) for name, check in CHECKS.items()}
    print(f"all checks: {1e6 * (process_time() - started) / len(catalog):.1f} microseconds a picture")
    for name, found in own.items():
        print(f"  {name:<16} {len(found):>5} findings in the folder as it is" + without_paths(found))
    if options.show:
        for name, found in own.items():
            contact_sheet(catalog, found, options.show / f"{name}.png")
    header()
    with tempfile.TemporaryDirectory() as place:
        for number, plan in enumerate(LOOKS):
            try_plan(plan, catalog, share=options.share, rng=rng, folder=Path(place) / f"look{number}")
        for number, plan in enumerate(RARE):
            # A rare size is one that few have.
            try_plan(plan, catalog, share=min(options.share, 0.015), rng=rng, folder=Path(place) / f"rare{number}")
        if options.copies:
            try_copies(drawn(catalog, options.copies, rng), rng=rng, folder=Path(place) / "copies")


def drawn(catalog: Catalog, limit: int, rng: np.random.Generator) -> Catalog:
    chosen = np.sort(rng.permutation(len(catalog))[:limit])
    return replace(catalog, records=tuple(catalog.records[i] for i in chosen))


def header() -> None:
    print(f"{'check':<16} {'fault':<38} {'planted':>8} {'found':>6} {'others':>7} {'recall':>7} {'precision':>10}")


def row(check: str, strength: str, *, planted: set[str], flagged: set[str], note: str = "") -> None:
    found, others = len(planted & flagged), len(flagged - planted)
    recall, precision = found / max(1, len(planted)), found / max(1, found + others)
    print(
        f"{check:<16} {strength:<38} {len(planted):>8} {found:>6} {others:>7} {recall:>7.2f} {precision:>10.2f}{note}",
        flush=True,
    )


def try_plan(plan: Plan, catalog: Catalog, *, share: float, rng: np.random.Generator, folder: Path) -> None:
    """Replace a share of the records by those of faulty copies, and judge all."""
    chosen = rng.permutation(len(catalog))[: max(1, round(share * len(catalog)))].tolist()
    for i in chosen:
        record = catalog.records[i]
        save(plan.change(read(catalog, record.path), rng), folder / unescape_name(record.path), plan)
    faulty = {record.path: record for record in scan(folder, min_classes=1).records}
    records = tuple(faulty.get(record.path, record) for record in catalog.records)
    found = [f for name in plan.checks for f in CHECKS[name](replace(catalog, records=records))]
    flagged = {path for finding in found for path in finding.paths}
    row(" ".join(plan.checks[:1]), plan.strength, planted=set(faulty), flagged=flagged, note=without_paths(found))


def read(catalog: Catalog, path: str) -> Picture:
    with Image.open(catalog.root / unescape_name(path)) as image:
        return np.asarray(image.convert("RGB"))


def save(picture: Picture, file: Path, plan: Plan) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # The scan looks at the bytes, not at the ending: the record keeps its path.
    options = {"quality": QUALITY} if plan.format == "JPEG" else {}
    Image.fromarray(picture).convert(plan.mode).save(file, plan.format, **options)


def without_paths(found: list[Finding]) -> str:
    said = [finding.evidence for finding in found if not finding.paths and "so many" in finding.evidence]
    return f"  ({said[0]})" if said else ""


def try_copies(catalog: Catalog, *, rng: np.random.Generator, folder: Path) -> None:
    """Plant two pictures 98 times each, cut files, exact copies and copies with other labels, and audit."""
    photos = folder / "photos"
    for record in catalog.records:
        file = photos / unescape_name(record.path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((catalog.root / unescape_name(record.path)).read_bytes())
    order = [catalog.records[i] for i in rng.permutation(len(catalog)).tolist()]
    planted: dict[str, set[str]] = {name: set() for name in ("repeated_picture", "exact_duplicate", "unreadable")}
    planted |= {"conflicting_labels": set(), "near_duplicate": set()}

    def plant(check: str, name: str, data: bytes) -> None:
        file = photos / unescape_name(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        planted[check].add(name)

    for number, record in enumerate(order[:2]):
        data = (catalog.root / unescape_name(record.path)).read_bytes()
        again = read(catalog, record.path)
        planted["repeated_picture"].add(record.path)
        for copy in range(97):
            plant(
                "repeated_picture",
                f"{record.label}/repeat{number}-{copy:02}.jpg",
                data if number else jpeg(again, 50 + copy // 2),
            )
    for number, record in enumerate(order[2:32]):
        data = (catalog.root / unescape_name(record.path)).read_bytes()
        plant("exact_duplicate", f"{record.label}/copy{number}.jpg", data)
    for number, record in enumerate(order[32:92]):
        data = (catalog.root / unescape_name(record.path)).read_bytes()
        other = catalog.classes[(catalog.classes.index(record.label) + 1) % len(catalog.classes)]
        recompressed = jpeg(np.ascontiguousarray(read(catalog, record.path)[:, ::-1]), 70)
        plant("conflicting_labels", f"{other}/conflict{number}.jpg", data if number % 2 else recompressed)
        planted["conflicting_labels"].add(record.path)
    for number, record in enumerate(order[92:122]):
        data = (catalog.root / unescape_name(record.path)).read_bytes()
        plant("unreadable", f"{record.label}/cut{number}.jpg", data[: int(len(data) * rng.uniform(0.1, 0.9))])
    store = PictureStore(folder / "store", side=320)
    findings = audit(scan(photos, store=store), store).findings
    for check in ("unreadable", "repeated_picture", "conflicting_labels"):
        flagged = {path for finding in findings if finding.check == check for path in finding.paths}
        row(check, STRENGTHS[check], planted=planted[check], flagged=flagged)
    flagged = {path for finding in findings if finding.check == "exact_duplicate" for path in finding.paths}
    copies = {path for path in planted["exact_duplicate"]}
    expected = {path for name in planted for path in planted[name]} | {record.path for record in order[:92]}
    row(
        "exact_duplicate",
        STRENGTHS["exact_duplicate"],
        planted=copies,
        flagged=(flagged - expected) | (flagged & copies),
    )


STRENGTHS = {
    "unreadable": "cut at 10-90 %",
    "repeated_picture": "98 equal, 98 recompressed",
    "conflicting_labels": "equal; mirrored and recompressed",
    "exact_duplicate": "one copy each",
}


def jpeg(picture: Picture, quality: int) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


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
