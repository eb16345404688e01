"""The blocks of a backbone, from the input to the output: what "the last k blocks" and "90 of 296 layers" mean.

A block is what its makers repeat: a residual unit, a transformer layer; in chains of plain convolutions all up to a
pooling, since report A2 found that it is better to freeze until a pooling than between two convolutions. BatchNorm in
frozen blocks is `train.stages`' matter.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from budwood.errors import SettingsError

# The name of a layer in a row of layers: "3", "encoder_layer_3", "block1-3".
_NUMBERED = re.compile(r"(?:^|[_-])\d+$")
_SHARE = re.compile(r"(\d+)/(\d+)")
# Not counted as layers: what does nothing, or is the global pooling that Keras's ``include_top=False`` leaves out.
_NO_LAYERS = (nn.Identity, nn.Flatten, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Sequential)
_NO_LAYER_NAMES = ("FastAdaptiveAvgPool", "FastAdaptiveMaxPool")  # timm's


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive parameters that are frozen or trained together.

    module: the block's first module; the border before the block is this module's input. Empty where the parameters
    belong to no module of their own.
    """

    name: str
    parameters: tuple[str, ...]
    num_parameters: int
    module: str


def blocks_of(backbone: nn.Module) -> tuple[Block, ...]:
    """The blocks in the order of depth, each parameter in exactly one; none for a network without parameters.

    timm networks say themselves how their layers group; of others each leaf of the first two levels is a block.
    """
    held = _held_parameters(backbone)
    groups = _with_modules(backbone, [names for names in _grouped(backbone) if names], held)
    sizes = {name: p.numel() for name, p in backbone.named_parameters()}
    flat = {name for name, p in backbone.named_parameters() if p.ndim <= 1}
    while len(groups) > 1 and flat.issuperset(groups[-1]):
        # A last normalisation alone is no block: "the last block" should hold something to adapt.
        groups[-2:] = [groups[-2] + groups[-1]]
    return tuple(
        Block(
            name=_common_name(names),
            parameters=tuple(names),
            num_parameters=sum(sizes[n] for n in names),
            module=_first_module(backbone, names, held),
        )
        for names in groups
    )


def trained_from(backbone: nn.Module, trains: str | int) -> int:
    """The index of the first block that trains; all before it are frozen.

    Args:
        trains: ``"all"``, ``"head"`` (no block), a number k for the last k blocks, or the name of a block or of
            something that begins with it (``"layer4"``: the blocks ``layer4.0`` and all after it).

    Raises:
        SettingsError: no block has this name.
    """
    blocks = blocks_of(backbone)
    if trains == "all":
        return 0
    if trains == "head":
        return len(blocks)
    if isinstance(trains, int):
        return max(0, len(blocks) - trains)
    for number, block in enumerate(blocks):
        if trains in (block.name, block.module) or f"{block.module}.".startswith(f"{trains}."):
            return number
    names = ", ".join(block.module or block.name for block in blocks)
    raise SettingsError(
        f'trains takes "head", "all", a number of blocks or the name of one, found "{trains}"; the blocks are: {names}'
    )


def frozen_share(backbone: nn.Module, share: str) -> int:
    """The index of the first block that trains when about ``share`` of the layers, from the input on, are frozen.

    Args:
        share: such as ``"90/296"``: 90 of 296 layers as another library counts them. Layers here are modules without
            parts; the libraries count differently, so the border is the nearest in proportion, not the very same.

    Raises:
        SettingsError: ``share`` is no such fraction.
    """
    frozen, total = parse_share(share)
    counts = layers_before(backbone)
    return min(range(len(counts)), key=lambda number: abs(counts[number] / max(1, counts[-1]) - frozen / total))


def describe_share(backbone: nn.Module, share: str) -> str:
    """A sentence on what `frozen_share` chose: ``90 of 296 layers (30 %) -> blocks 1-12 of 37 frozen, ...``."""
    frozen, total = parse_share(share)
    blocks, counts, first = blocks_of(backbone), layers_before(backbone), frozen_share(backbone, share)
    asked = f"{frozen} of {total} layers ({frozen / total:.0%})"
    if first == 0:
        return f"{asked} -> no block frozen"
    upto = f"up to {blocks[first - 1].name}, {counts[first]} of {counts[-1]} layers here"
    return f"{asked} -> blocks 1-{first} of {len(blocks)} frozen, {upto} ({counts[first] / counts[-1]:.0%})"


def parse_share(share: str) -> tuple[int, int]:
    """``"90/296"`` -> ``(90, 296)``.

    Raises:
        SettingsError: it is no such fraction of at most 1.
    """
    found = _SHARE.fullmatch(share.replace(" ", ""))
    if not found or int(found[2]) == 0 or int(found[1]) > int(found[2]):
        raise SettingsError(f'frozen takes a share of the layers such as "90/296" (90 of 296), found "{share}"')
    return int(found[1]), int(found[2])


def layers_before(backbone: nn.Module) -> tuple[int, ...]:
    """How many layers (modules without parts that do something, in order) stand before each block; last, of all."""
    layers = [name for name, part in backbone.named_modules() if _is_layer(name, part)]
    while layers and isinstance(backbone.get_submodule(layers[-1]), nn.Dropout):
        layers.pop()  # it belongs to the classifier
    places = {name: number for number, name in enumerate(layers)}
    counts = []
    for block in blocks_of(backbone):
        inside = (places[name] for name in layers if f"{name}.".startswith(f"{block.module}."))
        counts.append(next(inside, 0) if block.module else 0)
    return (*counts, len(layers))


def frozen_parameters(backbone: nn.Module, *, trained_blocks: int | None) -> set[str]:
    """Names of the backbone's parameters that stay as they are when the last ``trained_blocks`` train (None: all)."""
    if trained_blocks is None:
        return set()
    first = trained_from(backbone, trained_blocks)
    return {name for block in blocks_of(backbone)[:first] for name in block.parameters}


def _is_layer(name: str, part: nn.Module) -> bool:
    if name.rpartition(".")[2].startswith("drop_path"):
        return True  # an Identity where the rate is 0, and the rate must not move a border
    if isinstance(part, _NO_LAYERS) or type(part).__name__ in _NO_LAYER_NAMES:
        return False
    return not list(part.children())


def _grouped(backbone: nn.Module) -> list[list[str]]:
    chain = _pooled_chain(backbone)
    if chain is not None:
        return _groups(backbone, lambda name: _pooled_key(backbone, chain, name))
    fine = _timm_groups(backbone, coarse=False)
    if fine and all(_is_chain(backbone, names) for names in fine):
        return fine
    return _timm_groups(backbone, coarse=True) or _groups(backbone, lambda name: _child_key(backbone, name))


def _timm_groups(backbone: Any, *, coarse: bool) -> list[list[str]]:
    if not hasattr(backbone, "group_matcher"):
        return []
    from timm.models import group_parameters

    grouped: dict[int, list[str]] = group_parameters(backbone, backbone.group_matcher(coarse=coarse), reverse=False)
    return [grouped[key] for key in sorted(grouped)]


def _with_modules(backbone: nn.Module, groups: list[list[str]], held: Mapping[str, set[str]]) -> list[list[str]]:
    """Parameters in no module of their own (a class token, positions) go to the group before, the first to the next."""
    merged: list[list[str]] = []
    for names in groups:
        if merged and not (_first_module(backbone, merged[0], held) and _first_module(backbone, names, held)):
            merged[-1] = merged[-1] + names
        else:
            merged.append(names)
    return merged


def _is_chain(backbone: nn.Module, names: Sequence[str]) -> bool:
    """Whether the parts of a group follow one another; in DenseNet's dictionaries of layers each sees all before it."""
    return not any(isinstance(backbone.get_submodule(path), nn.ModuleDict) for path in _ancestors(names[0]))


def _groups(backbone: nn.Module, key: Callable[[str], str]) -> list[list[str]]:
    names = [name for name, _ in backbone.named_parameters()]
    return [list(group) for _, group in itertools.groupby(names, key=key)]


def _child_key(backbone: nn.Module, name: str) -> str:
    """The numbered layer of a parameter (``layer1.0``, ``encoder.layers.encoder_layer_3``), else its first part."""
    parts = name.split(".")
    if len(parts) > 2 and parts[1].isdigit():
        return ".".join(parts[:2])
    for depth, part in enumerate(parts[:-1], start=1):
        if _NUMBERED.search(part):
            return ".".join(parts[:depth])
        if _branches(backbone.get_submodule(".".join(parts[:depth]))):
            break
    return parts[0]


def _branches(module: nn.Module) -> bool:
    """Whether several rows of layers stand side by side, as in GoogLeNet's modules: no place for a border."""
    rows = [part for part in module.children() if isinstance(part, nn.Sequential) and list(part.parameters())]
    return not isinstance(module, nn.Sequential) and len(rows) > 1


def _pooled_chain(backbone: nn.Module) -> nn.Sequential | None:
    """The plain chain of convolutions and poolings of a VGG."""
    chain = getattr(backbone, "features", None)
    if not isinstance(chain, nn.Sequential) or any(list(part.children()) for part in chain):
        return None
    return chain if sum(isinstance(part, nn.MaxPool2d) for part in chain) > 1 else None


def _pooled_key(backbone: nn.Module, chain: nn.Sequential, name: str) -> str:
    """Layers of the chain belong to the pooling that ends their block; others are blocks of their own."""
    first, number, *_ = name.split(".")
    if first != "features":
        return _child_key(backbone, name)
    return f"pooling {sum(isinstance(part, nn.MaxPool2d) for part in chain[: int(number)])}"


def _ancestors(name: str) -> Iterator[str]:
    """The paths of the modules that a parameter is in, the outermost first, without the network itself."""
    parts = name.split(".")[:-1]
    return (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _held_parameters(backbone: nn.Module) -> dict[str, set[str]]:
    """Path of a module -> names of all parameters in it; a shared one has the name that the network gives it first."""
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    held: dict[str, set[str]] = {}
    for name, parameter in backbone.named_parameters(remove_duplicate=False):
        for path in _ancestors(name):
            held.setdefault(path, set()).add(names[id(parameter)])
    return held


def _first_module(backbone: nn.Module, names: Sequence[str], held: Mapping[str, set[str]]) -> str:
    """The outermost module that holds the group's first parameters, and none of another group."""
    own = set(names)
    for name in names:
        for path in _ancestors(name):
            # Lists and dictionaries of layers are never called.
            if held[path] <= own and type(backbone.get_submodule(path)) not in (nn.ModuleList, nn.ModuleDict):
                return path
    return ""


def _common_name(names: list[str]) -> str:
    """For each top-level part the longest dotted prefix that its names share, joined: ``blocks.6 + conv_head``."""
    tops: dict[str, list[list[str]]] = {}
    for name in names:
        parts = name.split(".")[:-1] or [name]
        tops.setdefault(parts[0], []).append(parts)
    prefixes = []
    for top, split in tops.items():
        common = list(itertools.takewhile(lambda level: len(set(level)) == 1, zip(*split, strict=False)))
        prefix = ".".join(level[0] for level in common)
        if prefix == "features" and len(split) > 1:  # a run of VGG's numbered layers
            prefix = f"{top}.{split[0][1]}-{split[-1][1]}"
        prefixes.append(prefix)
    return " + ".join(prefixes[:3]) + (" + ..." if len(prefixes) > 3 else "")
