"""Every kind of input goes the whole way: scan, split, training, report, answers."""

from __future__ import annotations

import csv
import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import budwood
from budwood.data.ledger import read_catalog
from budwood.files import unescape_name

PARTS = {"train": slice(0, 6), "val": slice(6, 7), "test": slice(7, 8)}


def of_each_class(photos: Path) -> dict[str, list[Path]]:
    return {folder.name: sorted(folder.iterdir()) for folder in sorted(photos.iterdir()) if folder.is_dir()}


def as_zip(photos: Path, target: Path) -> Path:
    file = target / "photos.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, pictures in of_each_class(photos).items():
            for picture in pictures:
                archive.write(picture, f"photos/{name}/{picture.name}")
    return file


def as_table(photos: Path, target: Path) -> Path:
    file = target / "photos.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "label", "group"])
        for name, pictures in of_each_class(photos).items():
            writer.writerows([str(picture), name, f"{name} {i // 2}"] for i, picture in enumerate(pictures))
    return file


def as_arrays(photos: Path, target: Path) -> Path:
    file = target / "photos.npz"
    classes = of_each_class(photos)
    images = np.stack([np.asarray(Image.open(p).convert("RGB")) for pictures in classes.values() for p in pictures])
    labels = np.array([name for name, pictures in classes.items() for _ in pictures])
    np.savez(file, images=images, labels=labels)
    return file


def as_parts(photos: Path, target: Path) -> Path:
    folder = target / "divided"
    for name, pictures in of_each_class(photos).items():
        for part, rows in PARTS.items():
            (folder / part / name).mkdir(parents=True)
            for picture in pictures[rows]:
                shutil.copy(picture, folder / part / name / picture.name)
    return folder


@pytest.mark.parametrize("make", [as_zip, as_table, as_arrays, as_parts], ids=["zip", "table", "arrays", "parts"])
def test_every_input_becomes_a_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, Path], Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = make(photos, tmp_path)
    run = budwood.fit(given, tiny=True, threads=1, out=tmp_path / "run")
    catalog = read_catalog(run.folder.catalog, Path())
    assert catalog.classes == tuple(of_each_class(photos))
    assert len(catalog) == 24
    assert run.report.read_text(encoding="utf-8").count("data:image/jpeg") >= 18  # 18 examples of the classes
    split = json.loads(run.folder.split.read_text())
    if make is as_parts:
        assert {part: len(paths) for part, paths in split["parts"].items()} == {"train": 18, "val": 3, "test": 3}
        assert all(path.startswith(f"{part}/") for part, paths in split["parts"].items() for path in paths)
    if make is as_table:
        part_of = {path: part for part, paths in split["parts"].items() for path in paths}
        places: dict[str, set[str]] = {}
        for record in catalog.records:
            places.setdefault(record.group, set()).add(part_of[record.path])
        assert len(places) == 12
        assert all(len(parts) == 1 for parts in places.values())


def test_parts_that_leak_are_refused_and_can_be_repaired(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = as_parts(photos, tmp_path)
    copied = next((folder / "test").rglob("*.*"))
    shutil.copy(copied, folder / "train" / copied.parent.name / f"again-{copied.name}")
    with pytest.raises(budwood.BudwoodError, match="belong together but lie in two parts"):
        budwood.fit(folder, tiny=True, threads=1, out=tmp_path / "refused")
    run = budwood.fit(folder, tiny=True, threads=1, out=tmp_path / "kept", overrides=["split.leaks=drop"])
    states = {r.path: r.state for r in read_catalog(run.folder.catalog, Path()).records}
    assert [path for path, state in states.items() if state == "excluded"] == [
        f"train/{copied.parent.name}/again-{copied.name}"
    ]


@pytest.mark.parametrize(
    "count", [20, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["20", "2000"]
)
def test_random_byte_names_survive_from_scan_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    root = os.fsencode(tmp_path / "photos")
    names = set()
    for i in range(count):
        letters = rng.integers(1, 256, size=int(rng.integers(1, 40)), dtype=np.uint8).tobytes().replace(b"/", b"\xfe")
        folder = os.path.join(root, (b"a\xff", b"b\x1b[31m", "c\u202e".encode())[i % 3])
        os.makedirs(folder, exist_ok=True)
        name = b"x" + letters + b".png"
        names.add(os.path.join(folder, name))
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "one.png")
        os.replace(tmp_path / "one.png", os.path.join(folder, name))
    run = budwood.fit(tmp_path / "photos", tiny=True, threads=1, out=tmp_path / "run")
    scanned = budwood.scan(tmp_path / "photos")
    assert {os.path.join(root, os.fsencode(unescape_name(r.path))) for r in scanned.records} == names
    answers, unreadable = budwood.predict(run.bundle, tmp_path / "photos")
    assert len(answers) == len(names)
    assert not unreadable
    assert not {unicodedata.category(sign) for path in answers.paths for sign in path} & {"Cc", "Cs", "Zl", "Zp"}
    page = run.report.read_text(encoding="utf-8")
    assert "\x1b" not in page
