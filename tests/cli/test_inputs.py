"""Tables, arrays and archives in the commands: the same answers as from the folder that they were made of."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def archive(photos: Path, place: Path) -> Path:
    with zipfile.ZipFile(place / "set.zip", "w") as packed:
        for file in sorted(photos.glob("*/*.jpg")):
            packed.write(file, file.relative_to(photos))
    return place / "set.zip"


def table(photos: Path, place: Path) -> Path:
    rows = [f"{file},{file.parent.name}\n" for file in sorted(photos.glob("*/*.jpg"))]
    (place / "set.csv").write_text("path,label\n" + "".join(rows))
    return place / "set.csv"


def arrays(photos: Path, place: Path) -> Path:
    files = sorted(photos.glob("*/*.jpg"))
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    np.savez(place / "set.npz", images=images, labels=[file.parent.name for file in files])
    return place / "set.npz"


@pytest.mark.parametrize("build", [archive, table, arrays])
def test_evaluate_scores_every_kind_like_the_folder(
    build: Callable[[Path, Path], Path], photos: Path, probe_run: Path, tmp_path: Path, call: Callable
) -> None:
    for given, out in ((photos, "folder"), (build(photos, tmp_path), "other")):
        assert call("evaluate", probe_run, given, "--out", tmp_path / out, "--threads", "1").code == 0
    scores = [json.loads((tmp_path / out / "metrics.json").read_text()) for out in ("folder", "other")]
    assert scores[0] == scores[1]


def test_evaluate_scores_the_test_part_alone(photos: Path, probe_run: Path, tmp_path: Path, call: Callable) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for number, file in enumerate(sorted(photos.glob("*/*.jpg"))):
            packed.write(file, Path("test" if number % 8 < 2 else "train", file.relative_to(photos)))
    outcome = call("evaluate", probe_run, tmp_path / "set.zip", "--threads", "1")
    assert outcome.code == 0
    assert "only test is scored (6 pictures)" in outcome.text


@pytest.mark.parametrize("build", [archive, table, arrays])
def test_predict_answers_every_kind_by_the_names_inside(
    build: Callable[[Path, Path], Path], photos: Path, probe_run: Path, tmp_path: Path, call: Callable
) -> None:
    answers = []
    for given in (photos, build(photos, tmp_path)):
        outcome = call("predict", probe_run, given, "--threads", "1")
        assert outcome.code == 0
        answers.append(list(csv.reader(io.StringIO(outcome.out))))
    folder, other = answers
    known = 2 if build is arrays else 1  # names out of arrays do not tell a class
    assert [row[known:] for row in folder] == [row[known:] for row in other]
    names = [row[0] for row in other[1:]]
    if build is arrays:
        assert names == [f"{number:06d}.png" for number in range(24)]
    else:
        assert names == [Path(row[0]).relative_to(photos).as_posix() for row in folder[1:]]


@pytest.mark.parametrize("command", ["audit", "split", "evaluate"])
def test_damaged_archives_are_refused_in_words(command: str, probe_run: Path, tmp_path: Path, call: Callable) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK\3\4 and no more")
    before = (probe_run,) if command == "evaluate" else ()
    call(command, *before, tmp_path / "set.zip").refused(3, str(tmp_path / "set.zip"), "damaged or cut")
