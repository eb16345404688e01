"""Why, drift and doubts of a real, small run: what it keeps, what its page shows, what a review gets of it."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.cache import pictures_folder
from budwood.cli import drift as drift_command
from budwood.cli import explain as explain_command
from budwood.data.records import Finding
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.doubting import doubts_of_run, findings_for_review
from budwood.drifting import drift
from budwood.errors import DataError, IntegrityError, UsageError
from budwood.evaluation.controls import CONTROLS, ExplainSpec
from budwood.evaluation.predictions import Predictions
from budwood.explaining import chosen_rows, explain_saved_run
from budwood.explaining_pictures import explain_pictures
from budwood.files import read_json
from budwood.herbarium import SPECIES, draw_herbarium
from budwood.page import report_data, write_report
from budwood.reference import load_reference, reference_set
from budwood.runs import RunDir
from budwood.systems import fit

SETTINGS = (
    "model.backbone=test_efficientnet",
    "model.pretrained=false",
    "model.size=32",
    "audit.opinion=false",
    "split.val=0.35",
    "predict.views=2",
    "train.views=2",
    "explain.controls=false",
    "explain.cams=0",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    return draw_herbarium(folder, seed=5, num_pictures=120, size=32, species=SPECIES[:3], faults=False).photos


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> RunDir:
    """A head on an untrained network, explained: an answer is rarely sure, which is all that is needed here."""
    place = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        made = fit(drawn, recipe="probe", overrides=SETTINGS, threads=1, out=place / "run").folder
    explain_saved_run(made, store_of(made), spec=ExplainSpec(cams=4))
    made.seal()
    return made


def store_of(run: RunDir) -> PictureStore:
    side = int(read_json(run.training)["preprocess"]["store_side"])
    return PictureStore(pictures_folder(Path(read_json(run.environment)["photos"]), side=side), side=side)


def val_files(run: RunDir, drawn: Path) -> list[Path]:
    return [drawn / path for path in Predictions.load(run.predictions("val")).paths]


def test_a_run_keeps_controls_maps_and_a_reference(run: RunDir) -> None:
    data = report_data(run, store_of(run))
    assert data.why is not None
    assert data.why.controls is not None
    assert [row.name for row in data.why.controls.results] == [control.name for control in CONTROLS]
    answers = Predictions.load(run.predictions("val"))
    assert data.why.controls.num_pictures == len(answers)
    assert len(data.why.right) == min(4, int((answers.predicted == answers.targets).sum()))
    for item in (*data.why.wrong, *data.why.right):
        assert item.picture is not None
        assert len(item.maps) == (1 if item in data.why.right else 2)
        assert all(shown.image for shown in item.maps)
    assert run.verify() == []


def test_the_report_is_made_without_the_model(run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copied = RunDir(tmp_path / "run")
    shutil.rmtree(copied.bundle)
    write_report(copied, store_of(copied))
    page = copied.report.read_text(encoding="utf-8")
    assert "Why it answers so" in page
    assert "Grad-CAM over" in page
    assert "--run" in page, "the doubts are one command away"


def test_a_damaged_reference_is_refused(run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    place = tmp_path / "run" / "explain" / "reference.safetensors"
    place.write_bytes(place.read_bytes()[:200])
    with pytest.raises(IntegrityError, match="budwood explain"):
        load_reference(RunDir(tmp_path / "run"))


def test_the_reference_is_what_the_bundle_makes_of_these_pictures_now(run: RunDir, drawn: Path) -> None:
    """The same files, decoded, measured and answered again, are the same rows: nothing else is compared later."""
    found = drift(run.path, val_files(run, drawn)).described
    known = reference_set(run)
    order = [found.pictures.paths.index(str(drawn / path)) for path in known.paths]
    assert np.allclose(found.pictures.features[order], known.features, rtol=2e-3, atol=2e-3)
    assert np.allclose(found.pictures.probs[order], known.probs, atol=1e-5)
    assert np.array_equal(found.pictures.targets[order], known.targets)
    for name, values in known.measures.items():
        assert np.allclose(found.pictures.measures[name][order], values, atol=1e-3), name


def test_other_pictures_of_the_same_kind_do_not_drift_and_dark_ones_do(run: RunDir, tmp_path: Path) -> None:
    fresh = draw_herbarium(tmp_path / "a", seed=6, num_pictures=60, size=32, species=SPECIES[:3], faults=False).photos
    same = drift(run.path, fresh).drift
    assert same.new_accuracy is not None, "folders are called like the classes"
    for file in fresh.rglob("*.*"):
        image = Image.open(file).convert("RGB")
        image.point(lambda value: value // 3).save(file.with_suffix(".png"))
        if file.suffix != ".png":
            file.unlink()
    dark = drift(run.path, fresh).drift
    assert dark.separation.auc > same.separation.auc
    assert dark.separation.is_seen
    assert dark.measures[0].name == "brightness"


def test_a_bundle_needs_pictures_to_compare_with(run: RunDir, drawn: Path) -> None:
    with pytest.raises(UsageError, match="--against"):
        drift(run.bundle, drawn)
    assert drift(run.bundle, drawn, against=drawn).drift.num_reference == 120


def test_a_handful_of_pictures_tells_nothing(run: RunDir, drawn: Path) -> None:
    with pytest.raises(DataError, match="fewer than 20"):
        drift(run.path, val_files(run, drawn)[:3])


def test_doubts_of_a_run_are_findings_of_a_review(run: RunDir, drawn: Path, tmp_path: Path) -> None:
    doubted = doubts_of_run(run)
    catalog = scan(drawn, store=PictureStore(tmp_path / "store", side=64))
    found = findings_for_review(run, catalog)
    assert [finding.paths for finding in found] == [(each.path,) for each in doubted]
    assert all(isinstance(finding, Finding) and finding.check == "doubt" for finding in found)
    wrong = [each for each in doubted if "contradicts the label" in each.doubt.reasons]
    assert [each.doubt.suggestion != "" for each in wrong] == [
        each.doubt.reasons[0] == "contradicts the label" for each in wrong
    ]
    elsewhere = draw_herbarium(tmp_path / "o", seed=8, num_pictures=24, size=32, species=SPECIES[3:5], faults=False)
    other = scan(elsewhere.photos, store=PictureStore(tmp_path / "store2", side=64))
    with pytest.raises(UsageError, match="the photos that it was fitted on"):
        findings_for_review(run, other)


def test_new_pictures_are_explained_the_doubtful_first(run: RunDir, drawn: Path) -> None:
    files = val_files(run, drawn)[:12]
    found = explain_pictures(run.path, files, limit=5)
    assert len(found.shown) == 5
    assert len(found.names) == 12
    expected = [found.names[doubt.row] for doubt in found.doubts][:5]
    assert [item.path for item in found.shown][: len(expected)] == expected
    assert all(len(item.maps) == 2 and item.true for item in found.shown)
    assert found.places == 2, "32 px are 2 x 2 places in this network"


def test_the_commands_write_pages_and_tables(
    run: RunDir, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, table, other, numbers = (tmp_path / name for name in ("w.html", "d.csv", "drift.html", "drift.json"))
    explain_command.run(run.path, val_files(run, drawn)[:8], out=page, doubts=table, limit=4, threads=1)
    assert "deserve a look" in capsys.readouterr().out
    with table.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "score", "reasons", "evidence", "suggestion"]
    drift_command.run(run.path, val_files(run, drawn), html=other, json=numbers, threads=1)
    assert "validation pictures" in capsys.readouterr().out
    for file in (page, other):
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"<script|https?:", text)
        assert text.count("data:image/jpeg") >= 4
    assert len(read_json(numbers)["unusual"]) == 24


def test_right_answers_of_every_class_are_shown() -> None:
    targets = np.repeat([0, 1, 2], [50, 5, 2])
    probs = np.eye(3, dtype=np.float32)[targets]
    probs[7] = (0.2, 0.8, 0.0)
    paths = tuple(map(str, range(57)))
    answers = Predictions(probs=probs, targets=targets, paths=paths, classes=("a", "b", "c"))
    wrong, right = chosen_rows(answers, count=6, seed=0)
    assert wrong == [7]
    assert sorted(targets[right]) == [0, 0, 1, 1, 2, 2]
