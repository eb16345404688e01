"""The page of a run is made from its small files, whichever version wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from budwood.cache import pictures_folder
from budwood.cli.summary import print_run
from budwood.data.store import PictureStore
from budwood.files import read_json
from budwood.page import report_data, training_says, write_report
from budwood.report.training_data import Curves
from budwood.runs import Run, RunDir
from budwood.systems import fit
from budwood.train.history import History

NEW_COLUMNS = ("accuracy", "train_loss", "train_accuracy")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> RunDir:
    """A head solved, two blocks trained, then all: a run of seconds."""
    stages = '[{ trains = "head" }, { trains = 2, epochs = 2 }, { trains = "all", epochs = 1 }]'
    out = tmp_path_factory.mktemp("runs") / "tuned"
    settings = ["audit.opinion=false", f"train.stages={stages}"]
    return fit(photos, recipe="transfer", tiny=True, overrides=settings, threads=1, out=out).folder


@pytest.fixture
def copied(tuned: RunDir, tmp_path: Path) -> RunDir:
    shutil.copytree(tuned.path, tmp_path / "run")
    return RunDir(tmp_path / "run")


def store(run: RunDir) -> PictureStore:
    side = int(read_json(run.training)["preprocess"]["store_side"])
    return PictureStore(pictures_folder(Path(read_json(run.environment)["photos"]), side=side), side=side)


def as_an_earlier_version_wrote(run: RunDir) -> None:
    """Take away from the run's files what came later."""
    rows = [line.split(",") for line in run.history.read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in NEW_COLUMNS]
    run.history.write_text("\n".join(",".join(row[i] for i in kept) for row in rows) + "\n")
    training = read_json(run.training)
    for name in ("notes", "caches", "plan"):
        training.pop(name, None)
    run.training.write_text(json.dumps(training))


def test_page_shows_all_stages_of_a_plan(tuned: RunDir) -> None:
    training = report_data(tuned, store(tuned)).training
    assert [row.title for row in training.plan] == [
        "Head on frozen features",
        "Fine-tuning of the last 2 blocks",
        "Fine-tuning of the whole network",
    ]
    curves = training.phases[-1]
    assert isinstance(curves, Curves)
    assert [stage.number for stage in curves.stages] == [2, 3]
    assert curves.rows == History.load(tuned.history).rows
    assert curves.num_validation == len(read_json(tuned.split)["parts"]["val"])


def test_run_without_the_later_fields_has_a_page_too(copied: RunDir) -> None:
    as_an_earlier_version_wrote(copied)
    write_report(copied, store(copied))
    text = copied.report.read_text(encoding="utf-8")
    assert "The plan" in text
    assert "training, while it ran" in text
    assert "training, measured after" not in text
    assert "What was kept instead" not in text


def test_run_without_the_answers_to_its_validation_part_has_a_page_too(copied: RunDir) -> None:
    copied.predictions("val").unlink()
    write_report(copied, store(copied))
    assert training_says(copied) == ()


def test_what_happened_on_the_way_is_told_once(copied: RunDir) -> None:
    note = "in epoch 2 the loss became nan; the epoch begins again at 0.33 of the learning rates"
    copied.training.write_text(json.dumps({**read_json(copied.training), "notes": [note]}))
    copied.warn(note)
    copied.warn("something else")
    data = report_data(copied, store(copied))
    assert note not in data.warnings
    assert "something else" in data.warnings
    assert [each.word for each in data.training.says].count("on the way") == 1


def test_fit_ends_with_the_gravest_three_things(copied: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    notes = [f"in epoch {e} [red]exploded[/red]" for e in range(1, 6)]
    copied.training.write_text(json.dumps({**read_json(copied.training), "notes": notes}))
    print_run(Run(copied.path))
    printed = capsys.readouterr().out
    told = [line.strip() for line in printed.splitlines() if "exploded" in line]
    assert told[0] == "↺ on the way  In epoch 1 [red]exploded[/red]."
    assert len(told) == 3 - ("collapsed" in printed)
