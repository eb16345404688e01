"""Tables of a network: a row a layer, and a row a block with what it costs to train from there on.

Numbers only; `cli.models` prints them. They are measured by `meter`, for one picture in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from budwood.models.blocks import blocks_of, layers_before
from budwood.models.meter import Visit, measure

_FLOAT32, _FLOAT16 = 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer, as `summarise` lists it.

    name: its path, empty for the network itself. kind: its class. shape: of its output for one picture. parameters: its
    own. receptive_field: the side in pixels of what one place of the output sees; None: not defined (`meter.measure`).
    activation_bytes: of its output in float32, 0 where it works in place. macs: multiply-accumulates, half the FLOPs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    receptive_field: int | None
    activation_bytes: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """One block, as `block_table` lists it.

    number: from 1. layers: how many layers of the network end with this block, from the input on. border_bytes: of the
    activation that enters the block, one picture in float16, as a cache at this border keeps it. share: of the
    network's multiply-accumulates up to the end of this block, 0-1.
    """

    number: int
    name: str
    layers: int
    parameters: int
    macs: int
    border_bytes: int
    share: float


def summarise(module: nn.Module, *, size: int) -> tuple[LayerRow, ...]:
    """A row for every layer that a picture of ``size`` pixels passes, in that order.

    A module with parts has a row only where it holds parameters of its own or computes by itself. The rows' parameters
    sum up to those of the network: what no row would show (weights that are used without calling their module, such as
    those of PyTorch's attention) stands with the module around it.
    """
    visits = {visit.name: visit for visit in measure(module, size=size)}
    own = _own_parameters(module, visits)
    return tuple(
        LayerRow(
            name=name,
            kind=visit.kind,
            shape=visit.shape,
            parameters=own[name],
            receptive_field=visit.field,
            activation_bytes=visit.activation_bytes,
            macs=visit.macs,
        )
        for name, visit in visits.items()
        if own[name] or visit.macs or not list(module.get_submodule(name).children())
    )


def block_table(backbone: nn.Module, size: int) -> tuple[BlockRow, ...]:
    """A row for every block of ``backbone`` (see `blocks`), measured with a picture of ``size`` pixels."""
    blocks, visits = blocks_of(backbone), measure(backbone, size=size)
    ends = layers_before(backbone)[1:]
    starts = {block.module: number for number, block in enumerate(blocks)}
    macs = [0] * len(blocks)
    entered: list[tuple[int, ...]] = [(3, size, size)] * len(blocks)
    at = 0
    for visit in visits:
        if visit.name in starts and starts[visit.name] > at:
            at = starts[visit.name]
            entered[at] = visit.entered
        if blocks:
            macs[at] += visit.macs
    total = max(1, sum(macs))
    return tuple(
        BlockRow(
            number=number,
            name=block.name,
            layers=ends[number - 1],
            parameters=block.num_parameters,
            macs=macs[number - 1],
            border_bytes=math.prod(entered[number - 1]) * _FLOAT16,
            share=sum(macs[:number]) / total,
        )
        for number, block in enumerate(blocks, start=1)
    )


def total_bytes(parameters: int) -> int:
    """What so many parameters take in float32."""
    return parameters * _FLOAT32


def _own_parameters(module: nn.Module, visits: dict[str, Visit]) -> dict[str, int]:
    """Parameters of each visited module itself, and of the unvisited modules in it."""
    own = dict.fromkeys(visits, 0)
    for name, parameter in module.named_parameters():
        path = name.rpartition(".")[0]
        while path and path not in visits:
            path = path.rpartition(".")[0]
        own[path] += parameter.numel()
    return own
