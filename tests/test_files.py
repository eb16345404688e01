"""Atomic writes, names that are not UTF-8, manifests: what the disk holds is the old content or the new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budwood.errors import IntegrityError, OutputError
from budwood.files import (
    atomic_open,
    check_manifest,
    ensure_writable,
    escape_name,
    read_json,
    refuse_inside,
    scratch_folder,
    sha256_bytes,
    sha256_file,
    sweep_leftovers,
    temporary_beside,
    to_json,
    unescape_name,
    write_bytes,
    write_json,
    write_manifest,
    write_text,
)

NAMES = st.binary(min_size=1, max_size=40).map(os.fsdecode) | st.text(st.characters(), max_size=40)


@given(NAMES)
def test_an_escaped_name_comes_back_and_fits_one_utf8_line(name: str) -> None:
    text = escape_name(name)
    assert unescape_name(text) == name
    assert text.encode("utf-8").decode("utf-8") == text
    assert len(text.splitlines()) <= 1
    assert "\x1b" not in text


@given(NAMES, NAMES)
def test_two_names_never_get_one_escape(first: str, second: str) -> None:
    assert (escape_name(first) == escape_name(second)) == (first == second)


@pytest.mark.parametrize("name", ["acer.jpg", "Ähre 1.jpg", "木.png", "a b (2).jpg", "a'b\".jpg"])
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert escape_name(name) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("a\\b", "a\\\\b", id="backslash"),
        pytest.param(os.fsdecode(b"caf\xe9.jpg"), "caf\\xe9.jpg", id="latin-1"),
        pytest.param("a\nb", "a\\u000ab", id="line end"),
        pytest.param("\x1b[31m", "\\u001b[31m", id="terminal escape"),
        pytest.param("a\u2028b", "a\\u2028b", id="line separator"),
    ],
)
def test_odd_names_have_one_visible_form(name: str, text: str) -> None:
    assert escape_name(name) == text


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"old": 1})

    def write_half() -> None:
        with atomic_open(file) as stream:
            stream.write(b"new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half"):
        write_half()
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, {"bad": float("nan")})
    assert read_json(file) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_write_replaces_in_one_rename_and_makes_folders(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "er" / "a.txt"
    write_text(file, "ä")
    first = file.stat().st_ino
    write_bytes(file, b"second")
    assert file.read_bytes() == b"second"
    assert file.stat().st_ino != first
    assert file.stat().st_mode & 0o777 == 0o644


def test_json_is_canonical() -> None:
    assert to_json({"b": 1, "a": "ä"}) == '{\n  "a": "ä",\n  "b": 1\n}\n'


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "no text", "deep"])
def test_a_file_that_is_no_json_is_an_integrity_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"a\.json"):
        read_json(file)


def test_a_missing_json_file_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="is missing"):
        read_json(tmp_path / "a.json")


def test_digests_agree(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert sha256_file(tmp_path / "a") == sha256_bytes(b"abc" * 1000)
    assert sha256_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder of three files with its manifest."""
    folder = tmp_path / "sealed"
    for name in ("a.txt", "b/c.txt", "b/d.txt"):
        write_text(folder / name, name)
    write_manifest(folder, skip=["lock"])
    return folder


def test_a_sealed_folder_has_no_differences(sealed: Path) -> None:
    assert check_manifest(sealed) == []
    (sealed / "lock").touch()
    assert check_manifest(sealed, skip=["lock"]) == []
    assert check_manifest(sealed) == ["lock is not listed in manifest.json"]


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        pytest.param(lambda f: (f / "a.txt").write_text("A.txt"), "a.txt was changed", id="changed"),
        pytest.param(lambda f: (f / "b/c.txt").unlink(), "b/c.txt is missing", id="missing"),
        pytest.param(lambda f: (f / "b/e.txt").touch(), "b/e.txt is not listed in manifest.json", id="added"),
        pytest.param(lambda f: (f / "manifest.json").unlink(), "manifest.json is missing", id="no manifest"),
        pytest.param(lambda f: (f / "manifest.json").write_text("{}"), "manifest.json was changed", id="emptied"),
    ],
)
def test_each_kind_of_difference_is_named(harm: object, found: str, sealed: Path) -> None:
    harm(sealed)
    assert check_manifest(sealed) == [found]


def test_a_manifest_that_was_made_to_fit_a_change_does_not_pass(sealed: Path) -> None:
    (sealed / "a.txt").write_text("other")
    manifest = json.loads((sealed / "manifest.json").read_text())
    manifest["files"]["a.txt"] = sha256_file(sealed / "a.txt")
    write_json(sealed / "manifest.json", manifest)
    assert check_manifest(sealed) == ["manifest.json was changed"]


def test_a_file_whose_name_is_not_utf8_is_told_as_added(sealed: Path) -> None:
    (sealed / os.fsdecode(b"caf\xe9.jpg")).touch()
    (problem,) = check_manifest(sealed)
    assert problem.encode("utf-8")
    assert "not listed" in problem


def test_a_place_is_proved_writable_or_refused(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write into"):
        ensure_writable(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("place", "inside"),
    [("photos", True), ("photos/a/b", True), ("photos/../out", False), ("out", False), ("photos2", False)],
)
def test_a_place_inside_the_photos_is_refused(place: str, inside: bool, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    if inside:
        with pytest.raises(OutputError, match="never written to"):
            refuse_inside(tmp_path / place, tmp_path / "photos")
    else:
        refuse_inside(tmp_path / place, tmp_path / "photos")


KILLED = """
import os, sys
from pathlib import Path
from budwood.files import scratch_folder, temporary_beside
temporary_beside(Path(sys.argv[1]) / "a.json")
with scratch_folder() as folder:
    print(folder)
    sys.stdout.flush()
    os._exit(9)
"""


def test_leftovers_of_a_killed_process_are_swept_and_those_of_a_living_one_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    place = tmp_path / "place"
    place.mkdir()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(place)], capture_output=True, text=True, check=False)
    assert ended.returncode == 9, ended.stderr
    left = Path(ended.stdout.strip())
    assert left.is_dir()
    handle, own = temporary_beside(place / "b.json")
    os.close(handle)
    (place / ".foreign.tmp").write_text("of who knows what")
    assert sweep_leftovers(place) == 1
    assert sorted(place.iterdir()) == sorted([Path(own), place / ".foreign.tmp"])
    with scratch_folder() as mine, scratch_folder() as other:
        assert mine != other
        assert not left.exists()
        assert mine.is_dir()
    assert not mine.exists()
