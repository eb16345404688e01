"""``export --to openvino``: a bundle as a folder with OpenVINO's pair of files, made from the ONNX graph.

Checked like the ONNX file before it is written: what answers otherwise than the bundle is not written at all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from budwood.errors import OutputError
from budwood.export.answer_graph import NetworkGraph
from budwood.export.bundle import Bundle
from budwood.export.onnx import OnnxExport, bundle_graph, metadata, refuse_unequal
from budwood.export.openvino_runtime import ABOUT_NAME, MODEL_NAME, OpenvinoBundle, openvino_library
from budwood.export.parity import NUM_PICTURES, measure_parity
from budwood.export.torch_graph import network_graph
from budwood.files import scratch_folder, write_json, write_manifest

# OpenVINO computes the weights of a resize in float32, so that now and then a byte is a grey level off; in pictures of
# noise a network may make some thousandths of that.
OPENVINO_TOLERANCE = 1e-2


def export_openvino(
    bundle: Bundle, out: Path, *, network: NetworkGraph = network_graph, num_pictures: int = NUM_PICTURES
) -> OnnxExport:
    """Write the folder ``out``: ``model.xml``, ``model.bin``, what they say of themselves, and digests of all three.

    Input and output are those of the ONNX file; `openvino_runtime.OpenvinoBundle` opens the folder.

    Raises:
        OutputError: there is something at ``out``. UsageError: OpenVINO is missing, or torch cannot write the network.
        IntegrityError: the files answer otherwise than the bundle.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} already holds something; choose another --out")
    openvino = openvino_library()
    with scratch_folder() as scratch:
        source, made = scratch / "model.onnx", scratch / "folder"
        source.write_bytes(bundle_graph(bundle, network=network))
        made.mkdir()
        openvino.save_model(openvino.Core().read_model(source), made / MODEL_NAME, compress_to_fp16=False)
        write_json(made / ABOUT_NAME, metadata(bundle))
        write_manifest(made)
        answers = OpenvinoBundle(made)
        parity = measure_parity(bundle, answers.predict_images, num_pictures=num_pictures, allowed=OPENVINO_TOLERANCE)
        refuse_unequal(parity, what="the folder for OpenVINO")
        del answers  # it holds the weights' file open
        shutil.copytree(made, out, dirs_exist_ok=True)
    size = sum(file.stat().st_size for file in out.iterdir())
    return OnnxExport(path=out, num_bytes=size, parity=parity)
