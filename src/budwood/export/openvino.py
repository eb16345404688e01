"""``export --to openvino``: a bundle as OpenVINO's pair of files, .xml and .bin, made from the ONNX graph.

Checked like the ONNX file before it is written. OpenVINO's import is kept from telling its makers.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import OutputError
from budwood.export.answer_graph import NetworkGraph
from budwood.export.bundle import Bundle
from budwood.export.onnx import OnnxExport, bundle_graph, refuse_unequal
from budwood.export.parity import NUM_PICTURES, measure_parity
from budwood.export.torch_graph import network_graph
from budwood.files import scratch_folder

_TELLS_ITS_MAKERS = "openvino_telemetry"  # a package of its own, which OpenVINO does without


def export_openvino(
    bundle: Bundle, out: Path, *, network: NetworkGraph = network_graph, num_pictures: int = NUM_PICTURES
) -> OnnxExport:
    """Write ``out`` (.xml) and the weights beside it (.bin); input and output are those of the ONNX file.

    Raises:
        OutputError: ``out`` does not end in .xml. IntegrityError: the files answer otherwise than the bundle.
        UsageError: torch cannot write the network.
    """
    if out.suffix != ".xml" or out.is_dir():
        raise OutputError(f"OpenVINO's files are a .xml and a .bin beside it; give --out {out.with_suffix('.xml')}")
    openvino = _library()
    with scratch_folder() as scratch:
        (scratch / "model.onnx").write_bytes(bundle_graph(bundle, network=network))
        model = openvino.Core().read_model(scratch / "model.onnx")
        openvino.save_model(model, scratch / "model.xml", compress_to_fp16=False)
        parity = measure_parity(bundle, OpenVinoBundle(scratch / "model.xml").predict_images, num_pictures=num_pictures)
        refuse_unequal(parity, what="the pair of OpenVINO files")
        out.parent.mkdir(parents=True, exist_ok=True)
        size = sum((scratch / f"model{suffix}").stat().st_size for suffix in (".xml", ".bin"))
        for suffix in (".bin", ".xml"):  # weights first: an .xml without them would be taken for whole
            shutil.copyfile(scratch / f"model{suffix}", out.with_suffix(suffix))
    return OnnxExport(path=out, num_bytes=size, parity=parity)


class OpenVinoBundle:
    """The files of `export_openvino`, carried out on the CPU in float32."""

    def __init__(self, path: Path) -> None:
        core = _library().Core()
        wishes = {"INFERENCE_PRECISION_HINT": "f32"}
        self._request: Any = core.compile_model(core.read_model(path), "CPU", wishes).create_infer_request()

    def predict_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32 of pictures ``[H, W, 3]`` uint8 of any size."""
        return np.concatenate([np.array(self._request.infer([image[None]])[0], np.float32) for image in images])


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
