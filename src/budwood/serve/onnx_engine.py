"""`OnnxEngine`: an ONNX file of Budwood's on onnxruntime, behind a server. Imports neither torch nor onnx.

The graph in the file takes pictures of any size, but those of different sizes cannot be answered together, and large
ones must not wait in a queue. So what has no bearing on the answer is done when a picture is decoded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.data.preprocess import Preprocess, reduce_to
from budwood.errors import IntegrityError, UsageError
from budwood.export.onnx_runtime import OnnxBundle

_TOLERANCE = 1e-4  # of a probability: Budwood's promise for the same bytes
# onnxruntime needs as long for a picture in a batch of 32 as in one of 2, and several times the memory.
_TOGETHER = 2
_MAX_SIDE = 8192  # pixels, of a network's input
_TRIAL = (1100, 837)  # pixels: reduced, resized and cropped, whatever sizes a network of today takes


class OnnxEngine:
    """An ONNX file that ``budwood export`` wrote.

    Where the file's networks all see a picture in the same way, `prepare` makes it the square that the graph leaves as
    it is, but for the crop, and the squares of many pictures are answered together. Where they do not (members with
    inputs of several sizes), each picture is answered at once in the thread that decoded it, and its answer waits.

    Lanes share the pictures, not the work for one: onnxruntime's own threads would spin while they wait, and take the
    cores from those that decode.

    Raises:
        UsageError, IntegrityError: as `OnnxBundle`. IntegrityError: the file says otherwise of how it takes pictures
            than its graph does.
    """

    runtime = "onnx"
    batch = _TOGETHER

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        """``threads``: how many pictures are answered at a time; None: as many as this process has cores."""
        self._file = OnnxBundle(path, threads=1)
        self.classes = self._file.classes
        self.calibration = self._file.calibration
        self._preprocesses = _preprocesses(self._file)
        self._square = square_of(self._preprocesses)
        self.lanes = threads or num_cores()
        self.about: dict[str, Any] = {name: _plain(self._file.facts.get(name)) for name in ("bundle", "precision")}
        self.no_maps = "an ONNX file answers only; serve the bundle itself with --runtime torch to see where it looks"
        self._check()

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """The square of a picture ``[S, S, 3]`` uint8, or its answer ``[K]`` float32; the class says when."""
        if self._square is not None:
            return self._square.pixels(image)
        sides = {each.store_side for each in self._preprocesses}
        if len(sides) == 1:
            image = reduce_to(image, sides.pop())
        row: NDArray[np.float32] = self._file.predict_images([image])[0]
        return row

    def answer(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Calibrated probabilities ``[N, K]``: within 1e-4 what the bundle answers for the same pictures."""
        if self._square is None:
            return np.reshape(np.asarray(prepared, np.float32), (-1, len(self.classes)))
        return self._file.predict_images(prepared)

    def explain(self, image: NDArray[np.uint8], label: str) -> bytes:
        """Raises UsageError: there are no gradients in the file."""
        raise UsageError(self.no_maps)

    def _check(self) -> None:
        """Raise IntegrityError where a prepared picture is answered otherwise than a whole one."""
        coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize(_TRIAL, Image.Resampling.BICUBIC))
        whole, found = self._file.predict_images([image]), self.answer([self.prepare(image)])
        if not float(np.abs(whole - found).max()) <= _TOLERANCE:
            raise IntegrityError(
                f"{self._file.path} takes pictures in another way than it says, so it would be asked wrongly; make it"
                " again with: budwood export RUN --to onnx"
            )


def square_of(preprocesses: Sequence[Preprocess]) -> Preprocess | None:
    """What makes squares of pictures that a graph with these preprocesses leaves as they are, but for the crop.

    Such a square is the middle of the resized picture: resizing it to its own size changes nothing. None where there is
    none: the preprocesses differ, pictures are enlarged from what they were reduced to, or the crop's margin is odd,
    so that the middle of the middle is another one.
    """
    first = preprocesses[0]
    side = max(first.size, round(first.size / first.crop_fraction))
    alike = len({(each.size, each.crop_fraction, each.interpolation, each.store_side) for each in preprocesses}) == 1
    if not alike or side > first.store_side or (side - first.size) % 2:
        return None
    return replace(first, size=side, crop_fraction=1.0)


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _preprocesses(file: OnnxBundle) -> list[Preprocess]:
    try:
        found = [Preprocess.from_dict(values) for values in json.loads(file.facts["preprocess"])]
        if not found or not all(0 < each.size <= _MAX_SIDE and 0.1 <= each.crop_fraction <= 1 for each in found):
            raise ValueError("no sizes that a network may have")
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{file.path} does not say how it takes pictures ({error!r})") from error
    return found


def _plain(text: str | None) -> Any:
    """A value of the file's metadata; None where it has none."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
