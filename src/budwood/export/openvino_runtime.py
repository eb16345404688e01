"""`OpenvinoBundle`: the folder of ``budwood export --to openvino``, carried out by OpenVINO. Imports no torch.

Everything is computed in float32, whatever the processor would rather do. OpenVINO's import is kept from telling its
makers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import IntegrityError, UsageError
from budwood.export.batches import equal_batches
from budwood.export.onnx_runtime import read_answers
from budwood.files import MANIFEST_NAME, check_manifest, read_json

MODEL_NAME = "model.xml"  # its weights lie in model.bin
ABOUT_NAME = "about.json"
_TELLS_ITS_MAKERS = "openvino_telemetry"  # a package of its own, which OpenVINO does without


class OpenvinoBundle:
    """A folder that ``budwood export --to openvino`` wrote: answers pictures as the bundle it was made from does.

    Raises:
        UsageError: there is no such folder, or OpenVINO is not installed. IntegrityError: a file in it was changed, is
            missing or was added, or OpenVINO cannot carry it out.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        if not (self.path / MANIFEST_NAME).is_file() or not (self.path / ABOUT_NAME).is_file():
            raise UsageError(
                f"{path} is no model for OpenVINO; make one with: budwood export RUN --to openvino --out {path}"
            )
        if problems := check_manifest(self.path):
            raise IntegrityError(f"{path} is not what was written: {'; '.join(problems[:3])}")
        values = read_json(self.path / ABOUT_NAME)
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise IntegrityError(f"{self.path / ABOUT_NAME} holds no table of texts; make the folder again")
        self.facts: dict[str, str] = values
        self.classes, self.calibration = read_answers(self.facts, str(path))
        self._request = _opened(self.path / MODEL_NAME, threads=threads)

    def predict_images(
        self, images: Sequence[NDArray[np.uint8]], *, advance: Callable[[int], None] = lambda count: None
    ) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32 of decoded pictures ``[H, W, 3]`` uint8 RGB of any size.

        Pictures of equal size that follow one another are answered together. Every size that has not been seen yet
        costs OpenVINO some preparation.

        Raises:
            ValueError: an image has another form or type, or is a strip (longer than 100 times its width).
        """
        tables = [np.zeros((0, len(self.classes)), np.float32)]
        for batch in equal_batches(images):
            tables.append(np.array(self._request.infer([batch])[0], np.float32))
            advance(len(batch))
        return np.concatenate(tables)


def openvino_library() -> Any:
    """OpenVINO, imported as if the package by which it tells its makers were not there.

    Raises:
        UsageError: it is not installed.
    """
    loaded: dict[str, Any] = sys.modules
    before = loaded.get(_TELLS_ITS_MAKERS)
    loaded[_TELLS_ITS_MAKERS] = None
    try:
        import openvino
    except ImportError as error:
        raise UsageError("models for OpenVINO need it: pip install 'budwood[openvino]'") from error
    finally:
        del loaded[_TELLS_ITS_MAKERS]
        if before is not None:
            loaded[_TELLS_ITS_MAKERS] = before
    return openvino


def _opened(file: Path, *, threads: int | None) -> Any:
    library = openvino_library()
    wishes: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        wishes["INFERENCE_NUM_THREADS"] = threads
    try:
        core = library.Core()
        return core.compile_model(core.read_model(file), "CPU", wishes).create_infer_request()
    except Exception as error:  # OpenVINO raises several kinds, all derived from Exception alone
        raise IntegrityError(f"{file} cannot be carried out by OpenVINO ({str(error)[:200]})") from error
