"""``budwood models``: which backbones there are, and the blocks of one."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    name: Annotated[str | None, typer.Argument(help="A backbone, or a part of names to search for.")] = None,
) -> None:
    """List the packaged backbones, search timm's and torchvision's, or show the blocks of one."""
    from budwood.models.hub import PACKAGED

    if name is None:
        _packaged()
    elif name in PACKAGED or "*" not in name:
        _show_or_search(name)
    else:
        _search(name)


def _packaged() -> None:
    from rich.console import Console
    from rich.table import Table

    from budwood.models.hub import PACKAGED

    table = Table("name", "architecture", "input", "weights")
    for name, entry in PACKAGED.items():
        table.add_row(name, entry.architecture, f"{entry.size} px", "ImageNet, packaged: no network needed")
    console = Console()
    console.print(table)
    console.print("Any timm or torchvision name works too: budwood models 'resnet*' searches them.", highlight=False)


def _show_or_search(name: str) -> None:
    import timm

    from budwood.models.hub import PACKAGED

    if name in PACKAGED or timm.is_model(name):
        _blocks(name)
    else:
        _search(f"*{name}*")


def _search(pattern: str) -> None:
    import fnmatch

    import timm
    import torchvision

    from budwood.errors import BackboneError

    found = timm.list_models(pattern)
    known = torchvision.models.list_models(module=torchvision.models)
    found += [f"{name} (torchvision)" for name in fnmatch.filter(known, pattern)]
    if not found:
        raise BackboneError(f'no backbone matches "{pattern}"; try a shorter part of its name')
    for line in found:
        typer.echo(line)


def _blocks(name: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from budwood.models.backbones import load_backbone
    from budwood.models.blocks import blocks_of

    backbone = load_backbone(name, pretrained=False)
    blocks = blocks_of(backbone.module)
    table = Table("block", "name", "parameters", "trained by")
    for number, block in enumerate(blocks, start=1):
        trained = f"trains = {len(blocks) - number + 1} or more"
        table.add_row(str(number), Text(block.name), f"{block.num_parameters:,}", trained)
    console = Console()
    console.print(table)
    total = sum(block.num_parameters for block in blocks)
    console.print(f"{name}: {total:,} parameters, {backbone.num_features} features, {backbone.preprocess.size} px")
