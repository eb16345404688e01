"""What the machine could do at most, and what a network asks of it: the share of the peak that a measurement reached.

The peak is a square product of matrices, the best of many, in float32 and in bfloat16; no network reaches it, least of
all one of depthwise convolutions, which wait for memory. Operations are counted by torch's flop counter, a product and
its sum as two; what normalisations and activations do is not in it.
"""

from __future__ import annotations

import time
from typing import Any

_SIDE = 1536
_SECONDS = 1.5


def peak(dtype: Any) -> float:
    """The most operations a second of CPU time, by as many threads as torch uses now."""
    import torch

    left, right = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    left @ right
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.process_time()  # on a busy machine the wall clock would make the peak low and the shares high
        left @ right
        best = min(best, (time.process_time() - start) / torch.get_num_threads())
    return 2 * _SIDE**3 / best


def operations(module: Any, *, size: int) -> float:
    """Operations of one picture's pass forward; training takes three times as many.

    The counter itself is not asked for the backward pass: it takes a grouped convolution's for a full one.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, 3, size, size))
    return float(counter.get_total_flops())
