"""An environment of the packages that the documents name, and no others, serves an ONNX file. It needs the registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from budwood.data.preprocess import Preprocess

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "docs" / "serve-requirements.txt"


def installed(folder: Path, *what: str) -> None:
    order = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(order, capture_output=True, text=True)
    if "Could not find a version" in done.stderr or "NewConnectionError" in done.stderr:
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the container is Linux")
def test_the_listed_packages_alone_serve_an_onnx_file(make_pair: Callable[..., Any], tmp_path: Path) -> None:
    pair = make_pair(Preprocess(size=32, store_side=64))
    venv.create(tmp_path / "venv", with_pip=True)
    installed(tmp_path / "venv", "-r", str(REQUIREMENTS))
    installed(tmp_path / "venv", "--no-deps", str(ROOT))
    packages = {path.name.partition("-")[0] for path in (tmp_path / "venv").glob("lib/*/site-packages/*.dist-info")}
    assert packages.isdisjoint({"torch", "onnx", "scikit_learn", "scipy", "matplotlib"}), packages
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")

    order = [str(tmp_path / "venv" / "bin" / "budwood"), "serve", str(pair.file)]
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert "answering at" in said, said + process.stderr.read()
            address = f"http://{said.partition('http://')[2].partition('/')[0]}/predict"
            data, kind = (tmp_path / "a.png").read_bytes(), {"content-type": "image/png"}
            with urllib.request.urlopen(urllib.request.Request(address, data, kind), timeout=60) as answer:
                row = json.loads(answer.read())["answers"][0]
        finally:
            process.terminate()
    expected = pair.bundle.predict(tmp_path / "a.png").probs[0]
    np.testing.assert_allclose(list(row["probabilities"].values()), expected, atol=1e-4)


@pytest.mark.slow
def test_a_bundle_is_served_by_onnxruntime_when_asked_for(bundle: Any, tmp_path: Path) -> None:
    order = [sys.executable, "-m", "budwood", "serve", str(bundle.folder), "--runtime", "onnx", "--threads", "1"]
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "writing the bundle as ONNX first" in process.stderr.readline()
            said = process.stderr.readline()
            assert "answering at" in said, said + process.stderr.read()
            with urllib.request.urlopen(said.partition("at ")[2].partition(" ")[0] + "info", timeout=60) as answer:
                assert json.loads(answer.read())["runtime"] == "onnx"
        finally:
            process.terminate()
