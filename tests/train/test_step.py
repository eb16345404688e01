"""One step: equal gradients in one piece or in many, whatever the memory allows."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from budwood.errors import UsageError
from budwood.train.step import Loss, Stepped, forward_backward, is_out_of_memory


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def batch(size: int = 11) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 5, generator=generator), torch.rand(size, 3, generator=generator).softmax(1)


class Small(nn.Module):
    """A network for which memory is said to run out above so many pictures."""

    def __init__(self, inner: nn.Module, limit: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.inner, self.limit, self.error, self.calls = inner, limit, error, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        if len(inputs) > self.limit:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return self.inner(inputs)


def run(net: nn.Module, *, micro: int = 0, loss: Loss | None = None) -> tuple[Stepped, list[Tensor]]:
    inputs, targets = batch()
    stepped = forward_backward(
        net,
        inputs,
        targets,
        loss=loss or Loss(smoothing=0.1),
        backward=lambda value: value.backward(),
        reset=lambda: net.zero_grad(set_to_none=True),
        micro=micro,
    )
    return stepped, [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("micro", [1, 2, 3, 5, 10, 11, 40])
def test_pieces_give_the_gradient_of_the_whole_batch(micro: int) -> None:
    whole, gradients = run(network())
    pieces, others = run(network(), micro=micro)
    assert pieces.loss_sum == pytest.approx(whole.loss_sum, rel=1e-6)
    assert pieces.right == whole.right
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("limit", "error"), list(itertools.product(range(1, 11), [torch.OutOfMemoryError, RuntimeError, MemoryError]))
)
def test_thirty_times_out_of_memory_leave_the_effective_batch_as_it_was(limit: int, error: type[Exception]) -> None:
    whole, gradients = run(network())
    small = Small(network(), limit, error)
    stepped, others = run(small)
    assert 0 < stepped.micro <= 2 * limit
    assert stepped.loss_sum == pytest.approx(whole.loss_sum, rel=1e-6)
    assert len(others) == len(gradients)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    before = small.calls
    again, _ = run(small, micro=stepped.micro)  # the next batch does not run into the wall again
    assert again.micro == stepped.micro
    assert small.calls - before == -(-11 // stepped.micro)


def test_not_even_one_picture_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"not even one picture fits.*model\.size"):
        run(Small(network(), 0))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(Broken())
    assert not is_out_of_memory(ValueError("out of memory"))


def test_weights_count_pictures_of_a_class_more_and_offsets_shift_logits() -> None:
    logits, targets = torch.randn(6, 3), torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    plain = nn.functional.cross_entropy(logits, targets, reduction="none")
    weights = torch.tensor([2.0, 1.0, 0.5])
    weighed = Loss(weights=weights).sum(logits, targets)
    torch.testing.assert_close(weighed, (plain * weights[[0, 1, 2, 0, 1, 2]]).sum())
    offsets = torch.tensor([0.0, 1.0, -1.0])
    shifted = Loss(offsets=offsets).sum(logits, targets)
    torch.testing.assert_close(shifted, nn.functional.cross_entropy(logits + offsets, targets, reduction="sum"))
