"""What each part of a network costs and sees, measured on one forward pass of a picture that is not there.

Shapes flow through the network, no numbers (PyTorch's fake tensors), so a network of a billion weights takes no memory
and a second. The table of it is made in `summary`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# The side of a picture that a network is measured with when it names none itself.
_USUAL_SIDE = 224
_LOOKS_EVERYWHERE = ("bmm", "attention", "adaptive_avg_pool", "adaptive_max_pool")


@dataclass(slots=True, kw_only=True)
class Visit:
    """One module's part in the pass.

    entered, shape: the sides of its first input and output without the number of pictures. macs: multiply-accumulates
    of its own, without those of the modules in it. activation_bytes: of its output, 0 where that is no new memory.
    field: the side in pixels of the square of the picture that one place of the output sees; None: not defined.
    """

    name: str
    kind: str
    entered: tuple[int, ...]
    shape: tuple[int, ...] = ()
    macs: int = 0
    activation_bytes: int = 0
    field: int | None = None


def measure(module: nn.Module, *, size: int) -> tuple[Visit, ...]:
    """All modules in the order in which a picture of ``size`` pixels enters them; one that is used twice stands once.

    Receptive fields are the theoretical ones: convolutions and poolings widen them, normalisations do not, and after
    global pooling, attention or a layer over a whole flattened map they are not defined. The network stays as it is.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    meter = _Meter()
    was_training = [part for part in module.modules() if part.training]
    module.eval()
    handles = _watch(module, meter)
    try:
        # Fake tensors stand inside the meter, or it would see real ones.
        with torch.no_grad(), _plain_attention(), FakeTensorMode(allow_non_fake_inputs=True), meter:
            images = torch.empty(1, 3, size, size, device=device)
            meter.begin(images)
            module(images)
    finally:
        for handle in handles:
            handle.remove()
        for part in was_training:
            part.training = True
    return tuple(meter.visits.values())


def input_side(module: nn.Module) -> int:
    """The side of the pictures that a network was made for."""
    own = getattr(module, "input_side", None)
    if own:
        return int(own)
    patches = getattr(getattr(module, "patch_embed", None), "img_size", None)
    if patches:
        return int(patches[0])
    cfg: dict[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    return int(cfg["input_size"][-1]) if "input_size" in cfg else _USUAL_SIDE


@contextmanager
def _plain_attention() -> Iterator[None]:
    """PyTorch's one-call transformer layer hides its products from the meter."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one place of a tensor sees: a square of ``field`` pixels, ``jump`` pixels from its neighbour's."""

    field: float
    jump: float

    def widened(self, *, kernel: int, stride: int, dilation: int) -> _Reach:
        if math.isinf(self.field):
            return self
        return _Reach(self.field + (kernel - 1) * dilation * self.jump, self.jump * stride)


_EVERYWHERE = _Reach(math.inf, math.inf)


@dataclass(eq=False)
class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-accumulates and follows receptive fields through every operation."""

    macs: int = 0
    visits: dict[str, Visit] = field(default_factory=dict)
    _reach: dict[int, _Reach] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)  # ids stay unique while their tensors live
    _open: list[tuple[int, int]] = field(default_factory=list)
    _counted: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def begin(self, images: Tensor) -> None:
        self._note(images, _Reach(1, 1))
        self._counted.add(images.untyped_storage()._cdata)

    def enter(self, name: str, module: nn.Module, inputs: Sequence[Any]) -> None:
        tensor = _first_tensor(inputs)
        entered = () if tensor is None else tuple(tensor.shape[1:])
        self.visits.setdefault(name, Visit(name=name, kind=type(module).__name__, entered=entered))
        self._open.append((self.macs, 0))

    def leave(self, name: str, output: Any) -> None:
        before, inside = self._open.pop()
        total = self.macs - before
        if self._open:
            outer_before, outer_inside = self._open[-1]
            self._open[-1] = (outer_before, outer_inside + total)
        visit = self.visits[name]
        visit.macs += total - inside
        tensor = _first_tensor(output)
        if tensor is None:
            return
        visit.shape = tuple(tensor.shape[1:])
        reach = self._reach.get(id(tensor), _EVERYWHERE)
        visit.field = None if math.isinf(reach.field) else int(reach.field)
        for new in (t for t in tree_leaves(output) if isinstance(t, Tensor)):
            storage = new.untyped_storage()._cdata  # equal for views: a flattened map is no new memory
            if storage not in self._counted:
                visit.activation_bytes += new.numel() * new.element_size()
                self._counted.add(storage)
                self._alive.append(new)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.macs += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
        known = [self._reach[id(t)] for t in tree_leaves((args, kwargs)) if id(t) in self._reach]
        if known:
            widest = _Reach(max(r.field for r in known), max(r.jump for r in known))
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor):
                    self._note(tensor, _after(packet.__name__, widest, args))
        return out

    def _note(self, tensor: Tensor, reach: _Reach) -> None:
        self._reach[id(tensor)] = reach
        self._alive.append(tensor)


def _after(operation: str, reach: _Reach, args: Sequence[Any]) -> _Reach:
    """The receptive field after an operation on tensors of one picture, from its arguments as ATen has them."""
    if operation == "convolution":
        stride, dilation = args[3], args[5]
        return reach.widened(kernel=args[1].shape[-1], stride=stride[-1], dilation=dilation[-1])
    if operation.startswith(("max_pool2d", "avg_pool2d")):
        kernel = args[1][-1]
        stride = args[2][-1] if len(args) > 2 and args[2] else kernel
        dilation = args[4][-1] if operation.startswith("max") and len(args) > 4 else 1
        return reach.widened(kernel=kernel, stride=stride, dilation=dilation)
    if operation in ("mean", "amax", "sum"):
        return _EVERYWHERE if args[0].ndim == 4 and len(args) > 1 and len(args[1]) == 2 else reach
    if operation in ("addmm", "mm"):
        rows = args[1] if operation == "addmm" else args[0]
        return _EVERYWHERE if rows.shape[0] == 1 else reach  # one row: the whole picture; many: one a place
    return _EVERYWHERE if any(word in operation for word in _LOOKS_EVERYWHERE) else reach


def _watch(module: nn.Module, meter: _Meter) -> list[Any]:
    handles = []
    for name, part in module.named_modules():

        def before(part: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
            meter.enter(name, part, (*inputs, *kwargs.values()))

        def after(_: nn.Module, __: tuple[Any, ...], output: Any, name: str = name) -> None:
            meter.leave(name, output)

        handles += [part.register_forward_pre_hook(before, with_kwargs=True), part.register_forward_hook(after)]
    return handles


def _first_tensor(values: Any) -> Tensor | None:
    return next((value for value in tree_leaves(values) if isinstance(value, Tensor)), None)
