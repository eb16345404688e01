"""The answer of a whole bundle as an ONNX graph: views, softmax, mean, calibration, and how members are joined.

The same arithmetic as `network.py`, `joining.py` and `evaluation/ensemble.py`, in float64 where they use it. Networks
arrive as ONNX models of their own, made by `torch_graph.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import compose

from budwood.data.preprocess import Preprocess
from budwood.evaluation.class_tree import ClassTree
from budwood.evaluation.ensemble import FLOOR, Combine, Method
from budwood.evaluation.views import View
from budwood.export.bundle import Bundle
from budwood.export.graph import Graph, Tensor
from budwood.export.resize_graph import Resize, pixels_graph, resized

# A network's bundle -> ONNX: images ``[N, 3, S, S]`` float32, standardised -> logits ``[N, K]`` float32.
NetworkGraph = Callable[[Bundle], onnx.ModelProto]
_SMALLEST = float(np.finfo(np.float32).tiny)


class AnswerGraph:
    """Adds bundles to one graph; members that want the same pixels share them."""

    def __init__(self, graph: Graph, images: Tensor, *, network_graph: NetworkGraph) -> None:
        self.graph = graph
        self.images = images
        self._network_graph = network_graph
        self._pixels: dict[Preprocess, Tensor] = {}
        self._num_networks = 0

    def answer(self, bundle: Bundle) -> Tensor:
        """Calibrated probabilities ``[N, K]`` float32."""
        if bundle.facts.kind == "network":
            probs = self._network(bundle)
        else:
            tables = [self.answer(member) for member in bundle.members]
            join = _joined if bundle.facts.kind == "ensemble" else _down_the_tree
            probs = join(bundle, tables)
        known = bundle.facts.calibration
        if known is None or known.temperature == 1:
            return probs
        return _softmax(_logs(probs.to(np.float64), _SMALLEST) / known.temperature).to(np.float32)

    def _network(self, bundle: Bundle) -> Tensor:
        preprocess, views = bundle.preprocess, bundle.facts.views
        if preprocess not in self._pixels:
            self._pixels[preprocess] = pixels_graph(self.images, preprocess)
        pixels = self._pixels[preprocess]
        shown = self.graph.concat(*(seen_graph(pixels, view, side=preprocess.size) for view in views))
        channels = [self.graph.constant(np.reshape(v, (1, 3, 1, 1)), np.float32) for v in _norm(preprocess)]
        logits = self._placed(self._network_graph(bundle), (shown / 255.0 - channels[0]) / channels[1])
        probs = _softmax(logits.to(np.float64)).to(np.float32).reshape(len(views), -1, len(bundle.classes))
        method: Method = "mean" if bundle.facts.average == "probabilities" else "logit-mean"
        return _combined([probs.slice(v, v + 1, axis=0) for v in range(len(views))], Combine(method=method))

    def _placed(self, model: onnx.ModelProto, images: Tensor) -> Tensor:
        """The nodes of a network's model, put behind ``images``."""
        self._num_networks += 1
        prefix = f"network{self._num_networks}_"
        own = compose.add_prefix(model, prefix).graph
        self.graph.nodes.append(onnx.helper.make_node("Identity", [images.name], [own.input[0].name]))
        self.graph.nodes.extend(own.node)
        self.graph.constants.extend(own.initializer)
        return Tensor(self.graph, own.output[0].name, np.dtype(np.float32))


def seen_graph(pixels: Tensor, view: int | View, *, side: int) -> Tensor:
    """``evaluation.views.seen`` of pixels ``[N, 3, S, S]`` float32."""
    graph, view = pixels.graph, View(turn=view) if isinstance(view, int) else view
    out = pixels
    if view.turn >= 4:
        out = _mirrored(out, 3)
    if view.turn % 4:
        out = {
            1: lambda p: _mirrored(p.transpose(0, 1, 3, 2), 2),
            2: lambda p: _mirrored(_mirrored(p, 2), 3),
            3: lambda p: _mirrored(p.transpose(0, 1, 3, 2), 3),
        }[view.turn % 4](out)
    if view.is_whole:
        return out
    kept = side / view.scale
    left, top = side * (0.5 + view.right) - kept / 2, side * (0.5 + view.down) - kept / 2
    beyond = max(0.0, -left, -top, left + kept - side, top + kept - side)
    border = math.ceil(beyond - 1e-9) + 2 if beyond > 1e-9 else 0
    if border:
        out = graph.node("Pad", out, graph.ints(0, 0, border, border, 0, 0, border, border), mode="reflect")
    whole = side + 2 * border
    axes = []
    for start in (top + border, left + border):
        low, high = np.float32(max(0.0, start)), np.float32(min(float(whole), start + kept))
        resize = Resize(
            source=graph.ints(whole),
            length=graph.constant([high - low], np.float64),
            size=graph.ints(side),
            start=graph.ints(0),
            stop=graph.ints(side),
            radius=2.0,
        )
        axes.append((float(low), resize))
    all_of_it = (graph.ints(0), graph.ints(whole))
    (low_top, down), (low_left, across) = axes
    return resized(
        graph, out, down, across, filter_name="bicubic", rows=all_of_it, columns=all_of_it, left=low_left, top=low_top
    )


def _mirrored(pixels: Tensor, axis: int) -> Tensor:
    return pixels.slice(-1, np.iinfo(np.int64).min + 1, axis=axis, step=-1)


def _norm(preprocess: Preprocess) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    return preprocess.mean, preprocess.std


def _joined(bundle: Bundle, tables: Sequence[Tensor]) -> Tensor:
    """An ensemble's members, their classes in the order of the whole."""
    ordered = [
        _columns(table, member.classes, bundle.classes) for table, member in zip(tables, bundle.members, strict=True)
    ]
    stacked = [table.reshape(1, -1, len(bundle.classes)) for table in ordered]
    return _combined(stacked, Combine.from_dict(bundle.facts.combine))


def _down_the_tree(bundle: Bundle, tables: Sequence[Tensor]) -> Tensor:
    """The product of the probabilities along each class's path."""
    tree = ClassTree(bundle.facts.combine["tree"], classes=bundle.classes)
    out: Tensor | None = None
    for table, member, decision in zip(tables, bundle.members, tree.decisions, strict=True):
        own = _columns(table, member.classes, decision.labels).to(np.float64)
        chosen = np.zeros((len(decision.labels), len(bundle.classes)))
        elsewhere = np.ones((1, len(bundle.classes)))
        for row, names in enumerate(decision.branches):
            for name in names:
                chosen[row, bundle.classes.index(name)], elsewhere[0, bundle.classes.index(name)] = 1, 0
        factor = (own @ own.graph.constant(chosen, np.float64)) + own.graph.constant(elsewhere, np.float64)
        out = factor if out is None else out * factor
    assert out is not None, "a class tree makes at least one decision"
    return out.to(np.float32)


def _columns(table: Tensor, own: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """The columns of ``table`` in the order of the wanted classes."""
    if tuple(own) == tuple(wanted):
        return table
    order = table.graph.constant([list(own).index(name) for name in wanted], np.int64)
    return table.graph.node("Gather", table, order, axis=1)


def _combined(tables: Sequence[Tensor], how: Combine) -> Tensor:
    """`evaluation.ensemble.combine` of tables ``[1, N, K]`` -> ``[N, K]`` float32."""
    graph = tables[0].graph
    probs = graph.concat(*tables).to(np.float64)
    num = len(tables)
    if how.method == "mean":
        joined = probs.sum(0) / num
    elif how.method == "weighted":
        joined = (probs * graph.constant(np.reshape(how.weights, (num, 1, 1)), np.float64)).sum(0)
    elif how.method == "vote":
        joined = _votes(probs)
    elif how.method == "logit-mean":
        joined = _softmax(_logs(probs, FLOOR).sum(0) / num)
    else:
        coef = np.asarray(how.coef)
        side_by_side = _logs(probs, FLOOR).transpose(1, 0, 2).reshape(-1, coef.shape[1])
        intercept = graph.constant(np.asarray(how.intercept)[None], np.float64)
        joined = _softmax(side_by_side @ graph.constant(coef.T, np.float64) + intercept)
    return (joined / joined.sum(1, keep=True)).to(np.float32)


def _votes(probs: Tensor) -> Tensor:
    """Votes ``[N, K]`` of ``[M, N, K]``, with less than half a vote spread over those that are tied."""
    graph = probs.graph

    def first_best(values: Tensor, axis: int) -> Tensor:
        return graph.node("ArgMax", values, dtype=np.int64, axis=axis, keepdims=1, select_last_index=0)

    def best(values: Tensor) -> Tensor:
        return graph.node("ReduceMax", values, graph.ints(-1), keepdims=1)

    classes = graph.arange(graph.ints(0), probs.size(2))
    equal = graph.node("Equal", first_best(probs, 2), classes.reshape(1, 1, -1), dtype=np.bool_)
    votes = equal.to(np.float64).sum(0)
    tied = graph.node("Equal", votes, best(votes), dtype=np.bool_)
    mean = probs.sum(0) / probs.size(0).to(np.float64)
    nothing = mean * 0.0
    winner = first_best(graph.where(tied, mean, nothing - 1.0), 1)
    leads = graph.node("Equal", winner, classes.reshape(1, -1), dtype=np.bool_).to(np.float64)
    share = graph.where(tied, mean, nothing) + leads * 1e-3
    several = tied.to(np.float64).sum(1, keep=True) > 1.0
    return votes + graph.where(several, share / share.sum(1, keep=True) * 0.49, nothing)


def _logs(probs: Tensor, smallest: float) -> Tensor:
    return probs.at_least(smallest).apply("Log")


def _softmax(logits: Tensor) -> Tensor:
    return logits.graph.node("Softmax", logits, axis=-1)
