"""The history reads as Keras users expect, and old files of it are read too."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from budwood.errors import IntegrityError
from budwood.train.history import EpochRow, History

FIRST = EpochRow(
    stage="head",
    epoch=1,
    lr=0.1,
    loss=2.0,
    val_loss=1.5,
    val_accuracy=0.5,
    seconds=3.0,
    images_per_second=10.0,
    best=True,
    accuracy=0.25,
)
HISTORY = History(
    rows=(
        FIRST,
        replace(FIRST, epoch=2, val_accuracy=0.75, lr=0.05),
        replace(FIRST, stage="all", epoch=3, val_accuracy=0.875),
        replace(FIRST, stage="all", epoch=4, best=False),
    )
)


def test_columns_have_keras_names() -> None:
    assert HISTORY["val_accuracy"] == [0.5, 0.75, 0.875, 0.5]
    assert HISTORY["learning_rate"] == HISTORY["lr"] == [0.1, 0.05, 0.1, 0.1]
    assert set(HISTORY.history) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert HISTORY.history["loss"] == [2.0] * 4
    assert HISTORY.epoch == [1, 2, 3, 4]
    assert len(HISTORY) == 4


@pytest.mark.parametrize("name", ["val_acc", "stage", "best", "rows", "__class__"])
def test_a_column_that_is_none_is_a_key_error_that_names_them(name: str) -> None:
    with pytest.raises(KeyError, match=r"no column of numbers.*val_accuracy"):
        HISTORY[name]


def test_what_was_never_measured_is_not_in_the_dictionary() -> None:
    assert "train_loss" not in HISTORY.history
    measured = History(rows=(replace(FIRST, train_loss=1.0), FIRST))
    assert measured.history["train_loss"][0] == 1.0
    assert math.isnan(measured.history["train_loss"][1])
    assert History().history == {}


def test_best_is_the_epoch_of_the_last_stage_that_was_kept() -> None:
    assert HISTORY.best is HISTORY.rows[2]
    assert History().best is None


def test_csv_comes_back(tmp_path: Path) -> None:
    HISTORY.save(tmp_path / "history.csv")
    assert History.load(tmp_path / "history.csv").to_csv() == HISTORY.to_csv()
    assert History.load(tmp_path / "none.csv") == History()


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        pytest.param("", "", id="before accuracies of training"),
        pytest.param(",momentum", ",0.9", id="with a column of a later version"),
    ],
)
def test_csv_of_another_version_is_read(tmp_path: Path, columns: str, values: str) -> None:
    file = tmp_path / "history.csv"
    header = "stage,epoch,lr,loss,val_loss,val_accuracy,seconds,images_per_second,best"
    file.write_text(f"{header}{columns}\nhead,1,0.1,2.0,1.5,0.5,3.0,10.0,True{values}\n")
    (row,) = History.load(file).rows
    assert replace(row, accuracy=0.25, train_loss=0.0, train_accuracy=0.0) == replace(
        FIRST, train_loss=0.0, train_accuracy=0.0
    )
    assert math.isnan(row.train_accuracy)


@pytest.mark.parametrize("text", ["stage,epoch\nhead,1\n", "a\x00b\n1\n", HISTORY.to_csv().replace("0.875", "x")])
def test_a_changed_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(IntegrityError, match=r"history\.csv is no history"):
        History.load(tmp_path / "history.csv")
