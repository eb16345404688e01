"""What this computer can do: the allocator setting, and short probes for threads and bfloat16.

`tune_allocator` must run before torch is imported, in commands that train or predict only. Nothing here runs at import.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

# glibc's mallopt parameters (malloc.h)
_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_TOP_PAD = -4, -1, -2
# bf16 must be this much faster than fp32 to be used; CPUs with it show 2.0-2.3, those without less than 0.6
_BF16_WORTH = 1.3
# a second thread must bring this much; on a busy machine it brings less than nothing
_THREAD_WORTH = 1.1


def tune_allocator() -> bool:
    """Keep glibc from returning large activations to the kernel between steps (1.8-3x for CNNs on the CPU).

    Returns:
        Whether the setting was made; False on other C libraries, where it is not needed or not known.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - the attribute exists in glibc only
        return bool(
            libc.mallopt(_M_MMAP_MAX, 0)
            and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            and libc.mallopt(_M_TOP_PAD, 256 << 20)
        )
    except (OSError, AttributeError):
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the probes found; recorded with every run.

    thread_speedup: work per second with ``threads_tried`` threads against one, measured at start; None when the number
        was given.
    bf16_speedup: a bfloat16 matrix product against float32 on ``device``, measured at start.
    device: ``"cuda"``, ``"mps"`` (Apple's GPU) or ``"cpu"``: what training computes on.
    """

    cpu: str
    cores: int
    threads: int
    threads_tried: int
    thread_speedup: float | None
    bf16: bool
    bf16_speedup: float
    device: str
    tuned_allocator: bool

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy."""
        return asdict(self)


def probe(*, threads: int | None = None, tuned_allocator: bool = False) -> Machine:
    """Set torch's thread count (measured in about 0.2 s unless given) and find out about bfloat16.

    Args:
        threads: use exactly so many; None measures one thread against all cores and takes the faster.
        tuned_allocator: what `tune_allocator` returned, for the record.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tried = threads or cores
    speedup = _thread_speedup(cores) if threads is None and cores > 1 else None
    chosen = threads or (cores if speedup is not None and speedup >= _THREAD_WORTH else 1)
    torch.set_num_threads(chosen)
    device = found_device()
    bf16_speedup = _bf16_speedup(device)
    return Machine(
        cpu=_cpu_name(),
        cores=cores,
        threads=chosen,
        threads_tried=tried,
        thread_speedup=None if speedup is None else round(speedup, 2),
        bf16=bf16_speedup >= _BF16_WORTH,
        bf16_speedup=round(bf16_speedup, 2),
        device=device,
        tuned_allocator=tuned_allocator,
    )


def found_device() -> str:
    """The fastest device of this computer that torch can use: ``"cuda"``, ``"mps"`` or ``"cpu"``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _thread_speedup(cores: int) -> float:
    """Convolution throughput with all cores against one, interleaved, best of each."""
    import torch

    images = torch.randn(8, 64, 40, 40).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(96, 64, 3, 3).contiguous(memory_format=torch.channels_last)
    best = {1: float("inf"), cores: float("inf")}
    for _ in range(6):
        for count in best:
            torch.set_num_threads(count)
            torch.conv2d(images, weight)  # the first call after a change starts the threads
            start = time.perf_counter()
            torch.conv2d(images, weight)
            torch.conv2d(images, weight)
            best[count] = min(best[count], time.perf_counter() - start)
    return best[1] / best[cores]


def _bf16_speedup(device: str) -> float:
    """On a GPU products are larger, for they are over before they are timed, and the clock waits for them."""
    import torch

    if device == "mps":  # untested there
        return 1.0
    side = 384 if device == "cpu" else 4096
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        left = torch.randn(side, side, device=device).to(dtype)
        left @ left
        times = []
        for _ in range(8):
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            left @ left
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        best[dtype] = min(times)
    return best[torch.float32] / best[torch.bfloat16]


def _cpu_name() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # Linux only
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    names = ("budwood", "torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "safetensors")
    found = {"python": platform.python_version(), **{name: version(name) for name in names}}
    with contextlib.suppress(PackageNotFoundError):  # an extra
        found["openvino"] = version("openvino")
    return found
