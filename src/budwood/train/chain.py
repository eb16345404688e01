"""Activations at one border after the other, each computed from those before: what a sweep over freeze depths shares.

From the input to the output each border costs the way from the last one only, so all depths together cost one pass
through the deepest frozen start. What is trained at each border is the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from budwood.events import Listener, silent
from budwood.models.cut import Cut
from budwood.train.boundary import Activations, Keeping, Pictures, Shallower, cache_activations


def chain(
    cuts: Sequence[Cut],
    pictures: Pictures,
    keeping: Keeping,
    *,
    done: Collection[str] = (),
    keep: bool = False,
    listen: Listener = silent,
) -> Iterator[tuple[Cut, Activations]]:
    """Yield each cut with its activations, from the input to the output.

    The first border's activations are computed from the pictures. A set is deleted once the next one is made, so at
    most two lie on the disk.

    Args:
        cuts: checked cuts of one network, in the order in which a picture meets them.
        done: borders that the caller needs no more (from an earlier, stopped sweep); not yielded, and computed only
            where a later one needs them. The cuts must be the same ones, or the kept activations are not found.
        keep: leave all sets on the disk.
        listen: hears of one step a border.

    Raises:
        OutputError: a set would take more than the budget, or the disk is full.
        CutError: a border's activations cannot be kept, or the borders are not in order.
    """

    def obtain(number: int) -> Activations:
        shallower = Shallower(cuts=tuple(cuts[:number]), obtain=lambda: obtain(number - 1)) if number else None
        step = f"activations at {cuts[number].border}"
        return cache_activations(cuts[number], pictures, keeping, shallower=shallower, listen=listen, step=step)

    earlier: list[Activations] = []
    for number, parts in enumerate(cuts):
        if parts.border in done:
            continue
        activations = obtain(number)
        while earlier and not keep:
            earlier.pop().drop()
        yield parts, activations
        earlier.append(activations)
