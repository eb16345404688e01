"""``budwood export --precision`` on a run: measured on its validation part, where that is still as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from budwood.errors import DataError
from budwood.evaluation.predictions import Predictions
from budwood.export.bundle import load
from budwood.measuring import run_pictures


def test_a_run_is_measured_on_its_validation_part(probe_run: Path, photos: Path) -> None:
    found = run_pictures(load(probe_run))
    known = Predictions.load(probe_run / "predictions" / "val.csv")
    labels = dict(zip(known.paths, known.targets, strict=True))
    assert {file.relative_to(photos).as_posix() for file in found.files} == set(known.paths)
    assert [labels[file.relative_to(photos).as_posix()] for file in found.files] == found.targets.tolist()
    assert found.training
    assert not set(found.training) & set(found.files)


def test_pictures_that_were_changed_since_are_not_measured_on(copied_run: Path, photos: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    values = json.loads((copied_run / "environment.json").read_text())
    place = json.dumps({**values, "photos": str(moved), "root": str(moved)})
    (copied_run / "environment.json").write_text(place)
    file = run_pictures(load(copied_run)).files[0]
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DataError, match=f"{file.name} is gone or was changed since .* --measure FOLDER"):
        run_pictures(load(copied_run))


@pytest.mark.slow
def test_the_command_tells_the_cost(call: Callable[..., object], probe_run: Path, tmp_path: Path) -> None:
    done = call("export", probe_run, "--to", "onnx", "--precision", "fp16", "--out", tmp_path / "m.onnx")
    assert done.code == 0, done.text
    cost = json.loads((tmp_path / "m.cost.json").read_text())
    assert f"fp16 against fp32 on {cost['num_pictures']} pictures of the validation part" in done.text
