"""One watched forward: which modules have finished when a border is reached, and what they returned.

Shapes only are kept, with how they grow with the number of pictures. `cut.py` builds the two parts of a network of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

PICTURES = 3  # in the watched forward


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A tensor's sides for three pictures, and what each side grows by with one picture more."""

    sides: tuple[int, ...]
    growth: tuple[int, ...]
    floating: bool
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a forward did until the border module was called.

    shape: one picture's activation at the border. argument: where the border takes it (position or keyword).
    images: the model's input. outputs: name of each topmost module that had finished -> what each of its calls gave
    (`Shape` in place of tensors). around: names of the modules that were still at work.
    """

    border: str
    shape: tuple[int, ...]
    argument: int | str
    images: Shape
    outputs: dict[str, tuple[Any, ...]]
    around: tuple[str, ...]


@dataclass(eq=False)
class _Call:
    name: str
    inside: _Call | None
    output: Any = None


@dataclass
class _Watched:
    active: list[_Call] = field(default_factory=list)
    finished: list[_Call] = field(default_factory=list)
    entries: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    before: list[_Call] = field(default_factory=list)
    around: tuple[str, ...] = ()


def trace_border(model: nn.Module, border: str, images: Tensor) -> Trace:
    """Watch two forwards, of three ``images`` and of two (the side of a single one may be squeezed away).

    Args:
        model: in eval mode.
        images: ``[3, 3, S, S]``.

    Raises:
        ValueError: the border is used never or more than once, or its input is not one tensor with a row a picture.
    """
    many, fewer = _watch(model, border, images), _watch(model, border, images[:-1])
    if [call.name for call in many.before] != [call.name for call in fewer.before]:
        raise ValueError(f"the way to {border} depends on the number of pictures")
    argument = _argument(many.entries[0], border)
    entry = _value(many.entries[0], argument)
    shape: Shape = _compared(entry, _value(fewer.entries[0], argument))
    if not shape.floating or shape.growth != (1, *(0,) * (entry.ndim - 1)):
        raise ValueError(f"the input of {border} is {shown(entry.shape)}, which is not one row of numbers a picture")
    outputs: dict[str, tuple[Any, ...]] = {}
    for one, two in zip(many.before, fewer.before, strict=True):
        outputs[one.name] = (*outputs.get(one.name, ()), _compared(one.output, two.output))
    return Trace(
        border=border,
        shape=tuple(entry.shape[1:]),
        argument=argument,
        images=_compared(images, images[:-1]),
        outputs=outputs,
        around=many.around,
    )


def stand_in(value: Any, *, like: Tensor) -> Any:
    """A tensor of that `Shape` (or a structure of them) for as many pictures as ``like`` has, of one number's size."""

    def make(shape: Shape) -> Tensor:
        more = like.shape[0] - PICTURES
        sides = [side + more * growth for side, growth in zip(shape.sides, shape.growth, strict=True)]
        return torch.zeros((), dtype=like.dtype if shape.floating else shape.dtype, device=like.device).expand(sides)

    return _mapped(make, value)


def reached_parameters(module: nn.Module, inputs: Tensor) -> frozenset[str]:
    """Names of the parameters that ``module``'s output depends on (without a leading ``model.``).

    Found in the graph of one forward on aliases that need gradients, so the module's own are left as they are.
    """
    aliases = {name: p.detach().requires_grad_(p.is_floating_point()) for name, p in module.named_parameters()}
    owners = {id(alias): name for name, alias in aliases.items()}
    with torch.enable_grad():
        out = torch.func.functional_call(module, aliases, (inputs,))
    if not isinstance(out, Tensor):
        raise TypeError(f"it returns a {type(out).__name__}, not one tensor")
    found, seen, waiting = set(), set(), [out.grad_fn]
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        owner = owners.get(id(getattr(step, "variable", None)))
        if owner is not None:
            found.add(owner.removeprefix("model."))
        waiting += [following for following, _ in step.next_functions]
    return frozenset(found)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; each module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def noise(example: Tensor) -> Tensor:
    """Three pictures of noise of the example's size (zeros hide mistakes, one picture hides a lost row)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((PICTURES, *example.shape[1:]), generator=generator).to(example)


def shown(sides: Any) -> str:
    """A shape in words: ``40 x 14 x 14``."""
    return " x ".join(str(side) for side in sides) or "one number"


def _watch(model: nn.Module, border: str, images: Tensor) -> _Watched:
    """Run the model and note each module's call; ``before`` and ``around`` are those at the border's first call."""
    seen = _Watched()
    handles = []

    def enter(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name == border:
                if not seen.entries:
                    seen.before = [call for call in seen.finished if call.inside in seen.active]
                    seen.around = tuple(call.name for call in seen.active)
                seen.entries.append((args, kwargs))
            seen.active.append(_Call(name, seen.active[-1] if seen.active else None))

        return hook

    def leave(_: nn.Module, __: Any, output: Any) -> None:
        call = seen.active.pop()
        call.output = _mapped(lambda tensor: tensor.to("meta"), output)  # the shape without the memory
        seen.finished.append(call)

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name), with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    if len(seen.entries) != 1:
        found = f"used {len(seen.entries)} times in a forward" if seen.entries else "never called in a forward"
        raise ValueError(f"{border} is {found}; a border is a module that each picture passes once")
    return seen


def _argument(entry: tuple[tuple[Any, ...], dict[str, Any]], border: str) -> int | str:
    args, kwargs = entry
    given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    tensors: list[Tensor] = []
    for _, value in given:
        _mapped(tensors.append, value)
    places = [place for place, value in given if isinstance(value, Tensor)]
    if len(tensors) != 1 or len(places) != 1:
        raise ValueError(f"{border} takes {len(tensors)} tensors; choose a border where one tensor flows")
    return places[0]


def _value(entry: tuple[tuple[Any, ...], dict[str, Any]], argument: int | str) -> Tensor:
    value: Tensor = entry[1][argument] if isinstance(argument, str) else entry[0][argument]
    return value


def _compared(one: Any, two: Any) -> Any:
    """The same structure with a `Shape` for each tensor: ``one`` of all pictures, ``two`` of one less."""

    def compare(many: Tensor, fewer: Tensor) -> Shape:
        if many.ndim != fewer.ndim:
            raise ValueError("the number of sides depends on the number of pictures")
        return Shape(
            sides=tuple(many.shape),
            growth=tuple(a - b for a, b in zip(many.shape, fewer.shape, strict=True)),
            floating=many.is_floating_point(),
            dtype=many.dtype,
        )

    return _mapped(compare, one, two)


def _mapped(change: Callable[..., Any], value: Any, *others: Any) -> Any:
    """The structure of ``value`` with ``change`` made of each tensor or `Shape`; other leaves stay as they are."""
    if isinstance(value, Tensor | Shape):
        return change(value, *others)
    if isinstance(value, dict):
        return {key: _mapped(change, inner, *(other[key] for other in others)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inner = [_mapped(change, *pair) for pair in zip(value, *others, strict=True)]
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    return value
