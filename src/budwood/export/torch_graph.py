"""A network as an ONNX model: torch writes it down, batches of any size. Nothing but the network is in it."""

from __future__ import annotations

import onnx
import onnx.inliner
import torch

from budwood.errors import UsageError
from budwood.export.bundle import Bundle
from budwood.export.graph import OPSET
from budwood.quiet import unheard


def network_graph(bundle: Bundle) -> onnx.ModelProto:
    """``images`` ``[N, 3, S, S]`` float32, standardised -> ``logits`` ``[N, K]`` float32.

    Raises:
        UsageError: torch cannot write this network as ONNX.
    """
    side = bundle.preprocess.size
    batch = torch.export.Dim("batch", min=1)
    try:
        with unheard(), torch.no_grad():
            program = torch.onnx.export(
                bundle.model.eval(),
                (torch.zeros(2, 3, side, side),),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                input_names=["images"],
                output_names=["logits"],
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # each of the many steps on the way raises errors of its own
        name = bundle.facts.spec.backbone if bundle.facts.spec else "this network"
        gist = (str(error).strip() or repr(error)).splitlines()[0][:200]
        raise UsageError(
            f"torch cannot write {name} as ONNX ({gist}); the bundle itself, and the server with torch, can be used"
        ) from error
    assert program is not None, "torch.onnx.export gives a program when dynamo is asked for"
    model: onnx.ModelProto = program.model_proto
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return model
