"""`Device`: on what a network is trained, and the Lightning Fabric that carries it out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where training runs.

    bf16: bfloat16 where autocast allows it. accelerator: ``"auto"``, ``"cpu"``, ``"cuda"``. devices: processes on this
    host, one a device; nodes: hosts.
    """

    bf16: bool = False
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1


def open_fabric(device: Device) -> Any:
    """A Fabric for one process on one device."""
    from lightning_fabric import Fabric

    # Fabric tells its precision to stderr, in the middle of the progress display; the run's environment.json holds it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(accelerator=device.accelerator, devices=1, precision="bf16-mixed" if device.bf16 else "32-true")
