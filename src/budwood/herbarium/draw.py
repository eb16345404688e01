"""Draw the whole herbarium into a folder: plan every file, draw or copy it, write the truth beside.

Every file's draws are keyed by what the file is, so no file depends on the order in which files are written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from budwood.errors import OutputError, UsageError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.files import ensure_writable, write_json
from budwood.herbarium.faults import (
    HOWS,
    ODD_SIZES,
    Fault,
    FaultKind,
    break_file,
    copy_changed,
    count_faults,
    cut_middle,
    darken,
    encode_jpeg,
)
from budwood.herbarium.scene import draw_picture
from budwood.herbarium.species import SPECIES, TRAITS
from budwood.seeding import named_generator, record_key

MIN_FAULTY = 24  # pictures; with fewer, one fault of each kind would leave hardly any clean ones

CHANGED: tuple[FaultKind, ...] = ("wrong_label", "odd_size", "over_dark")
COPIED: tuple[FaultKind, ...] = ("exact_duplicate", "near_duplicate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Herbarium:
    """Where a drawn herbarium lies: the folder of class folders, the truth, and the number of files."""

    photos: Path
    truth: Path
    num_pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One file to write: what it shows (picture ``index`` of ``species``), where it goes, its fault."""

    path: str
    species: str
    index: int
    fault: Fault | None = None


def draw_herbarium(
    folder: str | Path,
    *,
    seed: int = 7,
    num_pictures: int = 480,
    size: int = 160,
    faults: bool = True,
    species: Sequence[str] = SPECIES,
    listen: Listener = silent,
) -> Herbarium:
    """Write ``folder/photos/<species>/IMG_nnnn.jpg`` and ``folder/truth.json``; equal calls give equal bytes.

    Args:
        folder: created when missing; ``folder/photos`` must be missing or empty.
        num_pictures: files in all, faulty ones and copies included.
        size: side of a picture in pixels; cropped copies and planted odd sizes differ.
        faults: plant the faults of `faults.NUM_IN_480`, in proportion.
        species: which of `SPECIES` to draw; rare species get about a quarter of a common one's pictures.

    Raises:
        OutputError: ``folder/photos`` holds something already, or cannot be written.
        UsageError: unknown species, or too few pictures or species for faults.
    """
    folder = Path(folder)
    photos, truth = folder / "photos", folder / "truth.json"
    if photos.exists() and (not photos.is_dir() or any(photos.iterdir())):
        raise OutputError(f"{photos} exists and is not empty; choose another folder, or remove it first")
    _check(num_pictures, faults, species)
    ensure_writable(folder)
    started = time.perf_counter()
    listen(StepStarted(step="herbarium", total=num_pictures))
    sheets = plan_sheets(seed=seed, num_pictures=num_pictures, faults=faults, species=species)
    for name in species:
        (photos / name).mkdir(parents=True, exist_ok=True)
    for sheet in sheets:
        (photos / sheet.path).write_bytes(_file_bytes(sheet, photos, seed=seed, size=size))
        listen(StepAdvanced(step="herbarium"))
    write_json(truth, _truth(sheets, seed))
    note = f"{num_pictures} pictures of {len(species)} species in {photos}"
    listen(StepFinished(step="herbarium", seconds=time.perf_counter() - started, note=note))
    return Herbarium(photos=photos, truth=truth, num_pictures=num_pictures)


def plan_sheets(*, seed: int, num_pictures: int, faults: bool, species: Sequence[str]) -> list[Sheet]:
    """Decide every file's content, name and fault; copies come after their originals."""
    generator = named_generator(seed, "herbarium/plan")
    counts = count_faults(num_pictures) if faults else dict.fromkeys(HOWS, 0)
    num_drawn = num_pictures - counts["unreadable"] - counts["exact_duplicate"] - counts["near_duplicate"]
    shown = [(name, i) for name, count in share_out(num_drawn, species).items() for i in range(count)]
    shown = [shown[i] for i in generator.permutation(len(shown)).tolist()]
    numbers = generator.permutation(num_pictures).tolist()

    def sheet(kind: FaultKind | None, how: str, show: tuple[str, int], of: str = "") -> Sheet:
        moved = how in ("moved", "other_label")
        label = _other(show[0], species, generator) if moved else show[0]
        path = f"{label}/IMG_{numbers.pop() + 1:04d}.jpg"
        fault = Fault(kind=kind, how=how, path=path, of=of, true=show[0] if moved else "") if kind else None
        return Sheet(path=path, species=show[0], index=show[1], fault=fault)

    changed = [sheet(kind, how, shown.pop()) for kind in CHANGED for how in _hows(kind, counts[kind])]
    clean = [sheet(None, "", show) for show in shown]
    originals = iter(clean)
    copies = [
        sheet(kind, how, (of.species, of.index), of.path)
        for kind in COPIED
        for how, of in zip(_hows(kind, counts[kind]), originals, strict=False)
    ]
    hosts = generator.integers(len(species), size=counts["unreadable"]).tolist()
    broken = [
        sheet("unreadable", how, (species[host], num_pictures + i))  # an index that no shown picture has
        for i, (how, host) in enumerate(zip(_hows("unreadable", counts["unreadable"]), hosts, strict=True))
    ]
    return changed + clean + copies + broken


def share_out(num_pictures: int, species: Sequence[str]) -> dict[str, int]:
    """Pictures per species in proportion to their weights; the largest remainders get what is left over."""
    weights = np.array([TRAITS[name].weight for name in species])
    exact = num_pictures * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    left = num_pictures - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return dict(zip(species, counts.tolist(), strict=True))


def _check(num_pictures: int, faults: bool, species: Sequence[str]) -> None:
    unknown = sorted(set(species) - set(SPECIES))
    if unknown or not species or len(set(species)) < len(species):
        found = ", ".join(unknown or species) or "none"
        raise UsageError(f"species to draw: {found}; expected distinct names out of {', '.join(SPECIES)}")
    if faults and (num_pictures < MIN_FAULTY or len(species) < 2):
        found = f"{num_pictures} pictures of {len(species)} species"
        raise UsageError(f"{found} are too few to plant faults; draw at least {MIN_FAULTY} of 2, or use faults=False")


def _file_bytes(sheet: Sheet, photos: Path, *, seed: int, size: int) -> bytes:
    fault = sheet.fault
    generator = named_generator(seed, f"herbarium/file/{sheet.path}")
    if fault is not None and fault.of:
        original = (photos / fault.of).read_bytes()
        return original if fault.kind == "exact_duplicate" else copy_changed(original, fault.how, generator)
    picture_seed = record_key(f"{seed}/{sheet.species}/{sheet.index}")
    quality = int(generator.integers(85, 93))
    if fault is not None and fault.kind == "odd_size":
        width, height = (max(16, round(size * share)) for share in ODD_SIZES[fault.how])
        pixels = draw_picture(sheet.species, seed=picture_seed, size=max(width, height))
        return encode_jpeg(cut_middle(pixels, width, height), quality)
    pixels = draw_picture(sheet.species, seed=picture_seed, size=size)
    if fault is not None and fault.kind == "over_dark":
        pixels = darken(pixels, generator)
    data = encode_jpeg(pixels, quality)
    return break_file(data, fault.how, generator) if fault is not None and fault.kind == "unreadable" else data


def _truth(sheets: Sequence[Sheet], seed: int) -> dict[str, object]:
    faults = [sheet.fault for sheet in sheets if sheet.fault is not None]
    broken = {fault.path for fault in faults if fault.kind == "unreadable"}
    return {
        "seed": seed,
        "faults": [fault.as_truth() for fault in faults],
        "labels": {sheet.path: sheet.species for sheet in sheets if sheet.path not in broken},
    }


def _hows(kind: FaultKind, count: int) -> list[str]:
    return [HOWS[kind][i % len(HOWS[kind])] for i in range(count)]


def _other(name: str, species: Sequence[str], generator: np.random.Generator) -> str:
    """Another species, by weight: a rare class must not be swamped by strangers."""
    others = [other for other in species if other != name]
    weights = np.array([TRAITS[other].weight for other in others])
    return others[int(generator.choice(len(others), p=weights / weights.sum()))]
