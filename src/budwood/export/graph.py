"""Writing an ONNX graph as if it were arithmetic: `Graph` collects nodes, `Tensor` has operators.

Only what the graphs of a bundle need. It knows nothing of pictures or networks, and runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper

OPSET = 20
_COMPARISONS = frozenset({"Greater", "Less"})


class Graph:
    """Nodes and constants of a graph that is being written; every name in it is made here."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: dict[tuple[Any, ...], str] = {}

    def new_name(self, word: str) -> str:
        """A name that no tensor has yet."""
        return f"{word}_{len(self.nodes) + len(self.constants)}"

    def constant(self, value: ArrayLike, dtype: DTypeLike) -> Tensor:
        """A constant; equal ones are kept once."""
        array: NDArray[Any] = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = self.new_name("constant")
            self.constants.append(numpy_helper.from_array(array, self._names[key]))
        return Tensor(self, self._names[key], array.dtype)

    def node(self, kind: str, *inputs: Tensor, dtype: DTypeLike | None = None, **attributes: Any) -> Tensor:
        """Add a node with one output, of the type of its first input unless ``dtype`` says otherwise."""
        name = self.new_name(kind)
        self.nodes.append(helper.make_node(kind, [tensor.name for tensor in inputs], [name], name, **attributes))
        return Tensor(self, name, np.dtype(dtype or inputs[0].dtype))

    def ints(self, *values: int) -> Tensor:
        """A constant ``[len(values)]`` of whole numbers."""
        return self.constant(list(values), np.int64)

    def concat(self, *parts: Tensor, axis: int = 0) -> Tensor:
        """Tensors one after the other."""
        return self.node("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def arange(self, start: Tensor, stop: Tensor) -> Tensor:
        """Whole numbers from ``start`` up to, not with, ``stop``; both are of shape [1]."""
        axis = self.ints(0)
        ends = (self.node("Squeeze", start, axis), self.node("Squeeze", stop, axis))
        return self.node("Range", *ends, self.constant(1, np.int64))

    def where(self, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """Elements of ``yes`` where the condition holds, else of ``no``."""
        return self.node("Where", condition, yes, no, dtype=yes.dtype)

    def choose(self, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """The whole of ``yes`` where the condition, of shape [1], holds, else of ``no``; tensors of one rank.

        Not ONNX's ``If``: OpenVINO (2026.4) overwrites what its branches hand on, without a word.
        """
        flat, end = self.concat(yes.reshape(-1), no.reshape(-1)), yes.reshape(-1).size(0)
        start, stop = self.where(condition, end * 0, end), self.where(condition, end, flat.size(0))
        shape = self.where(condition, yes.shape(), no.shape())
        return self.node("Reshape", flat.slice(start, stop, axis=0), shape)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of a graph. Plain numbers beside it in arithmetic are taken as constants of its type, shape [1]."""

    graph: Graph
    name: str
    dtype: np.dtype[Any]

    def __add__(self, other: Tensor | float) -> Tensor:
        return self._with("Add", other)

    def __sub__(self, other: Tensor | float) -> Tensor:
        return self._with("Sub", other)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self._with("Mul", other)

    def __truediv__(self, other: Tensor | float) -> Tensor:
        """Division; of whole numbers the whole part, rounded towards zero."""
        return self._with("Div", other)

    def __gt__(self, other: Tensor | float) -> Tensor:
        return self._with("Greater", other)

    def __lt__(self, other: Tensor | float) -> Tensor:
        return self._with("Less", other)

    def __matmul__(self, other: Tensor) -> Tensor:
        return self.graph.node("MatMul", self, other)

    def at_least(self, other: Tensor | float) -> Tensor:
        """Element by element the larger."""
        return self._with("Max", other)

    def at_most(self, other: Tensor | float) -> Tensor:
        """Element by element the smaller."""
        return self._with("Min", other)

    def to(self, dtype: DTypeLike) -> Tensor:
        """The same in another type."""
        if np.dtype(dtype) == self.dtype:
            return self
        return self.graph.node("Cast", self, dtype=dtype, to=onnx_type(np.dtype(dtype)))

    def apply(self, kind: str) -> Tensor:
        """A function of each element, such as ``Floor``, ``Abs``, ``Log``."""
        return self.graph.node(kind, self)

    def reshape(self, *shape: Tensor | int) -> Tensor:
        """Another shape; sizes are numbers or tensors of shape [1]."""
        sizes = [size if isinstance(size, Tensor) else self.graph.ints(size) for size in shape]
        return self.graph.node("Reshape", self, self.graph.concat(*sizes))

    def transpose(self, *axes: int) -> Tensor:
        """Axes in another order."""
        return self.graph.node("Transpose", self, perm=list(axes))

    def sum(self, axis: int, *, keep: bool = False) -> Tensor:
        """The sum along an axis."""
        return self.graph.node("ReduceSum", self, self.graph.ints(axis), keepdims=int(keep))

    def slice(self, start: Tensor | int, stop: Tensor | int, *, axis: int, step: int = 1) -> Tensor:
        """A part along an axis; ends are numbers or tensors of shape [1]."""
        ends = [end if isinstance(end, Tensor) else self.graph.ints(end) for end in (start, stop)]
        return self.graph.node("Slice", self, *ends, self.graph.ints(axis), self.graph.ints(step))

    def shape(self) -> Tensor:
        """The lengths along all axes, shape [rank]."""
        return self.graph.node("Shape", self, dtype=np.int64)

    def size(self, axis: int) -> Tensor:
        """The length along an axis, shape [1]."""
        return self.graph.node("Shape", self, dtype=np.int64, start=axis, end=axis + 1)

    def _with(self, kind: str, other: Tensor | float) -> Tensor:
        if not isinstance(other, Tensor):
            other = self.graph.constant([other], self.dtype)
        return self.graph.node(kind, self, other, dtype=np.bool_ if kind in _COMPARISONS else self.dtype)


def onnx_type(dtype: np.dtype[Any]) -> int:
    """ONNX's number for a type of NumPy's."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))
