"""A network cut in two at a border: `Cut.prefix` up to it, `Cut.tail` from it on, together the whole.

The tail is the network's own forward in which every module that had finished before the border returns a costless
stand-in, and the border module receives the given activation in place of its input. So it works for any architecture
whose activations flow through the border alone; `check_cut` finds out whether they do, and no cut should be used
unchecked. Nothing stays on the network between two calls. Where activations are kept is not known here.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budwood.errors import UsageError
from budwood.models.trace import Trace, evaluating, noise, reached_parameters, shown, stand_in, trace_border

TOLERANCE = 1e-5  # float32; the same operations in the same order differ by 0 as a rule


class CutError(UsageError):
    """The network cannot be cut at this border; the message is the reason."""


class _Reached(BaseException):
    """Ends a forward at the border; a network's own ``except Exception`` must not catch it."""

    def __init__(self, activation: Tensor) -> None:
        super().__init__()
        self.activation = activation


class Segment(nn.Module):
    """The part of ``model`` from the input of module ``start`` to that of module ``stop``, sharing its parameters.

    Without a start it takes images, without a stop it gives the model's output. It holds the whole model (its
    ``state_dict`` is that of the model), but its parameters are those that the part itself uses.
    """

    def __init__(self, model: nn.Module, *, start: Trace | None, stop: str | None, used: frozenset[str] = frozenset()):
        super().__init__()
        self.model = model
        self.start = start
        self.stop = stop
        self.used = used

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that this part uses (of an unfinished one: all)."""
        inner = f"{prefix}." if prefix else ""
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if not self.used or name.removeprefix(inner).removeprefix("model.") in self.used:
                yield name, parameter

    def forward(self, inputs: Tensor) -> Tensor:
        """Images ``[B, 3, S, S]`` or activations ``[B, *shape]`` -> activations at the stop, or the model's output.

        Raises:
            CutError: the activations have another shape than the border's input, or the stop is never reached.
        """
        passed: list[bool] = []
        with contextlib.ExitStack() as changes:
            images = self._skip_to(self.start, inputs, passed, changes) if self.start else inputs
            if self.stop is not None:
                self._end_at(self.stop, passed, changes)
            try:
                out: Tensor = self.model(images)
            except _Reached as reached:
                return reached.activation
        if self.stop is not None:
            raise CutError(f"{self.stop} is never reached; give the name of a module that each picture passes")
        return out

    def _skip_to(self, start: Trace, activation: Tensor, passed: list[bool], changes: contextlib.ExitStack) -> Tensor:
        """Let the modules before ``start`` do nothing and the border take ``activation``; returns unused images."""
        if tuple(activation.shape[1:]) != start.shape:
            raise CutError(
                f"the input of {start.border} has the shape {shown(activation.shape[1:])}, the network was cut for "
                f"{shown(start.shape)}; cut it again for this size"
            )
        for name, outputs in start.outputs.items():
            module = self.model.get_submodule(name)
            changes.enter_context(_standing_in(module, outputs, like=activation, passed=passed))

        def put(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            passed.append(True)
            place = start.argument
            if isinstance(place, str):
                return args, {**kwargs, place: activation}
            return (*args[:place], activation, *args[place + 1 :]), kwargs

        handle = self.model.get_submodule(start.border).register_forward_pre_hook(put, prepend=True, with_kwargs=True)
        changes.callback(handle.remove)
        images: Tensor = stand_in(start.images, like=activation)
        return images

    def _end_at(self, stop: str, passed: list[bool], changes: contextlib.ExitStack) -> None:
        def end(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.start is not None and not passed:
                raise CutError(f"{stop} lies before {self.start.border}; give the borders from the input to the output")
            (activation,) = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            raise _Reached(activation)

        handle = self.model.get_submodule(stop).register_forward_pre_hook(end, prepend=True, with_kwargs=True)
        changes.callback(handle.remove)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A model in two parts that share its weights.

    border: the module before which it is cut. shape: one picture's activation there.
    start: the first part as a module. tail: the second. frozen: the names in ``model.state_dict()`` that the first
    part's result may depend on.
    """

    border: str
    shape: tuple[int, ...]
    start: Segment
    tail: Segment
    frozen: tuple[str, ...]

    @property
    def model(self) -> nn.Module:
        """The whole model, as it was given."""
        return self.tail.model

    @torch.no_grad()
    def prefix(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, S, S]`` -> activations ``[B, *shape]``, in eval mode and without gradients."""
        with evaluating(self.model):
            out: Tensor = self.start(images)
        return out

    def on(self, model: nn.Module) -> Cut:
        """The same cut of another model of this architecture (a copy, averaged weights)."""
        return Cut(
            border=self.border,
            shape=self.shape,
            start=Segment(model, start=None, stop=self.border, used=self.start.used),
            tail=Segment(model, start=self.tail.start, stop=None, used=self.tail.used),
            frozen=self.frozen,
        )

    def to(self, deeper: Cut) -> Segment:
        """The part between this border and that of ``deeper``: activations here -> activations there."""
        return Segment(self.model, start=self.tail.start, stop=deeper.border)


def cut(model: nn.Module, border: str, example: Tensor) -> Cut:
    """Cut ``model`` before the module ``border``; `check_cut` before you use it.

    Args:
        model: images ``[B, 3, S, S]`` -> one tensor; it is left as it was.
        border: dotted name of a module inside ``model``, such as ``backbone.blocks.4``; of a `Classifier` ``top`` cuts
            at the pooled features.
        example: images ``[B, 3, S, S]``; only their shape and place count.

    Raises:
        CutError: there is no such module, it is never or more than once used, its input is not one tensor with a row
            a picture, dropout lies before it, or weights are used on both sides.
    """
    if not border or border not in dict(model.named_modules()):
        raise CutError(f'"{border}" is no part of the network; `budwood models NAME` lists its blocks')
    trial, images = copy.deepcopy(model).eval(), noise(example)  # some layers remember what they met in eval mode
    try:
        trace = trace_border(trial, border, images)
    except ValueError as error:
        raise CutError(str(error)) from error
    _refuse_draws(model, trace)
    with torch.no_grad():
        activation = Segment(trial, start=None, stop=border)(images)
    before = _used(Segment(trial, start=None, stop=border), images, border)
    after = _used(Segment(trial, start=trace, stop=None), activation, border)
    shared = sorted(before & after)
    if shared:
        raise CutError(
            f"{shared[0]} is used before and after {border}, so what lies before it changes with the training"
        )
    return Cut(
        border=border,
        shape=trace.shape,
        start=Segment(model, start=None, stop=border, used=before),
        tail=Segment(model, start=trace, stop=None, used=after),
        frozen=_frozen_names(model, trace, after),
    )


def check_cut(parts: Cut, model: nn.Module, example: Tensor) -> float:
    """Compare ``tail(prefix(x))`` with ``model(x)`` in float32 and eval mode, on noise.

    Parameters that are (nearly) zero, as those of a new head or of a new residual branch, would hide what is wrong: the
    comparison is made on a copy where they are not.

    Args:
        example: images ``[B, 3, S, S]``; only their shape and place count.

    Returns:
        The largest difference, relative to the largest output.

    Raises:
        CutError: it is above ``TOLERANCE``: activations pass the border on another way.
    """
    trial = copy.deepcopy(model).float().eval()
    _fill_zeros(trial)
    same, images = parts.on(trial), noise(example).float()
    with torch.no_grad():
        expected = trial(images)
        found = same.tail(same.prefix(images))
    if found.shape != expected.shape:
        raise CutError(f"cut at {parts.border} the network gives {shown(found.shape)}, not {shown(expected.shape)}")
    difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not difference <= TOLERANCE:  # also catches nan
        raise CutError(
            f"cut at {parts.border} the network answers differently (by {difference:.1e} of the largest output, "
            f"allowed {TOLERANCE:.0e}): something passes that border on another way"
        )
    return difference


def checked_cut(model: nn.Module, border: str, example: Tensor) -> Cut:
    """`cut`, and `check_cut` on it.

    Raises:
        CutError: the network cannot be cut there.
    """
    parts = cut(model, border, example)
    check_cut(parts, model, example)
    return parts


@contextlib.contextmanager
def _standing_in(module: nn.Module, outputs: tuple[Any, ...], *, like: Tensor, passed: list[bool]) -> Iterator[None]:
    """Let ``module`` return stand-ins of ``outputs``, one a call, until the border is passed; then work as ever."""
    own = module.__dict__.get("forward")
    real = module.forward
    waiting = iter(outputs)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **kwargs) if passed else stand_in(next(waiting), like=like)

    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own


def _refuse_draws(model: nn.Module, trace: Trace) -> None:
    """Dropout outside of all layers (on the input, say) goes on in training, where a frozen layer's own is off."""
    for name in trace.outputs:
        module = model.get_submodule(name)
        rates = [float(getattr(part, "p", 0)) for part in module.modules() if "Dropout" in type(part).__name__]
        if max(rates, default=0) > 0 and next(module.parameters(), None) is None:
            raise CutError(f"{name} draws anew each time before {trace.border}, which kept activations would not")


def _used(part: Segment, inputs: Tensor, border: str) -> frozenset[str]:
    part.train().eval()  # what a layer kept of its parameters in eval mode hides them; training mode drops it
    try:
        return reached_parameters(part, inputs)
    except (RuntimeError, TypeError, ValueError, StopIteration) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CutError(f"the network does not run when it is cut at {border}: {reason}") from error


def _frozen_names(model: nn.Module, trace: Trace, trained: frozenset[str]) -> tuple[str, ...]:
    """All that lies in a module before the border, or directly in one around it and is not used after it."""
    before, around = tuple(f"{name}." for name in trace.outputs), {*trace.around}
    names = [name for name in model.state_dict() if name not in trained]
    return tuple(name for name in names if name.startswith(before) or name.rpartition(".")[0] in around)


@torch.no_grad()
def _fill_zeros(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.numel() and parameter.abs().max() < 1e-3:
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter) * 0.1)
