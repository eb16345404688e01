"""A frozen network made fast: BatchNorm folded, bfloat16 where asked for, carried out by torch or by OpenVINO.

What OpenVINO makes of a network is compared with torch on a few pictures before it is trusted.
"""

from __future__ import annotations

import copy
import functools
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.models.quicker import quicken
from budwood.train.openvino import CompiledNetwork, ConversionError, compile_network, is_installed

Backend = Literal["torch", "openvino"]

_COMPARED = 8  # pictures
# Length of the difference from float32 against the length of the features: a cosine of 0.999. bfloat16 is near it, so
# OpenVINO may also be half as far again from float32 as torch is in the same precision.
_LARGEST_DIFFERENCE = 0.045
_AGAINST_TORCH = 1.5


class NotEqualError(Exception):
    """OpenVINO cannot carry out a network as torch does; the text says why."""


class FrozenNetwork(Protocol):
    """Pictures ``[B, S, S, 3]`` uint8 -> features ``[B, D]`` float32."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...


def default_backend() -> Backend:
    """What carries out frozen networks unless said otherwise: OpenVINO where it is installed and the CPU computes."""
    return "openvino" if is_installed() and not torch.cuda.is_available() else "torch"


def open_network(
    module: nn.Module, *, preprocess: Preprocess, bf16: bool, backend: Backend, pictures: NDArray[np.uint8]
) -> FrozenNetwork:
    """``module`` made ready; ``pictures`` ``[N, S, S, 3]`` are what the backend is tried on.

    Raises:
        NotEqualError: OpenVINO cannot carry it out, or answers otherwise than torch.
    """
    if backend == "torch":
        return _TorchNetwork(module, preprocess=preprocess, bf16=bf16)
    found = _opened(module, preprocess, bf16, torch.get_num_threads())
    if isinstance(found, str):
        raise NotEqualError(found)
    found.refuse_unequal(pictures[:_COMPARED])
    return found


@functools.lru_cache(maxsize=1)
def _opened(module: nn.Module, preprocess: Preprocess, bf16: bool, threads: int) -> _OpenVinoNetwork | str:
    """The network, or why there is none; kept, since a run asks for it many times and compiling takes seconds."""
    folded = _folded(module, preprocess)
    try:
        compiled = compile_network(folded, size=preprocess.size, bf16=bf16, threads=threads)
    except ConversionError as error:
        return str(error)
    return _OpenVinoNetwork(compiled, folded, preprocess=preprocess, bf16=bf16)


class _TorchNetwork:
    """Channels last, on the GPU where there is one."""

    def __init__(self, module: nn.Module, *, preprocess: Preprocess, bf16: bool) -> None:
        self.preprocess = preprocess
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        network = _folded(module, preprocess).to(self.device).to(memory_format=torch.channels_last)
        self.network = network.to(self.dtype)
        if bf16 and self.device == "cpu":
            quicken(self.network)

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = self.preprocess.normalise(torch.from_numpy(pixels).to(self.device)).to(self.dtype)
        found: NDArray[np.float32] = self.network(images).float().cpu().numpy()
        return found


class _OpenVinoNetwork:
    """Compiled by OpenVINO; ``folded`` is what it must agree with."""

    def __init__(self, compiled: CompiledNetwork, folded: nn.Module, *, preprocess: Preprocess, bf16: bool) -> None:
        self.compiled, self.folded, self.preprocess, self.bf16 = compiled, folded, preprocess, bf16
        self.is_trusted = False

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.compiled(self.preprocess.normalise(torch.from_numpy(pixels)))

    def refuse_unequal(self, pixels: NDArray[np.uint8]) -> None:
        """Compare with torch, once.

        Raises:
            NotEqualError: the features are not those of torch.
        """
        if self.is_trusted:
            return
        pixels = np.ascontiguousarray(pixels)
        with torch.inference_mode():
            images = self.preprocess.normalise(torch.from_numpy(pixels))
            wanted = self.folded(images).numpy()
            allowed = _LARGEST_DIFFERENCE
            if self.bf16:
                low = copy.deepcopy(self.folded).to(torch.bfloat16)(images.to(torch.bfloat16)).float().numpy()
                allowed = max(allowed, _AGAINST_TORCH * _difference(low, wanted))
        difference = _difference(self(pixels), wanted)
        if not difference <= allowed:  # NaN is refused too
            raise NotEqualError(f"its features differ from torch's by {difference:.1%}, more than {allowed:.1%}")
        self.is_trusted = True


def _difference(features: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest of all pictures, against the length of the features."""
    lengths = np.maximum(np.linalg.norm(wanted, axis=1), 1e-12)
    return float((np.linalg.norm(features - wanted, axis=1) / lengths).max())


def _folded(module: nn.Module, preprocess: Preprocess) -> nn.Module:
    from budwood.models.fold import fold_batch_norm

    return fold_batch_norm(module, torch.zeros(2, 3, preprocess.size, preprocess.size))
