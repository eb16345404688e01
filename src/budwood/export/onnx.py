"""``export --to onnx``: a bundle as one ONNX file, from pictures of any size to calibrated probabilities.

Resize, crop, normalisation, views, members and calibration are inside the graph. The file is checked by ONNX's checker
and carried out by onnxruntime on golden and random pictures before it is written; one that answers otherwise than the
bundle is not written at all. Only float32 is written; fewer bits are `reduced.py`'s matter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

import budwood
from budwood.errors import IntegrityError, OutputError
from budwood.export.answer_graph import AnswerGraph, NetworkGraph
from budwood.export.bundle import Bundle
from budwood.export.graph import OPSET, Graph, Tensor, onnx_type
from budwood.export.onnx_runtime import METADATA, OnnxBundle
from budwood.export.parity import NUM_PICTURES, Parity, measure_parity
from budwood.export.torch_graph import network_graph
from budwood.files import MANIFEST_NAME, atomic_open, read_json, scratch_folder

_IR_VERSION = 10  # what opset 20 goes with; a newer one would need a newer onnxruntime
_MAX_BYTES = 2**31 - 1  # of one protocol buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxExport:
    """A written file, its size, and how near its answers are to the bundle's."""

    path: Path
    num_bytes: int
    parity: Parity


def export_onnx(
    bundle: Bundle,
    out: Path,
    *,
    network: NetworkGraph = network_graph,
    num_pictures: int = NUM_PICTURES,
) -> OnnxExport:
    """Write ``bundle`` as one ONNX file: ``images`` ``[N, H, W, 3]`` uint8 RGB -> ``probabilities`` ``[N, K]``.

    Args:
        out: the file; its folder is made.
        network: writes one network of the bundle.
        num_pictures: random pictures that are compared, besides the golden ones.

    Raises:
        UsageError: torch cannot write the network. IntegrityError: the file answers otherwise than the bundle.
        OutputError: ``out`` is a folder, or the file would be larger than ONNX allows.
    """
    if out.is_dir():
        raise OutputError(f"{out} is a folder; give a file such as {out / 'model.onnx'}")
    data = bundle_graph(bundle, network=network)
    with scratch_folder() as scratch:
        trial = scratch / "model.onnx"
        trial.write_bytes(data)
        parity = measure_parity(bundle, OnnxBundle(trial).predict_images, num_pictures=num_pictures)
    refuse_unequal(parity, what="the ONNX file")
    with atomic_open(out) as file:
        file.write(data)
    return OnnxExport(path=out, num_bytes=len(data), parity=parity)


def refuse_unequal(parity: Parity, *, what: str) -> None:
    """Raise IntegrityError, with numbers, unless parity holds."""
    if not parity.holds:
        raise IntegrityError(
            f"{what} was not written: its {parity.words}, allowed is {parity.allowed:g}; {parity.changed} get another"
            " class. The bundle itself is sound. Please report this, with the versions from `pip list`"
        )


def bundle_graph(bundle: Bundle, *, network: NetworkGraph = network_graph, precision: str = "fp32") -> bytes:
    """The bundle as a checked ONNX model, serialised; ``network`` is `export_onnx`'s.

    Args:
        precision: what the file says of its networks.

    Raises:
        UsageError: torch cannot write the network. OutputError: it would be larger than ONNX allows.
    """
    graph = Graph()
    images = Tensor(graph, "images", np.dtype(np.uint8))
    found = AnswerGraph(graph, images, network_graph=network).answer(bundle)
    graph.nodes.append(helper.make_node("Identity", [found.name], ["probabilities"]))
    whole = helper.make_graph(
        graph.nodes,
        "budwood",
        [helper.make_tensor_value_info("images", onnx_type(images.dtype), ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["N", len(bundle.classes)])],
        graph.constants,
    )
    model = helper.make_model(
        whole,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="budwood",
        producer_version=budwood.__version__,
    )
    helper.set_model_props(
        model, {METADATA + name: text for name, text in metadata(bundle, precision=precision).items()}
    )
    if model.ByteSize() > _MAX_BYTES:
        raise OutputError(
            f"one ONNX file holds at most 2 GB, and this network is larger ({model.ByteSize() / 1e9:.1f} GB); weights"
            " beside the file are not written. Use the bundle itself"
        )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def metadata(bundle: Bundle, *, precision: str = "fp32") -> dict[str, str]:
    """What an exported file says of itself: JSON texts by name."""
    known = bundle.facts.calibration
    values = {
        "format": 1,
        "classes": list(bundle.classes),
        "preprocess": _preprocesses(bundle),
        "calibration": known.to_dict() if known else None,
        "bundle": _digest(bundle),
        "precision": precision,
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _preprocesses(bundle: Bundle) -> list[dict[str, Any]]:
    """Of every network in the bundle, in the order of the members."""
    if bundle.facts.preprocess is not None:
        return [bundle.facts.preprocess.to_dict()]
    return [each for member in bundle.members for each in _preprocesses(member)]


def _digest(bundle: Bundle) -> str:
    """The SHA-256 that the bundle's manifest is sealed with; empty for a bundle that is no folder."""
    manifest = bundle.folder / MANIFEST_NAME
    return str(read_json(manifest)["sha256"]) if manifest.is_file() else ""
