"""What a stage under way is made of, and how it is put away and taken back to the bit.

`Progress` holds the plain values; `pack` and `unpack` turn model, optimiser and averaged weights into named tensors and
back. Random draws are keyed, so no generator has a state to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from budwood.train.history import EpochRow


@dataclass(kw_only=True)
class Progress:
    """Where a stage stands.

    epoch: the epoch under way, from 0. step: batches of it that are done. loss_sum, right, seen: over these.
    rate: factor on all rates, lowered when the loss exploded; rollbacks: how often it did.
    micro: pictures that pass the network at once (0: the whole batch), lowered when memory ran out.
    averaged: updates of the averaged weights so far. best_*: of the epoch whose weights are kept.
    gave_up: whether the stage ended before its time. notes: what went on, for the report.
    """

    epoch: int
    step: int = 0
    loss_sum: float = 0.0
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    rate: float = 1.0
    rollbacks: int = 0
    micro: int = 0
    averaged: int = 0
    rows: tuple[EpochRow, ...] = ()
    best_epoch: int = -1
    best_loss: float | None = None
    best_accuracy: float = 0.0
    notes: tuple[str, ...] = field(default_factory=tuple)
    gave_up: bool = False

    def next_epoch(self, row: EpochRow) -> None:
        """Close the epoch under way with ``row``."""
        self.rows = (*self.rows, row)
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.right, self.seen, self.seconds = 0.0, 0, 0, 0.0

    def copy(self) -> Progress:
        """A copy that later changes do not touch."""
        return replace(self)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "rows": [row.to_json() for row in self.rows], "notes": list(self.notes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Progress:
        """The inverse of `to_json`."""
        rows = tuple(EpochRow.from_json(row) for row in values["rows"])
        return cls(**{**values, "rows": rows, "notes": tuple(values["notes"])})


def pack(model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> dict[str, Tensor]:
    """Copies of all tensors that the next step depends on, on the CPU, by name."""
    found = {f"model/{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        found |= {f"average/{name}": value for name, value in average.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        found |= {f"optimizer/{number}/{key}": value for key, value in state.items() if isinstance(value, Tensor)}
    return {name: value.detach().cpu().clone() for name, value in found.items()}


def unpack(
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> None:
    """Put back what `pack` took; the optimiser's settings are its own."""
    model.load_state_dict(part_of(tensors, "model"))
    if average is not None:
        average.load_state_dict(part_of(tensors, "average"))
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in part_of(tensors, "optimizer").items():
        number, _, key = name.partition("/")
        states.setdefault(int(number), {})[key] = value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})


def part_of(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``part``, without it."""
    return {name.removeprefix(f"{part}/"): value for name, value in tensors.items() if name.startswith(f"{part}/")}
