"""Networks of an ONNX file in fewer bits: float16, or 8-bit whole numbers with ranges learnt from pictures.

onnxruntime's own tools do it. Only the networks are changed: resize, standardisation, softmax, views and calibration
stay as they are. What it costs is measured in `cost.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from budwood.data.decode import decode_file
from budwood.errors import UsageError
from budwood.evaluation.views import seen
from budwood.export.answer_graph import NetworkGraph
from budwood.export.bundle import Bundle
from budwood.files import scratch_folder
from budwood.quiet import unheard

Precision = Literal["fp32", "fp16", "int8"]
NUM_RANGES = 200  # pictures that the ranges of 8-bit numbers are learnt from
_BATCH = 8
_LAYERS = ("Conv", "Gemm", "MatMul")


def reduced_network(precision: Precision, network: NetworkGraph, *, pictures: Sequence[Path]) -> NetworkGraph:
    """``network``, its outcome in fewer bits; input and output stay float32.

    Args:
        pictures: files of the training part that the ranges of int8 are learnt from; fp16 needs none.

    Raises:
        UsageError: when it is called: the tools cannot convert this network, or int8 has no pictures.
    """

    def reduced(bundle: Bundle) -> onnx.ModelProto:
        whole = network(bundle)
        try:
            with unheard():
                return whole if precision == "fp32" else _CONVERSIONS[precision](whole, bundle, pictures)
        except UsageError:
            raise
        except Exception as error:  # onnxruntime's tools raise whatever comes up
            gist = (str(error).strip() or repr(error)).splitlines()[0][:200]
            raise UsageError(
                f"onnxruntime's tools cannot make {precision} of this network ({gist}); use fp32"
            ) from error

    return reduced


def _half(model: onnx.ModelProto, bundle: Bundle, pictures: Sequence[Path]) -> onnx.ModelProto:
    made = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    made.topological_sort()  # the casts were put last
    halved: onnx.ModelProto = made.model
    return halved


def _eight_bit(model: onnx.ModelProto, bundle: Bundle, pictures: Sequence[Path]) -> onnx.ModelProto:
    """Both weights and activations, in the form (QDQ) that every runtime carries out as it is written."""
    if not pictures:
        raise UsageError("int8 learns its ranges from pictures, and there are none: give labelled ones with --measure")
    with scratch_folder() as scratch:
        given, plain, made = (scratch / f"{name}.onnx" for name in ("given", "plain", "int8"))
        onnx.save(model, given)  # of a model in memory the tool loses the weights
        quant_pre_process(given, plain, skip_symbolic_shape=True)
        quantization.quantize_static(
            plain,
            made,
            _Inputs(bundle, pictures),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Seven bits: with eight, processors without VNNI overflow, and would answer otherwise than this one.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_ends(onnx.load(plain)),
        )
        return onnx.load(made)


def _ends(model: onnx.ModelProto) -> list[str]:
    """The first and the last layer with weights: they hold few of them, and in 8 bits cost most of the accuracy."""
    layers = [node.name for node in model.graph.node if node.op_type in _LAYERS]
    return layers[:1] + layers[-1:]


class _Inputs(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """A network's input, batch by batch; of every picture one of the views, in turn."""

    def __init__(self, bundle: Bundle, pictures: Sequence[Path]) -> None:
        self._batches = _inputs(bundle, pictures)

    def get_next(self) -> dict[str, Any] | None:
        """What onnxruntime asks for until there is no more."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def _inputs(bundle: Bundle, pictures: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    import torch

    views = bundle.facts.views
    for at in range(0, len(pictures), _BATCH):
        some = pictures[at : at + _BATCH]
        pixels = [bundle.preprocess.pixels(decode_file(file).image) for file in some]
        shown = [seen(each[None], views[(at + i) % len(views)])[0] for i, each in enumerate(pixels)]
        yield bundle.preprocess.normalise(torch.from_numpy(np.stack(shown))).contiguous().numpy()


_CONVERSIONS = {"fp16": _half, "int8": _eight_bit}
