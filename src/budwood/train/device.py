"""`Device`: on what a network is trained, and the Lightning Fabric that carries it out, in one process or in several.

Starting the processes is `spread.py`'s matter, what they tell each other `team.py`'s.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

from budwood.errors import UsageError

# What torchrun gives every process, and what several hosts need to find each other.
NODE_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where training runs.

    bf16: bfloat16 where autocast allows it. accelerator: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``. devices:
    processes on this host, one a device; nodes: hosts.
    """

    bf16: bool = False
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1

    @property
    def processes(self) -> int:
        """Processes that share each batch, on all hosts."""
        return self.devices * self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which of a training's processes one is.

    local: its number on its host; node: the number of the host. meeting: the file through which the processes of one
    host find each other; empty where several hosts do by their addresses.
    """

    local: int
    node: int = 0
    meeting: str = ""


def open_fabric(device: Device) -> Any:
    """A Fabric for one process on one device."""
    from lightning_fabric import Fabric

    _quiet()
    return Fabric(accelerator=device.accelerator, devices=1, precision=_precision(device))


def join_fabric(device: Device, place: Place) -> Any:
    """A Fabric for this process as one of ``device.processes``; returns when all of them are there."""
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    _quiet()
    if place.meeting:
        # Fabric takes a group that is there already; its own would open a port to find the others of this very host.
        torch.distributed.init_process_group(
            init_method=f"file://{place.meeting}", rank=place.local, world_size=device.devices
        )
    fabric = Fabric(
        accelerator="cuda" if _uses_cuda(device) else "cpu",
        devices=device.devices,
        num_nodes=device.nodes,
        # Buffers are exchanged with the gradients, in `team.py`.
        strategy=DDPStrategy(broadcast_buffers=False),
        plugins=[LightningEnvironment()],
        precision=_precision(device),
    )
    fabric.launch()
    return fabric


def refuse_unfit(device: Device) -> None:
    """Refuse what this computer cannot carry out, before any work is done.

    Raises:
        UsageError: more devices than there are, a system without the means, or hosts that do not know each other.
    """
    if device.processes == 1:
        return
    if os.name != "posix":
        raise UsageError(f"--devices and --nodes above 1 need Linux or macOS; this is {sys.platform}: leave them at 1")
    missing = [name for name in NODE_VARIABLES if not os.environ.get(name)]
    if device.nodes > 1 and missing:
        raise UsageError(
            f"--nodes {device.nodes} needs the environment variables {', '.join(NODE_VARIABLES)} on every host; missing"
            f" here: {', '.join(missing)}. See docs/devices.md, or leave --nodes at 1"
        )
    _refuse_too_many(device)


def _refuse_too_many(device: Device) -> None:
    import torch

    if device.accelerator == "mps" and device.devices > 1:
        raise UsageError(f"--devices {device.devices}: Apple's GPU is one device and cannot share a batch: use 1")
    if _uses_cuda(device) and device.devices > torch.cuda.device_count():
        raise UsageError(f"--devices {device.devices}: this host has {torch.cuda.device_count()} CUDA devices")


def _uses_cuda(device: Device) -> bool:
    import torch

    return device.accelerator == "cuda" or (device.accelerator == "auto" and torch.cuda.is_available())


def _precision(device: Device) -> Any:
    return "bf16-mixed" if device.bf16 else "32-true"


def _quiet() -> None:
    # Fabric tells its precision to stderr, in the middle of the progress display; the run's environment.json holds it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
