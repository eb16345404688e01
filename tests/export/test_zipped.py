"""A bundle as a zip: the same answers, equal bytes for equal bundles, and nothing written where it must not be."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from budwood.errors import BudwoodError, IntegrityError, OutputError, UsageError
from budwood.export import zipped
from budwood.export.bundle import load
from budwood.export.zipped import zip_bundle


def test_a_zip_answers_as_its_folder_and_leaves_nothing_behind(
    folder: Path, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    file = zip_bundle(folder, tmp_path / "b.zip")
    bundle = load(file)
    assert bundle.folder == file
    np.testing.assert_array_equal(bundle.predict(pictures[:4]).probs, load(folder).predict(pictures[:4]).probs)
    assert list(scratch.iterdir()) == []
    assert zip_bundle(folder, tmp_path / "again.zip").read_bytes() == file.read_bytes()


def test_a_folder_packed_by_hand_is_taken_too(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "hand.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("my bundle")
        for path in folder.rglob("*"):
            archive.write(path, f"my bundle/{path.relative_to(folder)}")
    assert load(tmp_path / "hand.zip").classes


def test_what_cannot_be_packed_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no bundle"):
        zip_bundle(tmp_path, tmp_path / "x.zip")
    with pytest.raises(OutputError, match="inside the bundle"):
        zip_bundle(folder, folder / "x.zip")
    (tmp_path / "taken.zip").write_bytes(b"x")
    with pytest.raises(OutputError, match="exists already"):
        zip_bundle(folder, tmp_path / "taken.zip")
    (folder / "README.md").write_text("changed")
    with pytest.raises(IntegrityError, match=r"README\.md was changed"):
        zip_bundle(folder, tmp_path / "x.zip")


def hostile(names: list[str], *, mode: int = stat.S_IFREG | 0o644, data: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.filename = name  # the constructor cuts at a NUL
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(hostile(["bundle.json", "../outside"]), id="above"),
        pytest.param(hostile(["/tmp/outside"]), id="absolute"),
        pytest.param(hostile(["a/../../outside"]), id="through a folder"),
        pytest.param(hostile(["..\\outside"]), id="backslash"),
        pytest.param(hostile(["C:outside"]), id="drive"),
        pytest.param(hostile(["a//b"]), id="an empty folder name"),
        pytest.param(hostile(["x/" * 40 + "y"]), id="deep"),
        pytest.param(hostile(["bundle.json"], mode=stat.S_IFLNK | 0o777, data=b"/etc/passwd"), id="a link"),
        pytest.param(hostile(["bundle.json", "Bundle.json"]), id="a name in two cases"),
        pytest.param(hostile([f"{i}" for i in range(2100)]), id="many files"),
        pytest.param(b"PK\3\4 and nothing", id="cut"),
        pytest.param(b"no zip at all", id="no zip"),
        pytest.param(b"", id="empty"),
        pytest.param(hostile(["readme"]), id="no bundle in it"),
    ],
)
def test_hostile_zips_are_refused_and_nothing_is_written_outside(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "deep" / "scratch"
    scratch.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises((IntegrityError, UsageError)):
        load(tmp_path / "x.zip")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["deep", "deep/scratch", "x.zip"]


def test_a_bomb_ends_at_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipped, "_RATIO_COUNTS_FROM", 10**6)
    (tmp_path / "bomb.zip").write_bytes(hostile(["bundle.json"], data=bytes(4 * 10**6)))
    with pytest.raises(IntegrityError, match="unpacks to more"):
        load(tmp_path / "bomb.zip")


@pytest.mark.parametrize("count", [30, pytest.param(3000, marks=pytest.mark.slow)])
def test_mutated_zips_are_refused_or_the_same(count: int, folder: Path, tmp_path: Path) -> None:
    whole = zip_bundle(folder, tmp_path / "b.zip").read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = load(tmp_path / "b.zip").predict_pixels(pixels)
    rng = np.random.default_rng(1)
    same = 0
    for _ in range(count):
        data = bytearray(whole)
        # half of them near the end, where the list of files is
        low = 0 if rng.random() < 0.5 else len(data) - 700
        for at in rng.integers(low, len(data), size=int(rng.integers(1, 4))):
            data[at] ^= 1 << int(rng.integers(8))
        cut = len(data) - int(rng.integers(200)) if rng.random() < 0.2 else len(data)
        (tmp_path / "m.zip").write_bytes(data[:cut])
        try:
            found = load(tmp_path / "m.zip").predict_pixels(pixels)
        except BudwoodError:
            continue
        same += 1
        np.testing.assert_array_equal(found, expected)
    assert same < count
