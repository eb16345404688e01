"""Activations at one border after the other, each computed from those before: what a sweep over freeze depths shares.

From the input to the output each border costs the way from the last one only, so all depths together cost one pass
through the deepest frozen start. What is trained at each border is the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from budwood.data.rounds import Round
from budwood.events import Listener, silent
from budwood.models.cut import Cut
from budwood.train.boundary import (
    Activations,
    Keeping,
    Pictures,
    Shallower,
    cache_activations,
    frozen_digest,
    needed_bytes,
)
from budwood.train.worth import Work

_WORTH = 1.1  # as for a single stage: a smaller gain is lost in reading, writing and a forecast's error


class Chain:
    """The activations of some pictures at the borders of a network, of which at most two sets lie on the disk.

    Networks with other weights before a border have sets of their own.
    """

    def __init__(self, pictures: Pictures, keeping: Keeping, *, keep: bool = False, listen: Listener = silent) -> None:
        """Compute nothing yet.

        Args:
            keep: leave all sets on the disk. listen: hears of one step a border.
        """
        self.pictures, self.keeping, self.keep, self.listen = pictures, keeping, keep, listen
        self._open: dict[tuple[str, ...], Activations] = {}

    def at(self, cuts: Sequence[Cut]) -> Activations:
        """The activations at the last of ``cuts``, computed from those at the one before, which are deleted then.

        Args:
            cuts: checked cuts of one network as it is now: all borders that are passed on the way, from the input on.

        Raises:
            OutputError: a set would take more than the budget, or the disk is full.
            CutError: a border's activations cannot be kept, or the borders are not in order.
        """
        *before, parts = cuts
        known = self._open.get(_place(parts))
        if known is not None:
            return known
        found = cache_activations(
            parts,
            self.pictures,
            self.keeping,
            shallower=Shallower(cuts=tuple(before), obtain=lambda: self.at(before)) if before else None,
            listen=self.listen,
            step=f"activations at {parts.border}",
        )
        self._open[_place(parts)] = found
        if before and not self.keep:
            passed = self._open.pop(_place(before[-1]), None)
            if passed is not None:
                passed.drop()
        return found


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
    links = Chain(pictures, keeping, keep=keep, listen=listen)
    for number, parts in enumerate(cuts):
        if parts.border not in done:
            yield parts, links.at(cuts[: number + 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of a chain, in numbers.

    drawn: pictures of which ``views`` are kept; plain: further ones of which one view is. seen, judged: pictures that
    all trainings at one depth together train on, and measure, in one epoch. trainings: their number. budget: bytes for
    the two sets that lie on the disk. always: keep whatever fits.
    """

    drawn: int
    plain: int
    views: int
    epochs: int
    trainings: int
    seen: int
    judged: int
    budget: int
    always: bool = False

    @classmethod
    def of(
        cls, rounds: Sequence[Round], *, views: int, epochs: int, repeats: int, budget: int, always: bool = False
    ) -> Demand:
        """What trainings on ``rounds`` ask for, each round taken ``repeats`` times from equal weights."""
        drawn, rest = rows_of(rounds)
        return cls(
            drawn=len(drawn),
            plain=len(rest),
            views=views,
            epochs=epochs,
            trainings=repeats * len(rounds),
            seen=repeats * sum(len(each.train) for each in rounds),
            judged=repeats * sum(len(each.judged) for each in rounds),
            budget=budget,
            always=always,
        )

    def bytes_at(self, shape: Sequence[int]) -> int:
        """What one border's activations take on the disk."""
        each = needed_bytes(shape, pictures=1, views=1)
        return each * (self.drawn * self.views + self.plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What was decided for one border: whether its activations are kept, why, and the forecast gain of its depth."""

    border: str
    use: bool
    reason: str
    predicted_ratio: float = 1.0
    bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def rows_of(rounds: Sequence[Round]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows that some round trains on, and those that are only judged by."""
    drawn = {row for each in rounds for row in each.train}
    return tuple(sorted(drawn)), tuple(sorted({row for each in rounds for row in each.judged} - drawn))


def plan_chain(cuts: Sequence[Cut], works: Sequence[Work], *, demand: Demand) -> tuple[Link, ...]:
    """Decide for each border, from the input to the output, whether keeping its activations pays.

    A border that is left out costs the next one the whole way from the last one that is kept.

    Args:
        works: the work on both sides of each cut (`count_work`), so that every process decides alike.
    """
    links: list[Link] = []
    last, before, held = "", 0.0, 0
    for parts, work in zip(cuts, works, strict=True):
        size, ratio = demand.bytes_at(parts.shape), _ratio(work, demand, way=work.prefix - before)
        facts = _facts(parts, work, demand, last=last)
        use = held + size <= demand.budget and (ratio >= _WORTH or demand.always)
        if held + size > demand.budget:
            beside = f" beside {held / 1e9:.2f} GB of {last}" if last else ""
            reason = f"not kept: {facts}{beside}; {demand.budget / 1e9:.2f} GB may be taken"
        else:
            verdict = f"{ratio:.2f} times as fast by forecast"
            reason = f"kept: {facts}, {verdict}" if use else f"not kept: {facts}, {verdict}, which is not worth it"
        links.append(Link(border=parts.border, use=use, reason=reason, predicted_ratio=ratio, bytes=size))
        if use:
            last, before, held = parts.border.removeprefix("backbone."), work.prefix, size
    return tuple(links)


def _facts(parts: Cut, work: Work, demand: Demand, *, last: str) -> str:
    each, size = needed_bytes(parts.shape, pictures=1, views=1), demand.bytes_at(parts.shape)
    shared = f"{counted(demand.trainings, 'training')} of {counted(demand.epochs, 'epoch')}"
    return (
        f"{counted(demand.views, 'view')} of {each / 1024:.0f} KiB x {demand.drawn} = {size / 1e9:.2f} GB, made once"
        f"{f' from those at {last}' if last else ''} for {shared}; {100 * work.prefix_share:.0f} % of a step is frozen"
    )


def counted(number: int, noun: str) -> str:
    """``1 view``, ``2 views``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _ratio(work: Work, demand: Demand, *, way: float) -> float:
    """All trainings at one depth without kept activations, against those with them and the making of them."""
    after = demand.epochs * (demand.seen * work.tail_training + demand.judged * work.tail_forward)
    without = after + demand.epochs * (demand.seen + demand.judged) * work.prefix
    once = (demand.drawn * demand.views + demand.plain) * way
    return without / (after + once) if after + once else 1.0


def _place(parts: Cut) -> tuple[str, ...]:
    return parts.border, frozen_digest(parts)
