"""The folder for OpenVINO: refused in words where it was touched or the package is missing; else the bundle it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budwood.errors import IntegrityError, OutputError, UsageError
from budwood.export.bundle import Bundle, load
from budwood.export.openvino_runtime import OpenvinoBundle, openvino_library
from budwood.export.parity import random_images
from budwood.files import write_manifest


def unopened(folder: Path) -> Path:
    """A folder that is whole by its manifest; no model is in it."""
    folder.mkdir()
    (folder / "model.xml").write_text("<net/>")
    about = {"classes": '["ant", "zebra"]', "calibration": "null"}
    (folder / "about.json").write_text(json.dumps(about))
    write_manifest(folder)
    return folder


def test_a_folder_that_was_touched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make one with: budwood export RUN --to openvino"):
        OpenvinoBundle(tmp_path)
    folder = unopened(tmp_path / "ov")
    (folder / "model.xml").write_text("<NET/>")
    with pytest.raises(IntegrityError, match=r"model\.xml"):
        OpenvinoBundle(folder)
    (folder / "model.xml").write_text("<net/>")
    for about in ("[]", '{"classes": 3}', '{"calibration": "null"}'):
        (folder / "about.json").write_text(about)
        write_manifest(folder)
        with pytest.raises(IntegrityError, match=r"table of texts|does not name its classes"):
            OpenvinoBundle(folder)


def test_without_openvino_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match="budwood\\[openvino\\]"):
        openvino_library()
    assert "openvino_telemetry" not in sys.modules


def test_the_folder_answers_as_the_bundle(
    folder: Path, tmp_path: Path, written_once: Callable[[Bundle], object]
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    from budwood.export.openvino import export_openvino

    bundle = load(folder)
    made = export_openvino(bundle, tmp_path / "ov", network=written_once, num_pictures=20)
    assert made.parity.worst < 2e-3
    opened = OpenvinoBundle(tmp_path / "ov", threads=1)
    assert opened.classes == bundle.classes
    images = random_images(12, seed=5)
    images = [images[0], images[0], *images]
    np.testing.assert_allclose(opened.predict_images(images), bundle.predict_images(images), atol=2e-3)
    assert opened.predict_images([]).shape == (0, 3)
    with pytest.raises(OutputError, match="already holds"):
        export_openvino(bundle, tmp_path / "ov", network=written_once)
    (tmp_path / "ov" / "model.xml").write_text("<net/>")
    write_manifest(tmp_path / "ov")
    with pytest.raises(IntegrityError, match="cannot be carried out by OpenVINO"):
        OpenvinoBundle(tmp_path / "ov")
