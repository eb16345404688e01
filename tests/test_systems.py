"""Cascade, one-class detector and synthesis: from pictures to a page and a bundle, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.cli.system_summary import print_system
from budwood.data.decode import decode_file
from budwood.data.scan import scan
from budwood.errors import IntegrityError, SettingsError, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.events import Event, StepAdvanced
from budwood.export.bundle import load
from budwood.one_class import load_detector
from budwood.recipe import load_recipe, parse_recipe
from budwood.runs import Run, RunDir
from budwood.system_page import write_system_report
from budwood.systems import SYSTEMS, fit


def classes_of(photos: Path) -> list[str]:
    return sorted(entry.name for entry in photos.iterdir() if entry.is_dir())


def run_of(photos: Path, system: str, folder: Path) -> Run:
    """A tiny run of a system, with its first class as the one that matters."""
    first = classes_of(photos)[0]
    overrides = [f"system={system}", f"cascade.first={first}", f"one_class.normal={first}"]
    return fit(photos, recipe="probe", overrides=overrides, tiny=True, out=folder, threads=1)


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("systems")
    return {name: run_of(photos, name, folder / name) for name in SYSTEMS}


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_every_system_leaves_a_sealed_run_with_scores_and_a_page(runs: dict[str, Run], system: str) -> None:
    run = runs[system]
    assert run.folder.verify() == []
    assert run.folder.read_status()["state"] == "done"
    assert not run.folder.checkpoints.exists()
    assert run.metrics["test"]["num_pictures"] == len(run.predictions)
    text = run.report.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert parse_recipe(run.folder.recipe.read_text(), source="x").system == system


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_the_page_is_made_again_from_the_folder_to_the_byte(runs: dict[str, Run], system: str) -> None:
    before = runs[system].report.read_bytes()
    write_system_report(runs[system].folder)
    assert runs[system].report.read_bytes() == before


def test_a_cascade_ships_as_a_bundle_that_answers_as_it_was_scored(runs: dict[str, Run], photos: Path) -> None:
    run = runs["cascade"]
    bundle, scored = load(run.bundle), run.predictions
    assert bundle.facts.kind == "cascade"
    assert bundle.classes == tuple(classes_of(photos))
    answers = bundle.predict([photos / path for path in scored.paths])
    assert answers.probs == pytest.approx(scored.probs, abs=1e-4)
    assert answers.probs.sum(axis=1) == pytest.approx(np.ones(len(answers)), abs=1e-5)


def test_a_cascade_is_compared_with_a_plain_model_on_the_same_pictures(runs: dict[str, Run]) -> None:
    run = runs["cascade"]
    plain = Predictions.load(run.folder.predictions("test-single"))
    found = run.metrics["cascade"]
    assert plain.paths == run.predictions.paths
    assert found["against_single"]["num_pictures"] == len(plain)
    assert [each["num_pictures"] for each in found["decisions"]] == [3, 2]


def test_a_detector_comes_back_from_its_run_and_scores_as_it_did(runs: dict[str, Run], photos: Path) -> None:
    run = runs["one-class"]
    detector = load_detector(run.path)
    images = [decode_file(photos / path).image for path in run.predictions.paths]
    judged = detector.scores(images) > detector.threshold
    assert judged.tolist() == (run.predictions.predicted == 1).tolist()
    assert detector.normal == classes_of(photos)[0]
    names = [score["name"] for score in run.metrics["one_class"]["detection"]["scores"]]
    assert names == ["autoencoder", "nearest normal pictures", "Mahalanobis distance", "classifier with labels"]


def test_a_detector_that_was_changed_is_refused(photos: Path, runs: dict[str, Run], tmp_path: Path) -> None:
    copy = tmp_path / "detector"
    shutil.copytree(runs["one-class"].path / "system" / "detector", copy)
    facts = copy / "detector.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "threshold": 1e9}))
    with pytest.raises(IntegrityError, match=r"detector\.json was changed"):
        load_detector(copy)


def test_synthesis_leaves_a_sheet_for_each_epoch_and_pictures_that_budwood_reads(runs: dict[str, Run]) -> None:
    run = runs["synthesis"]
    sheets = sorted((run.path / "system" / "sheets").iterdir())
    assert [sheet.name for sheet in sheets] == ["epoch-0001.png", "epoch-0002.png"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.size[0] > 500
    catalog = scan(run.path / "system" / "painted.npz")
    assert set(catalog.counts().values()) == {8}
    arms = run.metrics["synthesis"]["arms"]
    assert [(arm["num_real"] > 0, arm["num_painted"] > 0) for arm in arms] == [
        (True, False),
        (True, True),
        (False, True),
    ]


def test_no_painted_or_trained_picture_is_of_the_test_part(runs: dict[str, Run]) -> None:
    for run in runs.values():
        split = json.loads(run.folder.split.read_text())
        assert set(run.predictions.paths) == set(split["parts"]["test"])


def test_a_synthesis_that_was_stopped_goes_on_to_the_same_pictures(
    runs: dict[str, Run], photos: Path, tmp_path: Path
) -> None:
    passed = 0

    def stop(event: Event) -> None:
        nonlocal passed
        if isinstance(event, StepAdvanced) and event.step == "GAN":
            passed += event.count
            if passed > 35:  # in the second epoch of 30 pictures
                raise RuntimeError("stopped")

    settings = {
        "recipe": "probe",
        "overrides": ["system=synthesis"],
        "tiny": True,
        "out": tmp_path / "run",
        "threads": 1,
    }
    with pytest.raises(RuntimeError, match="stopped"):
        fit(photos, **settings, listen=stop)
    assert RunDir(tmp_path / "run").read_status()["state"] == "failed"
    again = fit(photos, **settings, resume=True)
    for name in ("painted.npz", "sheets/epoch-0001.png", "sheets/epoch-0002.png"):
        assert (again.path / "system" / name).read_bytes() == (runs["synthesis"].path / "system" / name).read_bytes()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["system=cascade"], r"cascade\.first=CLASS"),
        (["system=cascade", "cascade.first=nosuch"], "give some of them"),
        (["system=one-class"], "no class is named"),
        (["system=one-class", "one_class.normal=nosuch"], '"nosuch" is none of'),
        (["system=synthesis", 'model.top=["dense 8"]'], "linear heads"),
        (["system=cascade", "split.folds=3"], "one split"),
    ],
    ids=["no tree", "wrong class", "no normal class", "wrong normal class", "a top", "folds"],
)
def test_settings_that_do_not_fit_are_told(photos: Path, tmp_path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        fit(photos, recipe="probe", overrides=overrides, tiny=True, out=tmp_path / "run", threads=1)


@pytest.mark.parametrize("option", [{"compare": "balance"}, {"devices": 2}, {"tensorboard": "x"}])
def test_options_of_a_single_classifier_are_refused(photos: Path, tmp_path: Path, option: dict[str, object]) -> None:
    recipe = load_recipe("probe", overrides=["system=synthesis"], tiny=True)
    with pytest.raises(UsageError, match=f"--{next(iter(option))} is for a single classifier"):
        fit(photos, recipe=recipe, out=tmp_path / "run", threads=1, **option)


@pytest.mark.parametrize(
    ("system", "said"),
    [("cascade", "one plain model"), ("one-class", "AUROC"), ("synthesis", "real test pictures")],
)
def test_the_command_says_what_a_system_found_and_where_its_page_is(
    runs: dict[str, Run], system: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_system(runs[system])
    out = capsys.readouterr().out
    assert said in out
    assert str(runs[system].report) in out
    assert ("bundle  " in out) == (system != "one-class")
