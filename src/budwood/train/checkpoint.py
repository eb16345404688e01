"""Checkpoints that survive a kill and a full disk: two slots in turn, each synced and renamed, a sha256 inside.

A slot holds named tensors and a JSON table; what they mean is `state.py`'s matter. A slot that was cut or changed
counts as absent, and the other one, written before it, is taken.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from budwood.files import atomic_open, sha256_bytes

_MAGIC = b"budwood checkpoint 1"
_ENDINGS = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a slot holds: a table of plain values, and named tensors on the CPU."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Slots:
    """Two files of one name in ``folder``; a save replaces the older one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.files = tuple(folder / f"{name}-{ending}.checkpoint" for ending in _ENDINGS)

    def save(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the next slot.

        Raises:
            OSError: it could not be written; the slots are as they were.
        """
        serials = [_serial(file) for file in self.files]
        line = json.dumps({**facts, "serial": max(serials) + 1}, allow_nan=False).encode()
        payload = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
        digest = sha256_bytes(line + b"\n" + payload).encode()
        with atomic_open(self.files[serials.index(min(serials))]) as file:
            file.write(b"\n".join((_MAGIC, digest, line, payload)))

    def load(self) -> Saved | None:
        """The newest slot that is whole; None where there is none."""
        found = [saved for file in self.files if (saved := _read(file)) is not None]
        return max(found, key=lambda saved: int(saved.facts["serial"]), default=None)

    def clear(self) -> None:
        """Remove both slots and what killed writes left of them."""
        for file in self.files:
            file.unlink(missing_ok=True)
            for left in self.folder.glob(f".{file.name[:40]}.*.tmp"):
                left.unlink(missing_ok=True)


def _read(file: Path) -> Saved | None:
    try:
        magic, digest, rest = file.read_bytes().split(b"\n", 2)
        if magic != _MAGIC or sha256_bytes(rest).encode() != digest:
            return None
        line, payload = rest.split(b"\n", 1)
        return Saved(facts=json.loads(line), tensors=safetensors.torch.load(payload))
    except (OSError, ValueError, SafetensorError):  # absent, cut, or changed
        return None


def _serial(file: Path) -> int:
    """The number of a slot's save without reading its tensors; -1 where there is none."""
    with contextlib.suppress(OSError, ValueError, KeyError), file.open("rb") as handle:
        handle.readline()
        handle.readline()
        return int(json.loads(handle.readline())["serial"])
    return -1
