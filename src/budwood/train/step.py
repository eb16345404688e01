"""One step of training: forward, loss, backward, in as many pieces as memory asks for.

A batch that does not fit passes in smaller pieces whose gradients add up to that of the whole batch: the effective
batch stays what the recipe says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from budwood.errors import UsageError

Network = Callable[[Tensor], Tensor]
_WORDS_OF_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Cross-entropy with mixed targets and label smoothing.

    weights: what a picture of each class counts ``[K]``, 1 on average. offsets: added to the logits in training only
    ``[K]`` (logit adjustment, Menon et al. 2021).
    """

    smoothing: float = 0.0
    weights: Tensor | None = None
    offsets: Tensor | None = None

    def sum(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The sum over a batch: logits ``[B, K]``, targets ``[B, K]`` whose rows sum to 1."""
        shifted = logits if self.offsets is None else logits + self.offsets.to(logits)
        losses = functional.cross_entropy(shifted, targets, label_smoothing=self.smoothing, reduction="none")
        return (losses if self.weights is None else losses * (targets @ self.weights.to(targets))).sum()


@dataclass(frozen=True, slots=True)
class Stepped:
    """Sum of the losses, right answers, and in how large pieces the batch passed."""

    loss_sum: float
    right: int
    micro: int


def forward_backward(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Loss,
    backward: Callable[[Tensor], None],
    reset: Callable[[], None],
    micro: int = 0,
    without_sync: Callable[[bool], AbstractContextManager[None]] = lambda enabled: nullcontext(),
    share: float | None = None,
) -> Stepped:
    """Leave the gradient of the mean loss of a batch in the parameters.

    Args:
        inputs: ``[B, ...]``. targets: ``[B, K]``.
        backward: adds a loss's gradient. reset: drops all gradients.
        micro: pictures in a piece; 0 takes the whole batch. Halved as often as memory runs out.
        without_sync: a context in which gradients are not yet exchanged between processes.
        share: what a picture's loss is multiplied by; 1 / B unless given.

    Raises:
        UsageError: not even a single picture fits into memory.
    """
    size = micro or len(inputs)
    while True:
        reset()
        try:
            loss_sum, right = _in_pieces(
                network,
                inputs,
                targets,
                size=size,
                loss=loss,
                backward=backward,
                without_sync=without_sync,
                share=share,
            )
            return Stepped(loss_sum, right, micro if size >= len(inputs) else size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size <= 1:
                raise UsageError(
                    "not even one picture fits into memory with this network: choose a smaller model.size or backbone,"
                    " or freeze more of it"
                ) from error
        reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = -(-min(size, len(inputs)) // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS_OF_OUT_OF_MEMORY)


def _in_pieces(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    *,
    size: int,
    loss: Loss,
    backward: Callable[[Tensor], None],
    without_sync: Callable[[bool], AbstractContextManager[None]],
    share: float | None,
) -> tuple[float, int]:
    total, right = 0.0, 0
    number = -(-len(inputs) // size)
    # even pieces: a last one of a single picture would have no batch statistics
    for i, (some, wanted) in enumerate(zip(inputs.tensor_split(number), targets.tensor_split(number), strict=True)):
        with without_sync(i + 1 < number):
            logits = network(some).float()
            value = loss.sum(logits, wanted)
            backward(value * (share if share is not None else 1 / len(inputs)))
        total += float(value.detach())
        right += int((logits.detach().argmax(1) == wanted.argmax(1)).sum())
    return total, right
