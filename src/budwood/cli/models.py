"""``budwood models``: which backbones there are, and the blocks or layers of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from budwood.models.backbones import Backbone

# A table of layers is wider than a terminal of 80 columns; cut lines would hide what was asked for.
_WIDTH = 120


def run(
    name: Annotated[str | None, typer.Argument(help="A backbone, or a part of names to search for.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer instead of the blocks.")] = False,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=1024, help="Side of the pictures in pixels.", show_default="the network's own"),
    ] = None,
) -> None:
    """List the packaged backbones and the nets from scratch, search all others, or show the blocks of one."""
    if name is None:
        if layers or size:
            from budwood.errors import UsageError

            raise UsageError("--layers and --size need the name of a backbone: budwood models NAME --layers")
        _list()
    elif "*" in name:
        _search(name)
    else:
        _show_or_search(name, layers=layers, size=size)


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from budwood.models.hub import PACKAGED
    from budwood.models.nets import SCRATCH

    packaged = Table("name", "architecture", "input", "weights")
    for name, entry in PACKAGED.items():
        packaged.add_row(name, entry.architecture, f"{entry.size} px", "ImageNet, packaged: no network needed")
    scratch = Table("from scratch", "what it is", "input")
    for name, net in SCRATCH.items():
        scratch.add_row(name, net.words, f"{net.size} px")
    console = Console()
    console.print(packaged)
    console.print(scratch)
    console.print("Any timm or torchvision name works too: budwood models 'resnet*' searches them.", highlight=False)


def _show_or_search(name: str, *, layers: bool, size: int | None) -> None:
    from budwood.errors import BackboneError
    from budwood.models.backbones import check_name, outline_backbone

    try:
        check_name(name)
    except BackboneError:
        if layers or size:
            raise
        return _search(f"*{name}*")
    backbone = outline_backbone(name, size=size)
    side = backbone.fixed_size or size or backbone.preprocess.size
    table = _layers(backbone, side) if layers else _blocks(backbone, side)
    return _print(backbone, table, side)


def _search(pattern: str) -> None:
    import fnmatch

    import timm
    import torchvision

    from budwood.errors import BackboneError
    from budwood.models.hub import PACKAGED
    from budwood.models.nets import SCRATCH

    found = [f"{name} (packaged)" for name in fnmatch.filter(PACKAGED, pattern)]
    found += [f"{name} (from scratch)" for name in fnmatch.filter(SCRATCH, pattern)]
    found += timm.list_models(pattern)
    known = torchvision.models.list_models(module=torchvision.models)
    found += [f"{name} (torchvision)" for name in fnmatch.filter(known, pattern)]
    if not found:
        raise BackboneError(f'no backbone matches "{pattern}"; try a shorter part of its name')
    for line in found:
        typer.echo(line)


def _blocks(backbone: Backbone, size: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from budwood.models.summary import block_table

    rows = block_table(backbone.module, size)
    table = Table("block", "name", title=f"blocks of {backbone.name}", title_justify="left")
    for head in ("layers", "parameters", "MACs", "share", "border", "trained by"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row.number),
            Text(row.name, overflow="fold"),
            f"{row.layers}",
            f"{row.parameters:,}",
            _count(row.macs),
            f"{row.share:.0%}",
            _bytes(row.border_bytes),
            f"trains = {len(rows) - row.number + 1} or more",
        )
    return table


def _layers(backbone: Backbone, size: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from budwood.models.summary import summarise

    table = Table("layer", "kind", title=f"layers of {backbone.name}", title_justify="left")
    for head in ("output", "parameters", "field", "memory", "MACs"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in summarise(backbone.module, size=size):
        table.add_row(
            Text(row.name or "(network)", overflow="fold"),
            row.kind,
            " x ".join(map(str, row.shape)),
            f"{row.parameters:,}",
            "-" if row.receptive_field is None else f"{row.receptive_field} px",
            _bytes(row.activation_bytes),
            _count(row.macs),
        )
    return table


def _print(backbone: Backbone, table: Table, size: int) -> None:
    from rich.console import Console

    from budwood.models.build import num_parameters
    from budwood.models.summary import summarise, total_bytes

    total = num_parameters(backbone.module)
    rows = summarise(backbone.module, size=size)
    activations, macs = sum(row.activation_bytes for row in rows), sum(row.macs for row in rows)
    width = Console().width
    console = Console(width=max(width, _WIDTH))
    console.print(table)
    console.print(
        f"{backbone.name} at {size} px without the last linear layer: {total:,} parameters "
        f"({_bytes(total_bytes(total))}), {_count(macs)} MACs, {_bytes(activations)} of activations a picture, "
        f"{backbone.num_features} features",
        soft_wrap=True,
        highlight=False,
    )
    if not total:
        console.print("It has nothing to train but the last layer.", highlight=False)
    if backbone.fixed_size is not None:
        console.print(f"It is built for {size} px and takes no other size.", highlight=False)


def _count(number: int) -> str:
    """``4.09 G``."""
    for unit, step in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= step:
            return f"{number / step:.3g} {unit}"
    return str(number)


def _bytes(number: int) -> str:
    """``89.68 MB`` of 1024 * 1024 bytes, as Keras and torchsummary count."""
    if number >= 1 << 20:
        return f"{number / (1 << 20):,.2f} MB"
    return f"{number / (1 << 10):,.1f} KB"
