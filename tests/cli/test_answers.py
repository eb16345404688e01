"""`budwood predict` and `budwood evaluate`: the run's own answers again, bad files listed, classes by name."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budwood.evaluation.predictions import Predictions


def from_csv(text: str) -> dict[str, list[float]]:
    rows = list(csv.reader(io.StringIO(text)))
    return {row[0]: [float(value) for value in row[4:]] for row in rows[1:]}


def from_json(text: str) -> dict[str, list[float]]:
    return {p["path"]: list(p["probabilities"].values()) for p in json.loads(text)["predictions"]}


@pytest.mark.parametrize(("form", "read"), [("csv", from_csv), ("json", from_json)])
def test_predict_repeats_the_runs_test_predictions(
    form: str, read: Callable[[str], dict[str, list[float]]], transfer_run: Path, photos: Path, call: Callable
) -> None:
    stored = Predictions.load(transfer_run / "predictions" / "test.csv")
    outcome = call("predict", transfer_run, photos, "--threads", "1", "--format", form)
    assert outcome.code == 0, outcome.text
    answers = read(outcome.out)
    assert len(answers) == 24
    found = [answers[str(photos / path)] for path in stored.paths]
    assert np.allclose(found, stored.probs, atol=1e-5)


def test_the_files_ending_chooses_the_format(probe_run: Path, photos: Path, call: Callable, tmp_path: Path) -> None:
    picture = next(photos.glob("*/*.jpg"))
    for name, read in (("new/a.csv", from_csv), ("new/a.json", from_json)):
        outcome = call("predict", probe_run / "bundle", picture, "--out", tmp_path / name, "--threads", "1")
        assert outcome.code == 0, outcome.text
        assert list(read((tmp_path / name).read_text())) == [str(picture)]


def test_a_bad_file_is_listed_and_the_others_are_answered(
    probe_run: Path, photos: Path, call: Callable, tmp_path: Path
) -> None:
    shutil.copy(next(photos.glob("*/*.jpg")), tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_text("this is text")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:200])
    outcome = call("predict", probe_run, tmp_path, "--threads", "1")
    outcome.refused(0, "could not read", str(tmp_path / "bad.jpg"), str(tmp_path / "cut.jpg"))
    assert list(from_csv(outcome.out)) == [str(tmp_path / "good.jpg")]
    listed = json.loads(call("predict", probe_run, tmp_path, "--threads", "1", "--format", "json").out)["unreadable"]
    assert [item["path"] for item in listed] == [str(tmp_path / name) for name in ("bad.jpg", "cut.jpg")]
    assert all(item["reason"] for item in listed)


def test_pictures_of_which_none_can_be_read_end_with_3(probe_run: Path, call: Callable, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("this is text")
    call("predict", probe_run, bad, "--threads", "1").refused(3, str(bad), "none of the 1 files could be read")
    os.mkfifo(tmp_path / "pipe.jpg")
    call("predict", probe_run, tmp_path / "pipe.jpg", "--threads", "1").refused(3, "pipe.jpg")


def test_a_missing_picture_or_an_empty_folder_is_named(probe_run: Path, call: Callable, tmp_path: Path) -> None:
    call("predict", probe_run, tmp_path / "no.jpg", "--threads", "1").refused(
        2, "no.jpg", "does not exist", "give pictures"
    )
    call("predict", probe_run, tmp_path, "--threads", "1").refused(3, str(tmp_path), "no pictures", "another folder")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_missing_bundle_is_named(command: str, photos: Path, call: Callable, tmp_path: Path) -> None:
    call(command, tmp_path, photos).refused(2, str(tmp_path), "is no bundle", "RUN/bundle")


def test_evaluate_scores_a_folder_and_writes_it(
    transfer_run: Path, photos: Path, call: Callable, tmp_path: Path
) -> None:
    outcome = call("evaluate", transfer_run, photos, "--out", tmp_path / "scores", "--threads", "1")
    outcome.refused(0, "accuracy", "95 % interval", "on 24 pictures", str(tmp_path / "scores"))
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    predictions = Predictions.load(tmp_path / "scores" / "predictions.csv")
    assert metrics["accuracy"]["value"] == pytest.approx(np.mean(predictions.predicted == predictions.targets))


def test_evaluate_matches_classes_by_name_where_one_is_absent(
    transfer_run: Path, photos: Path, call: Callable, tmp_path: Path
) -> None:
    some = Path(shutil.copytree(photos, tmp_path / "some"))
    first, *others = sorted(p.name for p in some.iterdir())
    shutil.rmtree(some / first)
    assert call("evaluate", transfer_run, some, "--threads", "1", "--out", tmp_path / "some-scores").code == 0
    assert call("evaluate", transfer_run, photos, "--threads", "1", "--out", tmp_path / "all-scores").code == 0
    found, every = (Predictions.load(tmp_path / f"{n}-scores" / "predictions.csv") for n in ("some", "all"))
    expected = {
        path: (probs, target) for path, probs, target in zip(every.paths, every.probs, every.targets, strict=True)
    }
    assert {path.split("/")[0] for path in found.paths} == set(others)
    for path, probs, target in zip(found.paths, found.probs, found.targets, strict=True):
        assert found.classes[target] == path.split("/")[0]
        assert np.allclose(probs, expected[path][0], atol=1e-5)
        assert target == expected[path][1]


def test_evaluate_refuses_a_class_that_the_bundle_does_not_know(
    transfer_run: Path, photos: Path, call: Callable, tmp_path: Path
) -> None:
    some = Path(shutil.copytree(photos, tmp_path / "some"))
    names = sorted(p.name for p in some.iterdir())
    (some / names[0]).rename(some / "quercus")
    call("evaluate", transfer_run, some, "--threads", "1").refused(3, "quercus", names[0], "Rename")
