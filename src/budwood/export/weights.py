"""A network's weights as safetensors, and back into a network of the described form. No pickle, no network access."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from budwood.errors import BackboneError, IntegrityError
from budwood.files import write_bytes
from budwood.models.build import Classifier, ModelSpec, build_empty, classifier_state


def write_weights(path: Path, model: Classifier) -> None:
    """Write the weights as float32, atomically."""
    write_bytes(path, save(classifier_state(model)))


def read_weights(path: Path, spec: ModelSpec, *, num_classes: int, size: int) -> Classifier:
    """The network that ``spec`` describes, with the weights of a file.

    It is built without memory for its weights first and compared with the file, so that a description of a vast
    network costs nothing.

    Raises:
        IntegrityError: the file is damaged, or does not fit the description. BackboneError: the architecture is not
            known here.
    """
    try:
        state = load(path.read_bytes())
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} cannot be read as weights ({error})") from error
    try:
        with torch.device("meta"):
            outline = build_empty(spec, num_classes=num_classes, size=size)
        _refuse_misfit(outline.state_dict(), state)
        outline.load_state_dict(state, assign=True)
        if not _is_complete(outline):
            outline = build_empty(spec, num_classes=num_classes, size=size)
            outline.load_state_dict(state)
    except (BackboneError, IntegrityError):
        raise
    except NotImplementedError:  # a few networks compute their own shapes with tensors, which needs values
        outline = build_empty(spec, num_classes=num_classes, size=size)
        _refuse_misfit(outline.state_dict(), state)
        outline.load_state_dict(state)
    except Exception as error:  # a description may be anything, and so may be what building by it raises
        raise IntegrityError(f"the network described beside {path} cannot be built ({error})") from error
    return outline.eval()


def _refuse_misfit(expected: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    different = sorted(expected.keys() ^ state.keys())
    different += [
        f"{name} is {state[name].dtype} {tuple(state[name].shape)}, not {own.dtype} {tuple(own.shape)}"
        for name, own in expected.items()
        if name in state and (state[name].shape, state[name].dtype) != (own.shape, own.dtype)
    ]
    if different:
        raise IntegrityError(f"the weights do not fit their own description: {'; '.join(different[:3])}")
    broken = [n for n, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if broken:
        raise IntegrityError(f"the weights {broken[0]} are infinite or not a number; they were changed")


def _is_complete(model: nn.Module) -> bool:
    """Whether every tensor has values: some networks hold tensors that are no part of their state."""
    held = (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers(), *held))
