"""Where results go: never into the photos, never over what is no run, and only where writing is possible."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = ("--tiny", "--threads", "1")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param("file/run", ("cannot write into", "--out"), id="below a file"),
        pytest.param("/proc/budwood/run", ("cannot write into", "--out"), id="below /proc"),
        pytest.param("file", ("is a file", "--out"), id="a file"),
        pytest.param("a" * 300, ("too long",), id="a name too long"),
        pytest.param("locked/run", ("cannot write into", "--out"), id="no permission"),
    ],
)
def test_an_unwritable_place_is_refused_at_once(
    place: str, words: tuple[str, ...], call: Callable, photos: Path, tmp_path: Path
) -> None:
    if place.startswith("locked") and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "locked").mkdir(mode=0o500)
    call("fit", photos, *TINY, "--out", tmp_path / place).refused(2, *words)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_inside_the_photos_is_refused(call: Callable, photos: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(photos)
    for inside in (photos, photos / "run", link / "run", photos / "x" / ".." / "run"):
        call("fit", photos, *TINY, "--out", inside).refused(2, "never written to", "elsewhere", "--out")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("audit", "PHOTOS", "--json", "INSIDE/found.json"), id="audit --json"),
        pytest.param(("split", "PHOTOS", "--out", "INSIDE/split.json"), id="split --out"),
        pytest.param(("evaluate", "RUN", "PHOTOS", "--out", "INSIDE/scores"), id="evaluate --out"),
    ],
)
def test_no_other_command_writes_into_the_photos(
    arguments: tuple[str, ...], call: Callable, photos: Path, probe_run: Path
) -> None:
    names = {"PHOTOS": str(photos), "RUN": str(probe_run)}
    given = [names.get(a, a.replace("INSIDE", str(photos))) for a in arguments]
    call(*given).refused(2, "never written to", "elsewhere")


def test_answers_are_never_written_over_a_picture(call: Callable, photos: Path, probe_run: Path) -> None:
    picture = next(photos.glob("*/*.jpg"))
    for given in (picture, picture.parent):
        call("predict", probe_run, given, "--out", picture).refused(2, str(picture), "another file", "--out")
    call("predict", probe_run, picture, "--out", photos).refused(2, "is a folder", "--out")


def test_a_taken_place_is_kept_until_overwrite_is_said(call: Callable, photos: Path, copied_run: Path) -> None:
    (copied_run / ".status.json.x1.tmp").write_text("half a write of a killed run")
    weights = copied_run / "bundle" / "model.safetensors"
    stamp = weights.stat().st_mtime_ns
    call("fit", photos, *TINY, "--out", copied_run).refused(2, "a run (done)", "--overwrite", "another --out")
    assert weights.stat().st_mtime_ns == stamp
    assert call("fit", photos, *TINY, "--out", copied_run, "--overwrite").code == 0
    assert weights.stat().st_mtime_ns != stamp
    assert call("verify", copied_run).code == 0


def test_overwrite_replaces_only_runs(call: Callable, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    call("fit", photos, *TINY, "--out", tmp_path).refused(2, "already holds files", "--overwrite")
    call("fit", photos, *TINY, "--out", tmp_path, "--overwrite").refused(2, "no run", "another --out")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_overwrite_spares_a_file_that_the_user_put_into_a_run(
    call: Callable, photos: Path, copied_run: Path, tree_of: Callable
) -> None:
    (copied_run / "notes.txt").write_text("mine")
    before = tree_of(copied_run)
    call("fit", photos, *TINY, "--out", copied_run, "--overwrite").refused(2, "notes.txt", "move it away")
    assert {k: v for k, v in tree_of(copied_run).items() if k != ".lock"} == before


def test_overwrite_spares_photos_that_lie_inside_the_run(
    call: Callable, photos: Path, copied_run: Path, tree_of: Callable
) -> None:
    inner = Path(shutil.copytree(photos, copied_run / "predictions" / "photos"))
    before = tree_of(inner)
    call("fit", inner, *TINY, "--out", copied_run, "--overwrite").refused(2, str(inner), "elsewhere")
    assert tree_of(inner) == before


def test_a_path_that_looks_like_markup_is_shown_as_it_is(call: Callable, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "[bold]a[" / "b]run"
    outcome = call("fit", photos, *TINY, "--out", out)
    assert outcome.code == 0, outcome.text
    assert f"bundle {out / 'bundle'}" in outcome.text
    assert f"report {out / 'report.html'}" in outcome.text


def test_without_out_a_run_goes_below_runs_under_its_recipes_name(call: Callable, photos: Path, tmp_path: Path) -> None:
    assert call("fit", photos, *TINY, "--set", "name=../up/and away").code == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith(".._up_and_away")
    assert (folder / "report.html").is_file()
