"""The submission's folder answers arrays with the bundle's classes, where neither Budwood nor torch is."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from budwood.errors import OutputError
from budwood.export.bundle import Bundle, load
from budwood.export.submission import export_submission

ASK = """
import sys
for name in ("torch", "budwood", "PIL", "onnx"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import numpy as np
from model import Model, model
X = np.load(sys.argv[2])
answers = Model(sys.argv[1]).predict(X)
assert (model(sys.argv[1]).predict(X.astype("float64")) == answers).all()
assert len(Model(sys.argv[1]).predict(X[:0])) == 0
for wrong in (X / 255, X[0], X - 1.0):
    try:
        Model(sys.argv[1]).predict(wrong)
    except ValueError:
        continue
    raise SystemExit("took what is not 0-255")
print(answers.tolist())
"""


@pytest.fixture
def submission(folder: Path, tmp_path: Path, written_once: Callable[[Bundle], object]) -> Path:
    """A submission of the bundle in ``folder``."""
    export_submission(load(folder), tmp_path / "out", network=written_once, num_pictures=8)
    return tmp_path / "out"


def answers_of(python: str, submission: Path, tmp_path: Path, *, batch: np.ndarray) -> str:
    np.save(tmp_path / "X.npy", batch)
    call = [python, "-c", ASK, str(submission), str(tmp_path / "X.npy")]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_submission_answers_as_the_bundle(submission: Path, folder: Path, tmp_path: Path) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (40, 50, 60, 3), dtype=np.uint8)
    wanted = load(folder).predict_images(list(batch)).argmax(axis=1).tolist()
    assert answers_of(sys.executable, submission, tmp_path, batch=batch) == str(wanted)
    with pytest.raises(OutputError, match="already holds"):
        export_submission(load(folder), submission)


@pytest.mark.slow
def test_a_submission_runs_in_a_bare_environment(submission: Path, folder: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", str(submission / "requirements.txt")], check=True)
    batch = np.random.default_rng(0).integers(0, 256, (5, 50, 60, 3), dtype=np.uint8)
    wanted = load(folder).predict_images(list(batch)).argmax(axis=1).tolist()
    assert answers_of(python, submission, tmp_path, batch=batch) == str(wanted)
