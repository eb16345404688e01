"""The blocks of a backbone, from the input to the output: what "the last k blocks" means."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from torch import nn


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
    groups = _timm_groups(backbone) or _child_groups(backbone)
    sizes = {name: p.numel() for name, p in backbone.named_parameters()}
    return tuple(
        Block(name=_common_name(names), parameters=tuple(names), num_parameters=sum(sizes[n] for n in names))
        for names in groups
        if names
    )


def _timm_groups(backbone: Any) -> list[list[str]]:
    if not hasattr(backbone, "group_matcher"):
        return []
    from timm.models import group_parameters

    grouped: dict[int, list[str]] = group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=False)
    return [grouped[key] for key in sorted(grouped)]


def _child_groups(backbone: nn.Module) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        parts = name.split(".")
        key = ".".join(parts[:2]) if len(parts) > 2 and parts[1].isdigit() else parts[0]
        groups.setdefault(key, []).append(name)
    return list(groups.values())


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
