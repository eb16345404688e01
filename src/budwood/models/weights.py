"""Weights files and what is found in them: reading, loading without a gap, and the digest of a network."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.errors import BackboneError

RANDOM = "random weights"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network as its source gave it, without classifier; ``fixed_size`` as in `backbones.Backbone`."""

    module: nn.Module
    preprocess: Preprocess
    source: str
    digest: str
    fixed_size: int | None = None


def load_file(module: nn.Module, file: Path, *, classifier: tuple[str, ...]) -> None:
    """Load the network's tensors from ``file``, which may hold more (a classifier), but none missing or misshapen.

    Args:
        classifier: how the names of those tensors begin that are left out.

    Raises:
        BackboneError: the file cannot be read, or does not fit.
    """
    state, own = _read(file), module.state_dict()
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise BackboneError(
            f"{file} does not fit the network: {len(wrong)} of {len(own)} tensors are missing or of another shape "
            f"({', '.join(wrong[:3])}, ...); give weights of this very architecture"
        )
    extra = [key for key in state if key not in own and not key.startswith(classifier)]
    if extra:
        raise BackboneError(
            f"{file} does not fit the network: it holds {len(extra)} tensors that the network lacks "
            f"({', '.join(extra[:3])}, ...); give weights of this very architecture"
        )
    module.load_state_dict({key: state[key] for key in own}, strict=True)


def _read(file: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file as load_safetensors

    try:
        if file.suffix == ".safetensors":
            return dict(load_safetensors(str(file)))
        state = torch.load(file, map_location="cpu", weights_only=True)
        return dict(state.get("state_dict", state))
    except Exception as error:  # a wrong file fails in many ways inside the readers
        raise BackboneError(f"{file} cannot be read as weights ({type(error).__name__}: {error})") from error


def state_digest(module: nn.Module) -> str:
    """The sha256 over all tensors, in order: equal exactly when the weights are (on the meta device: the shapes)."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(str(value.shape).encode() if value.is_meta else value.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def cannot_build(name: str, error: Exception) -> BackboneError:
    """One message for the many kinds of error that the libraries raise."""
    text = str(error).strip().splitlines()
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    reason = text[0] if text else "no reason given"
    return BackboneError(f"the backbone {name} cannot be built{offline}: {type(error).__name__}: {reason}")
