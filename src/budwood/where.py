"""On what a run is carried out: threads, precision, device; probed once, and kept for whoever takes the run up.

Equal weights need equal arithmetic: a resumed run uses what the first process found, not what it would find now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from budwood import machine
from budwood.errors import UsageError
from budwood.files import read_json, write_json
from budwood.runs import RunDir
from budwood.train.device import Device, refuse_unfit
from budwood.train.frozen_network import Backend, default_backend

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the machine was found to be, and what of it is used; ``features`` carries out frozen networks."""

    machine: machine.Machine
    device: Device
    features: Backend

    @property
    def bf16(self) -> bool:
        """Whether frozen networks and training compute in bfloat16."""
        return self.device.bf16

    @property
    def arithmetic(self) -> dict[str, Any]:
        """What equal weights depend on."""
        used = {"threads": self.machine.threads, "cpu": self.machine.cpu, "device": self.machine.device}
        shared = {"devices": self.device.devices, "nodes": self.device.nodes}
        return {**used, **shared, "bf16": self.bf16, "features": self.features}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "machine": self.machine.to_dict(),
            "bf16": self.bf16,
            "devices": self.device.devices,
            "nodes": self.device.nodes,
            "features": self.features,
        }


def chosen_machine(run: RunDir, *, threads: int | None, precision: Precision, devices: int, nodes: int) -> Chosen:
    """Probe the machine, or take what an earlier process of the same run found.

    Raises:
        UsageError: the run was begun with another number of threads, devices or nodes, with or without OpenVINO, or
            this computer lacks what is asked for.
    """
    refuse_unfit(Device(devices=devices, nodes=nodes, accelerator=machine.found_device()))
    features = default_backend()
    kept = run.checkpoints / "machine.json"
    before = read_json(kept) if kept.is_file() else None
    if before is not None:
        for name, asked in (("threads", threads), ("devices", devices), ("nodes", nodes)):
            begun = before["machine"]["threads"] if name == "threads" else before[name]
            if asked is not None and asked != begun:
                raise UsageError(
                    f"the run was begun with --{name} {begun} and cannot go on with {asked}: equal weights need equal"
                    f" arithmetic. Leave --{name} as it was, or begin anew with --overwrite"
                )
        if before["features"] != features:
            raise UsageError(
                f"the run was begun with frozen features by {before['features']}, and now they would be by {features}:"
                " install or remove the extra budwood[openvino] as it was, or begin anew with --overwrite"
            )
        found = machine.probe(threads=before["machine"]["threads"], tuned_allocator=machine.tune_allocator())
        bf16 = bool(before["bf16"])
    else:
        found = machine.probe(threads=threads, tuned_allocator=machine.tune_allocator())
        bf16 = {"auto": found.bf16, "bfloat16": True, "float32": False}[precision]
    device = Device(bf16=bf16, accelerator=found.device, devices=devices, nodes=nodes)
    chosen = Chosen(machine=found, device=device, features=features)
    if before is None:
        write_json(kept, chosen.to_dict())
    return chosen
