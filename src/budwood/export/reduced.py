"""``export --to onnx --precision fp16|int8``: an ONNX file in fewer bits, with what that costs measured and told.

The cost stands in the file's metadata and in a JSON file beside it. The graph is proved in float32 first, so that what
is measured is the precision alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from budwood.data.preprocess import Preprocess
from budwood.errors import OutputError
from budwood.export.answer_graph import NetworkGraph
from budwood.export.bundle import Bundle
from budwood.export.cost import Cost, LabelledFiles, measure_cost
from budwood.export.onnx import bundle_graph, refuse_unequal
from budwood.export.onnx_runtime import METADATA, OnnxBundle
from budwood.export.parity import NUM_PICTURES, Parity, measure_parity
from budwood.export.precision import NUM_RANGES, Precision, reduced_network
from budwood.export.torch_graph import network_graph
from budwood.files import atomic_open, scratch_folder, to_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ReducedExport:
    """A written file, its size, what it costs, and how near its float32 form was to the bundle."""

    path: Path
    num_bytes: int
    parity: Parity
    cost: Cost


def cost_file(out: Path) -> Path:
    """Where the cost of the ONNX file ``out`` is told."""
    return out.with_suffix(".cost.json")


def export_reduced(
    bundle: Bundle,
    out: Path,
    *,
    precision: Precision,
    pictures: LabelledFiles,
    network: NetworkGraph = network_graph,
    num_pictures: int = NUM_PICTURES,
    advance: Callable[[int], None] = lambda count: None,
) -> ReducedExport:
    """Write ``bundle`` as one ONNX file whose networks compute in fewer bits, and `cost_file` beside it.

    Args:
        out: the file; its folder is made.
        pictures: what the cost is measured on, and what the ranges of int8 are learnt from.
        network: writes one network of the bundle.
        num_pictures: random pictures on which the float32 form is compared with the bundle.
        advance: hears of the pictures that were measured on.

    Raises:
        UsageError: torch or onnxruntime's tools cannot convert the network. OutputError: ``out`` cannot be written.
        IntegrityError: the float32 form answers otherwise than the bundle, or the numbers overflow.
    """
    if out.is_dir():
        raise OutputError(f"{out} is a folder; give a file such as {out / 'model.onnx'}")
    network = _written_once(network)
    ranges = pictures.training[:NUM_RANGES]
    with scratch_folder() as scratch:
        whole, reduced = scratch / "fp32.onnx", scratch / "reduced.onnx"
        whole.write_bytes(bundle_graph(bundle, network=network))
        parity = measure_parity(bundle, OnnxBundle(whole).predict_images, num_pictures=num_pictures)
        refuse_unequal(parity, what="the ONNX file")
        fewer = reduced_network(precision, network, pictures=ranges)
        reduced.write_bytes(bundle_graph(bundle, network=fewer, precision=precision))
        inputs = preprocesses_of(bundle)
        cost = measure_cost(
            whole,
            reduced,
            pictures=pictures,
            precision=precision,
            advance=advance,
            side=max(each.size for each in inputs),
            store_side=max(each.store_side for each in inputs),
        )
        data = _with_cost(reduced.read_bytes(), cost)
    with atomic_open(out) as file:
        file.write(data)
    write_json(cost_file(out), cost.to_dict())
    return ReducedExport(path=out, num_bytes=len(data), parity=parity, cost=cost)


def preprocesses_of(bundle: Bundle) -> list[Preprocess]:
    """Of every network in the bundle."""
    if bundle.facts.preprocess is not None:
        return [bundle.facts.preprocess]
    return [each for member in bundle.members for each in preprocesses_of(member)]


def _written_once(network: NetworkGraph) -> Callable[[Bundle], onnx.ModelProto]:
    """torch takes seconds to write a network down, and it is needed twice; each caller gets a copy to change."""
    made: dict[int, onnx.ModelProto] = {}

    def written(bundle: Bundle) -> onnx.ModelProto:
        if id(bundle) not in made:
            made[id(bundle)] = network(bundle)
        copy = onnx.ModelProto()
        copy.CopyFrom(made[id(bundle)])
        return copy

    return written


def _with_cost(data: bytes, cost: Cost) -> bytes:
    model = onnx.load_from_string(data)
    model.metadata_props.add(key=f"{METADATA}cost", value=to_json(cost.to_dict()))
    return bytes(model.SerializeToString(deterministic=True))
