"""`Pool`: all pictures that a sweep over freeze depths trains on or is judged by, at every border, for all trainings.

Every depth, fold and seed sees the same versions of a picture, so that depths differ by what is frozen alone; at the
borders where it pays, what the frozen start makes of them is kept. It trains nothing, and knows no recipe.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from budwood.data.loader import PixelSet
from budwood.errors import IntegrityError, OutputError
from budwood.events import Listener, Warned, silent
from budwood.files import read_json, sha256_bytes, to_json, write_json
from budwood.models.blocks import Block, blocks_of
from budwood.models.build import Classifier
from budwood.models.cut import Cut, CutError, checked_cut
from budwood.train.boundary import Activations, Keeping, Pictures
from budwood.train.chain import Chain, Demand, Link, plan_chain
from budwood.train.feed import ActivationFeed, Feed, Kept
from budwood.train.freezing import first_trained_block
from budwood.train.pool_views import ChosenRows, PixelVersions
from budwood.train.stages import Stage
from budwood.train.worth import count_work


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPart:
    """Some pictures of a pool, by their rows in the catalog, with equally many versions of each."""

    rows: NDArray[np.int64]
    pictures: Pictures

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where ``rows`` stand in this part; None where one of them does not."""
        order = np.argsort(self.rows)
        at = np.searchsorted(self.rows, rows, sorter=order).clip(max=len(self.rows) - 1)
        found = order[at]
        return found if bool((self.rows[found] == rows).all()) else None


@dataclass(frozen=True, slots=True)
class Shared:
    """What one training takes: the network that trains, its inputs, and what was decided for its border."""

    network: nn.Module
    train: Feed
    val: Feed | None
    link: Link
    seconds: float = 0.0


class Pool:
    """The pictures of a sweep at the borders of its depths; see the module."""

    def __init__(
        self,
        parts: Sequence[PoolPart],
        *,
        stages: Sequence[Stage],
        demand: Demand,
        keeping: Keeping,
        decisions: Path,
        listen: Listener = silent,
    ) -> None:
        """Compute nothing yet.

        Args:
            parts: pictures that some training trains on, then those that are only judged by, if there are any.
            stages: the stage that is trained, once for each depth, in any order.
            keeping: in a folder of its own, which `close` removes.
            decisions: JSON file of what was decided for each border; what stands there holds.
        """
        self.parts, self.stages, self.demand, self.keeping = tuple(parts), tuple(stages), demand, keeping
        self.decisions, self.listen = decisions, listen
        self._chains = tuple(Chain(part.pictures, keeping, listen=listen) for part in self.parts)
        self._links: dict[str, Link] | None = None
        self._cuts: dict[tuple[object, ...], Cut] = {}

    @property
    def num_views(self) -> int:
        """Versions of each picture that is trained on."""
        return self.demand.views

    @property
    def key(self) -> str:
        """What the kept activations and the decisions depend on, but the weights."""
        facts = {
            "views": [part.pictures.views_key for part in self.parts],
            "pictures": [list(part.pictures.digests) for part in self.parts],
            "preprocess": self.keeping.preprocess.to_dict(),
            "bf16": self.keeping.bf16,
            "depths": [[stage.trains, stage.frozen] for stage in self.stages],
            "demand": [self.demand.views, self.demand.epochs, self.demand.trainings, self.demand.always],
        }
        return sha256_bytes(to_json(facts).encode())[:24]

    def share(self, model: Classifier, stage: Stage, train: PixelSet, val: PixelSet | None) -> Shared:
        """What ``model`` trains on in ``stage``: kept activations at its border, or the same versions from pixels.

        Args:
            model: its backbone as it came. train, val: rows of the pool.
        """
        link = self.link(model, stage)
        if link.use:
            try:
                return self._kept(model, link, train, val)
            except (CutError, OutputError) as error:
                link = replace(link, use=False, reason=f"not kept: {error}")
                self.listen(Warned(text=f"activations at {link.border} cannot be kept: {error}"))
        versions = [PixelVersions(part.pictures) for part in self.parts]
        judged = self._feed(versions, val) if val is not None else None
        return Shared(model, self._feed(versions, train), judged, link)

    def link(self, model: Classifier, stage: Stage) -> Link:
        """What was decided for the border of ``stage``; decides for all borders where that was not done yet."""
        border = border_of(model, stage)
        if not border:
            return Link(border="", use=False, reason="nothing is frozen")
        if self._links is None:
            self._links = self._decided(model)
        return self._links[border]

    def close(self) -> None:
        """Delete all that is kept."""
        shutil.rmtree(self.keeping.folder, ignore_errors=True)

    def _kept(self, model: Classifier, link: Link, train: PixelSet, val: PixelSet | None) -> Shared:
        borders = [each.border for each in (self._links or {}).values() if each.use]
        passed = [self._cut(model, border) for border in borders[: 1 + borders.index(link.border)]]
        sets: list[Activations] = [links.at(passed) for links in self._chains]
        with contextlib.suppress(FileNotFoundError):  # removed to make room: what is mapped can still be read
            os.utime(self.keeping.folder)  # the cache drops the least recently used
        judged = self._feed(sets, val) if val is not None else None
        seconds = sum(kept.seconds for kept in sets)
        return Shared(passed[-1].tail, self._feed(sets, train), judged, link, seconds)

    def _feed(self, kept: Sequence[Kept], part: PixelSet) -> Feed:
        for each, values in zip(self.parts, kept, strict=True):
            places = each.places(part.rows)
            if places is not None:
                return ActivationFeed(kept=ChosenRows(values, places), part=part)
        raise ValueError("these pictures are not all in one part of the pool")

    def _cut(self, model: Classifier, border: str) -> Cut:
        """The cut of ``model``, checked once for all networks that are built alike."""
        key = (border, *((name, tuple(value.shape)) for name, value in model.state_dict().items()))
        if key not in self._cuts:
            side = self.keeping.preprocess.size
            example = torch.zeros(2, 3, side, side, device=next(model.parameters()).device)
            self._cuts[key] = checked_cut(model, border, example)
        return self._cuts[key].on(model)

    def _decided(self, model: Classifier) -> dict[str, Link]:
        """The links of the chain from the input to the output: as an earlier process decided, else decided now."""
        written = read_json(self.decisions) if self.decisions.is_file() else {}
        if self.key not in written:
            links = self._decide(model)
            write_json(self.decisions, {**written, self.key: [link.to_dict() for link in links]})
            written = read_json(self.decisions)
        try:
            return {values["border"]: Link(**values) for values in written[self.key]}
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{self.decisions} is damaged ({error}); remove it") from error

    def _decide(self, model: Classifier) -> list[Link]:
        blocks = blocks_of(model.backbone)
        firsts = {first_trained_block(model, stage) for stage in self.stages}
        side = self.keeping.preprocess.size
        example = torch.zeros(1, 3, side, side, device=next(model.parameters()).device)
        cuts, refused = [], []
        for border in (_border(blocks, first) for first in sorted(firsts) if first):
            try:
                cuts.append(self._cut(model, border))
            except CutError as error:
                refused.append(Link(border=border, use=False, reason=f"not kept: {error}"))
        return [*plan_chain(cuts, [count_work(parts, example) for parts in cuts], demand=self.demand), *refused]


def border_of(model: Classifier, stage: Stage) -> str:
    """The module before which ``model`` is frozen in ``stage``; empty where all of it trains."""
    return _border(blocks_of(model.backbone), first_trained_block(model, stage))


def _border(blocks: Sequence[Block], first: int) -> str:
    if first == len(blocks):
        return "top"
    return f"backbone.{blocks[first].module}" if first else ""
