"""Frozen networks carried out by OpenVINO on the CPU, where the extra ``budwood[openvino]`` is installed.

OpenVINO's mere import, and its `convert_model`, tell its makers through the network; here neither does. Whether the
answers are those of torch is judged in `frozen_network.py`.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.quiet import unheard

_LARGEST_BATCH = 1024
_TELLS_ITS_MAKERS = "openvino_telemetry"  # a package of its own, which OpenVINO does without


class ConversionError(Exception):
    """OpenVINO cannot carry out a network; the text says why."""


def is_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("openvino") is not None


class CompiledNetwork:
    """A network of OpenVINO's: images ``[B, 3, S, S]`` -> outputs ``[B, D]`` float32."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        """Outputs of a batch; the array is the caller's own."""
        found = self._request.infer([np.ascontiguousarray(images.numpy())])
        return np.array(found[0], dtype=np.float32)


def compile_network(network: nn.Module, *, size: int, bf16: bool, threads: int) -> CompiledNetwork:
    """``network``, which is in eval mode, for images of ``size`` pixels in batches of any size.

    Args:
        bf16: lets OpenVINO compute in bfloat16.

    Raises:
        ConversionError: torch cannot write the network down, or OpenVINO does not know a step of it.
    """
    precision = "bf16" if bf16 else "f32"
    wishes = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    try:
        return CompiledNetwork(_library().Core().compile_model(_converted(network, size), "CPU", wishes))
    except Exception as error:  # each of the many steps on the way raises errors of its own
        raise ConversionError(_gist(error)) from error


def _library() -> Any:
    """OpenVINO, imported as if the package by which it tells its makers were not there."""
    loaded: dict[str, Any] = sys.modules
    before = loaded.get(_TELLS_ITS_MAKERS)
    loaded[_TELLS_ITS_MAKERS] = None
    try:
        import openvino
    finally:
        del loaded[_TELLS_ITS_MAKERS]
        if before is not None:
            loaded[_TELLS_ITS_MAKERS] = before
    return openvino


def _converted(network: nn.Module, size: int) -> Any:
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    network = copy.deepcopy(network)
    for module in network.modules():
        if "inplace" in vars(module):  # torch rewrites such steps one by one, which takes longer than all the rest
            vars(module)["inplace"] = False
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    with unheard(), torch.no_grad():
        program = torch.export.export(network, (torch.zeros(2, 3, size, size),), dynamic_shapes=({0: batch},))
        decoder = TorchFXPythonDecoder.from_exported_program(program)
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))


def _gist(error: Exception) -> str:
    """What of a long message names the step that is not known, or its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    known = [line for line in lines if "No conversion rule" in line]
    return (known or lines or [type(error).__name__])[0].lstrip("- ")
