"""Two slots in turn: what was written last and whole is what is read, whatever happened to the other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from budwood import files
from budwood.train.checkpoint import Slots


def save(slots: Slots, number: int) -> None:
    slots.save({"number": number}, {"weight": torch.full((50, 3), float(number)), "step": torch.tensor(number)})


def test_the_newest_save_is_read_back_to_the_bit(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "epoch")
    assert slots.load() is None
    for number in range(5):
        save(slots, number)
        saved = Slots(tmp_path, "epoch").load()
        assert saved is not None
        assert saved.facts["number"] == number
        assert torch.equal(saved.tensors["weight"], torch.full((50, 3), float(number)))
        assert saved.tensors["step"].dtype == torch.int64
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_slot_gives_way_to_the_one_before(damage: str, tmp_path: Path) -> None:
    slots = Slots(tmp_path, "epoch")
    for number in range(3):
        save(slots, number)
    newest = next(file for file in slots.files if b'"number": 2' in file.read_bytes())
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    if damage == "gone":
        newest.unlink()
    else:
        newest.write_bytes({"cut": content[:-100], "flipped": content, "empty": b""}[damage])
    saved = slots.load()
    assert saved is not None
    assert saved.facts["number"] == 1
    save(slots, 7)
    after = slots.load()
    assert after is not None
    assert after.facts["number"] == 7


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "epoch")
    save(slots, 1)
    (file,) = (file for file in slots.files if file.exists())
    content = file.read_bytes()
    for at in range(0, len(content), 7):
        changed = bytearray(content)
        changed[at] ^= 0x10
        file.write_bytes(changed)
        assert slots.load() is None, at


def test_a_write_that_fails_leaves_both_slots_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots(tmp_path, "epoch")
    save(slots, 1)
    save(slots, 2)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(slots, 3)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_clear_removes_the_slots_and_what_killed_writes_left(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "epoch")
    save(slots, 1)
    (tmp_path / ".epoch-a.checkpoint.x.tmp").write_bytes(b"half")
    (tmp_path / "other.txt").write_text("stays")
    slots.clear()
    assert os.listdir(tmp_path) == ["other.txt"]
