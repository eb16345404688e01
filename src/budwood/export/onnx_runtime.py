"""`OnnxBundle`: a bundle's ONNX file carried out by onnxruntime. Imports neither torch nor onnx.

The file is read as hostile: one that asks for data outside of itself, or that Budwood did not write, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import IntegrityError, UsageError
from budwood.evaluation.calibrate import Calibration
from budwood.export.batches import equal_batches

METADATA = "budwood."
# Which fields of a message of ONNX's protocol hold messages that may hold tensors, and of what kind those are.
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_MAX_DEPTH = 60


class OnnxBundle:
    """A file that ``budwood export --to onnx`` wrote: answers pictures as the bundle it was made from does.

    Raises:
        UsageError: there is no such file, or onnxruntime is not installed. IntegrityError: the file is damaged, was
            not written by Budwood, or keeps weights outside of itself.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UsageError(f"{path} is no file; make one with: budwood export RUN --to onnx --out {path}")
        data = self.path.read_bytes()
        refuse_outside_data(data, str(path))
        self._session = _opened(data, str(path), threads=threads)
        self.facts: dict[str, str] = {
            name.removeprefix(METADATA): value
            for name, value in self._session.get_modelmeta().custom_metadata_map.items()
            if name.startswith(METADATA)
        }
        self.classes, self.calibration = read_answers(self.facts, str(path))

    def predict_images(
        self, images: Sequence[NDArray[np.uint8]], *, advance: Callable[[int], None] = lambda count: None
    ) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32 of decoded pictures ``[H, W, 3]`` uint8 RGB of any size.

        Pictures of equal size that follow one another are answered together.

        Raises:
            ValueError: an image has another form or type, or is a strip (longer than 100 times its width).
        """
        tables = [np.zeros((0, len(self.classes)), np.float32)]
        for batch in equal_batches(images):
            found: NDArray[np.float32] = self._session.run(None, {"images": batch})[0]
            tables.append(found)
            advance(len(batch))
        return np.concatenate(tables)


def read_answers(facts: Mapping[str, str], name: str) -> tuple[tuple[str, ...], Calibration | None]:
    """The classes and the calibration that an exported file tells of itself, as JSON texts; ``name``: of the file.

    Raises:
        IntegrityError: it does not.
    """
    try:
        known = json.loads(facts["calibration"])
        return tuple(json.loads(facts["classes"])), None if known is None else Calibration.from_dict(known)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{name} is no file of Budwood's: it does not name its classes ({error!r})") from error


def refuse_outside_data(data: bytes, name: str) -> None:
    """Raise IntegrityError where an ONNX file says that some of its weights lie in other files, or cannot be read."""
    try:
        outside = _asks_outside(memoryview(data), "model", depth=0)
    except (IndexError, ValueError) as error:
        raise IntegrityError(f"{name} is damaged: it cannot be read as ONNX") from error
    if outside:
        raise IntegrityError(
            f"{name} keeps weights in other files, which could be any file of this computer; Budwood writes all into"
            " one file, so this was made by something else: do not use it"
        )


def _asks_outside(message: memoryview, kind: str, *, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    inside = _INSIDE.get(kind, {})
    for field, value in _fields(message):
        if kind == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
        elif field in inside:
            if not isinstance(value, memoryview):
                raise ValueError("a message was expected")
            if _asks_outside(value, inside[field], depth=depth + 1):
                return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, value) of a protocol buffer's message; what is no whole number or block is skipped."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield field, number
        elif wire == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("cut off")
            yield field, message[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
    if at != len(message):
        raise ValueError("cut off")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _opened(data: bytes, name: str, *, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("ONNX files need onnxruntime: pip install budwood[onnx]") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen kinds, all derived from Exception alone
        raise IntegrityError(f"{name} cannot be carried out by onnxruntime ({str(error)[:200]})") from error
