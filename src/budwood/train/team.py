"""`Team`: the processes that share each batch of a training, and what they tell each other.

Every process holds the same weights, takes its share of the batch, and makes the same step from the sum of all
gradients, so all of them decide alike what comes next. Gradients are exchanged when every process has its own, not
while they are computed: one whose memory ran out can then go on in smaller pieces without leaving the others waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from budwood.train.device import Device, Place, join_fabric, open_fabric
from budwood.train.feed import Feed
from budwood.train.step import Stepped

Value = TypeVar("Value")
_LEAST_SHARE = 2  # BatchNorm has no statistics of a single picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """One process among ``size``, and the Fabric that it computes with.

    leads: whether it is the one of its host that writes checkpoints and tells what goes on.
    """

    fabric: Any
    rank: int = 0
    size: int = 1
    leads: bool = True

    @classmethod
    def alone(cls, device: Device) -> Team:
        """A single process."""
        return cls(fabric=open_fabric(device))

    @classmethod
    def joined(cls, device: Device, place: Place) -> Team:
        """This process among those that `spread.py` has started."""
        fabric = join_fabric(device, place)
        return cls(fabric=fabric, rank=fabric.global_rank, size=fabric.world_size, leads=place.local == 0)

    def rows(self, count: int) -> slice:
        """This process's share of ``count`` pictures: none, or two at least where there are two."""
        working = max(1, min(self.size, count // _LEAST_SHARE))
        if self.rank >= working:
            return slice(count, count)
        each, more = divmod(count, working)
        first = self.rank * each + min(self.rank, more)
        return slice(first, first + each + (self.rank < more))

    def exchange(self, network: nn.Module, stepped: Stepped, *, share: float) -> Stepped:
        """Give every process the sum of all gradients, the mean of BatchNorm's statistics, and what all have seen.

        Args:
            network: its gradients are those of this process's pictures, each divided by the size of the whole batch.
            stepped: of this process's pictures. share: of the whole batch, 0-1.
        """
        if self.size == 1:
            return stepped
        told = self.gathered(stepped.loss_sum, stepped.right, stepped.micro)
        pieces = [int(size) for size in told[:, 2] if size]
        self._sum_gradients(network, share)
        return Stepped(float(told[:, 0].sum()), int(told[:, 1].sum()), min(pieces, default=0))

    def gathered(self, *numbers: float) -> NDArray[np.float64]:
        """The numbers of all processes, ``[size, n]``."""
        own = torch.tensor(numbers, dtype=torch.float64, device=self.fabric.device)
        found: NDArray[np.float64] = self.fabric.all_gather(own).reshape(self.size, -1).cpu().numpy()
        return found

    def agreed(self, value: Value) -> Value:
        """The first process's value, in all of them."""
        found: Value = self.fabric.broadcast(value)
        return found

    def _sum_gradients(self, network: nn.Module, share: float) -> None:
        """In one message: which parameters have a gradient at all, the gradients, the statistics."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        statistics = _moving_statistics(network)
        has = torch.tensor([float(p.grad is not None) for p in parameters], device=self.fabric.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        parts = [has, *gradients, *(values * share for values in statistics)]
        together = self.fabric.all_reduce(torch.cat([part.flatten() for part in parts]), reduce_op="sum")
        has, *sums = together.split([part.numel() for part in parts])
        for parameter, any_has, total in zip(parameters, has.tolist(), sums, strict=False):
            parameter.grad = total.view_as(parameter).clone() if any_has else None
        with torch.no_grad():
            for values, mean in zip(statistics, sums[len(parameters) :], strict=True):
                values.copy_(mean.view_as(values))


def _moving_statistics(network: nn.Module) -> list[Tensor]:
    """Running means and variances that a step has just moved."""
    moving = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    return [values for module in moving for values in (module.running_mean, module.running_var) if values is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFeed:
    """A feed of which each process draws its share of a batch only; to evaluate, it is as the feed itself."""

    feed: Feed
    team: Team

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices ``[N]``."""
        return self.feed.labels

    @property
    def mixable(self) -> bool:
        """As the feed."""
        return self.feed.mixable

    def drawn(self, positions: NDArray[np.int64], repeats: NDArray[np.int64], epoch: int) -> Tensor:
        """Inputs of this process's share of the positions."""
        rows = self.team.rows(len(positions))
        return self.feed.drawn(positions[rows], repeats[rows], epoch)

    def plain(self, positions: NDArray[np.int64]) -> Tensor:
        """Inputs ``[B, ...]`` as evaluation sees them."""
        return self.feed.plain(positions)
