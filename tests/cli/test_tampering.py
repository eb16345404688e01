"""Changed, missing and added files of bundles and runs are found and named; a changed bundle answers nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from budwood.files import check_manifest, sha256_bytes, to_json, write_json

BUNDLE_FILES = ("model.safetensors", "bundle.json", "golden.json", "golden/1.png", "README.md", "manifest.json")


@contextmanager
def one_byte_changed(file: Path, at: int) -> Iterator[None]:
    """Flip one bit of ``file`` for a while."""
    data = file.read_bytes()
    file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    yield
    file.write_bytes(data)


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_one_changed_byte_of_a_bundle_is_found(name: str, copied_run: Path, photos: Path, call: Callable) -> None:
    bundle = copied_run / "bundle"
    assert set(BUNDLE_FILES) < {p.relative_to(bundle).as_posix() for p in bundle.rglob("*")}
    size = (bundle / name).stat().st_size
    for at in (0, size // 2, size - 1):
        with one_byte_changed(bundle / name, at):
            call("verify", bundle).refused(1, name, "changed")
            call("verify", copied_run).refused(1, f"bundle/{name}", "changed")
    with one_byte_changed(bundle / name, size // 2):
        call("predict", bundle, photos).refused(1, str(bundle), "not what was written", name)
    assert call("verify", bundle).code == 0


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_a_missing_file_of_a_bundle_is_found(name: str, copied_run: Path, photos: Path, call: Callable) -> None:
    (copied_run / "bundle" / name).unlink()
    call("verify", copied_run).refused(1, f"bundle/{name} is missing")
    call("predict", copied_run / "bundle", photos).refused(2 if name == "bundle.json" else 1, name)


def test_a_file_added_to_a_bundle_is_found(copied_run: Path, photos: Path, call: Callable) -> None:
    (copied_run / "bundle" / "model.pkl").write_bytes(b"surprise")
    call("verify", copied_run / "bundle").refused(1, "model.pkl is not listed")
    call("predict", copied_run, photos).refused(1, "model.pkl is not listed")


def test_every_changed_missing_or_added_file_of_a_run_is_found(copied_run: Path, call: Callable) -> None:
    call("verify", copied_run).refused(0, "every file is what was written")
    files = [p for p in sorted(copied_run.rglob("*")) if p.is_file()]
    assert len(files) > 15
    for file in files:
        name, data = file.relative_to(copied_run).as_posix(), file.read_bytes()
        with one_byte_changed(file, len(data) // 2):
            call("verify", copied_run).refused(1, name, "changed")
        file.write_bytes(data + b" ")
        call("verify", copied_run).refused(1, name, "changed")
        file.unlink()
        call("verify", copied_run).refused(1, f"{name} is missing")
        file.write_bytes(data)
    (copied_run / "predictions" / "more.csv").write_text("")
    call("verify", copied_run).refused(1, "predictions/more.csv is not listed")


def changed_everywhere(bundle: Path, step: int) -> None:
    manifest = bundle / "manifest.json"
    size = manifest.stat().st_size
    for at in range(0, size, step):
        with one_byte_changed(manifest, at):
            assert check_manifest(bundle), f"a changed byte {at} of {size} was not found"
    assert check_manifest(bundle) == []


def test_a_changed_byte_anywhere_in_the_manifest_is_found(copied_run: Path) -> None:
    changed_everywhere(copied_run / "bundle", 7)


@pytest.mark.slow
def test_each_changed_byte_of_a_runs_manifest_is_found(copied_run: Path) -> None:
    changed_everywhere(copied_run, 1)


def sealed(files: object) -> dict[str, object]:
    return {"files": files, "sha256": sha256_bytes(to_json(files).encode())}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("[" * 100_000, id="nested without end"),
        pytest.param("[]", id="a list"),
        pytest.param(to_json(sealed(["bundle.json"])), id="files as a list"),
        pytest.param(to_json(sealed({"bundle.json": 3})), id="a digest that is no text"),
        pytest.param(to_json(sealed({})), id="no files"),
        pytest.param("\xff\xfe", id="no text"),
    ],
)
def test_a_manifest_of_another_form_is_found(content: str, copied_run: Path, photos: Path, call: Callable) -> None:
    (copied_run / "bundle" / "manifest.json").write_bytes(content.encode("latin-1"))
    call("verify", copied_run / "bundle").refused(1)
    call("predict", copied_run / "bundle", photos).refused(1, "not what was written")


def test_what_is_neither_bundle_nor_run_is_no_success(call: Callable, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "gone"):
        call("verify", place).refused(2, str(place), "neither a bundle nor a run", "RUN/bundle")


def test_a_run_that_was_never_finished_is_no_success(call: Callable, copied_run: Path) -> None:
    shutil.copy(copied_run / "status.json", copied_run / "kept")
    (copied_run / "manifest.json").unlink()
    call("verify", copied_run).refused(1, "manifest.json is missing")
    write_json(copied_run / "status.json", {"state": "running"})
    call("verify", copied_run).refused(1, "running", "never sealed")
    write_json(copied_run / "status.json", {})
    call("verify", copied_run).refused(1)
