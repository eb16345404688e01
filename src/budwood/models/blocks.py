"""The blocks of a backbone, from the input to the output: what "the last k blocks" means."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from torch import nn

# The name of a layer in a row of layers: "3", "encoder_layer_3", "block1-3".
_NUMBERED = re.compile(r"(?:^|[_-])\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive parameters that are frozen or trained together."""

    name: str
    parameters: tuple[str, ...]
    num_parameters: int


def blocks_of(backbone: nn.Module) -> tuple[Block, ...]:
    """The blocks in the order of depth, each parameter in exactly one.

    timm networks say themselves how their layers group; of others each leaf of the first two levels is a block.
    """
    groups = [names for names in _timm_groups(backbone) or _child_groups(backbone) if names]
    sizes = {name: p.numel() for name, p in backbone.named_parameters()}
    flat = {name for name, p in backbone.named_parameters() if p.ndim <= 1}
    while len(groups) > 1 and flat.issuperset(groups[-1]):
        # A last normalisation alone is no block: "the last block" should hold something to adapt.
        groups[-2:] = [groups[-2] + groups[-1]]
    return tuple(
        Block(name=_common_name(names), parameters=tuple(names), num_parameters=sum(sizes[n] for n in names))
        for names in groups
    )


def _timm_groups(backbone: Any) -> list[list[str]]:
    if not hasattr(backbone, "group_matcher"):
        return []
    from timm.models import group_parameters

    grouped: dict[int, list[str]] = group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=False)
    return [grouped[key] for key in sorted(grouped)]


def _child_groups(backbone: nn.Module) -> list[list[str]]:
    names = [name for name, _ in backbone.named_parameters()]
    return [list(group) for _, group in itertools.groupby(names, key=_child_key)]


def _child_key(name: str) -> str:
    """The numbered layer of a parameter (``layer1.0``, ``encoder.layers.encoder_layer_3``), else its first part."""
    parts = name.split(".")
    if len(parts) > 2 and parts[1].isdigit():
        return ".".join(parts[:2])
    for depth, part in enumerate(parts[:-1], start=1):
        if _NUMBERED.search(part):
            return ".".join(parts[:depth])
    return parts[0]


def _common_name(names: list[str]) -> str:
    """For each top-level part the longest dotted prefix that its names share, joined: ``blocks.6 + conv_head``."""
    tops: dict[str, list[list[str]]] = {}
    for name in names:
        parts = name.split(".")[:-1] or [name]
        tops.setdefault(parts[0], []).append(parts)
    prefixes = []
    for split in tops.values():
        common = list(itertools.takewhile(lambda level: len(set(level)) == 1, zip(*split, strict=False)))
        prefixes.append(".".join(level[0] for level in common))
    return " + ".join(prefixes[:3]) + (" + ..." if len(prefixes) > 3 else "")


def frozen_parameters(backbone: nn.Module, *, trained_blocks: int | None) -> set[str]:
    """Names of the backbone's parameters that stay as they are when the last ``trained_blocks`` train (None: all)."""
    if trained_blocks is None:
        return set()
    blocks = blocks_of(backbone)
    kept = blocks[: max(0, len(blocks) - trained_blocks)]
    return {name for block in kept for name in block.parameters}
