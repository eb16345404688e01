"""Event files hold what the history holds, by TensorBoard's own reader."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from budwood.errors import OutputError, UsageError
from budwood.train.history import EpochRow
from budwood.train.tensorboard import epoch_writer

ROW = EpochRow(
    stage="head on frozen features",
    epoch=1,
    lr=0.5,
    loss=2.0,
    val_loss=1.5,
    val_accuracy=0.25,
    seconds=3.0,
    images_per_second=16.0,
    best=True,
)


def read_back(folder: Path) -> Any:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_every_epoch_is_there_with_its_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with epoch_writer(tmp_path / "new" / "folder") as write:
        write(ROW)
        write(replace(ROW, epoch=2, val_accuracy=0.75, train_loss=0.125, stage="fine-tuning"))
    events = read_back(tmp_path / "new" / "folder")
    accuracy = [(e.step, e.value) for e in events.Scalars("accuracy/validation part")]
    assert accuracy == [(1, 0.25), (2, 0.75)]
    assert [e.value for e in events.Scalars("rate/learning rate")] == [0.5, 0.5]
    assert [(e.step, e.value) for e in events.Scalars("loss/training part")] == [(2, 0.125)]
    assert "accuracy/training part" not in events.Tags()["scalars"]


def test_stages_are_told_where_they_begin(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with epoch_writer(tmp_path) as write:
        for epoch, stage in enumerate(["head", "head", "all"], start=1):
            write(replace(ROW, epoch=epoch, stage=stage))
    texts = [(e.step, e.tensor_proto.string_val[0].decode()) for e in read_back(tmp_path).Tensors("stage/text_summary")]
    assert texts == [(1, "from epoch 1: head"), (3, "from epoch 3: all")]


def test_an_epoch_can_be_read_while_the_training_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with epoch_writer(tmp_path) as write:
        write(ROW)
        assert len(read_back(tmp_path).Scalars("loss/while training")) == 1


def test_epochs_done_again_after_a_stop_replace_those_that_were_lost(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with epoch_writer(tmp_path) as write:
        for epoch in (1, 2, 3):
            write(replace(ROW, epoch=epoch, loss=9.0))
    with epoch_writer(tmp_path) as write:
        write(replace(ROW, epoch=3, loss=1.0))
    losses = [(e.step, e.value) for e in read_back(tmp_path).Scalars("loss/while training")]
    assert sorted(losses) == [(1, 9.0), (2, 9.0), (3, 1.0)]


def test_no_epoch_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    epoch_writer(tmp_path).close()
    assert not list(tmp_path.iterdir())


def test_missing_extra_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'budwood\[tensorboard\]'"):
        epoch_writer(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give another"):
        epoch_writer(tmp_path / "file" / "logs")
