"""What a run's bundle carries is what the run found: calibration, scores, golden pictures, and the count of looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budwood.data.split_nouns import PARTS
from budwood.evaluation.calibrate import fit_calibration
from budwood.evaluation.predictions import Predictions
from budwood.export.bundle import load
from budwood.export.golden import read_golden
from budwood.runs import RunDir

TINY = ("--tiny", "--threads", "1")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_stored_answers_are_those_of_the_calibrated_bundle(transfer_run: Path, photos: Path) -> None:
    bundle = load(transfer_run)
    for part in ("val", "test"):
        stored = Predictions.load(RunDir(transfer_run).predictions(part))
        again = bundle.predict([photos / path for path in stored.paths])
        np.testing.assert_allclose(again.probs, stored.probs, atol=1e-6)


def test_the_calibration_is_fitted_on_validation_and_shown_on_the_test_part(transfer_run: Path) -> None:
    known = load(transfer_run).facts.calibration
    assert known is not None
    assert known.fitted_on == "the validation part, which also chose the epoch"
    split = read(transfer_run / "split.json")["parts"]
    assert known.num_pictures == len(split["val"])
    shown = read(transfer_run / "metrics.json")["calibration"]
    assert shown["temperature"] == known.temperature
    assert shown["test"]["num_pictures"] == len(split["test"])
    assert {row["risk"] for row in shown["test"]["thresholds"]} == {t.risk for t in known.thresholds}


def test_a_probe_chooses_nothing_on_validation_and_says_so(probe_run: Path) -> None:
    known = load(probe_run).facts.calibration
    assert known is not None
    assert known.fitted_on == "the validation part"


def test_bundle_and_card_hold_the_scores(probe_run: Path) -> None:
    facts = load(probe_run).facts
    accuracy = read(probe_run / "metrics.json")["test"]["accuracy"]
    assert facts.metrics["test"]["accuracy"] == accuracy
    card = (probe_run / "bundle" / "README.md").read_text(encoding="utf-8")
    assert f"| accuracy | {accuracy['value']:.3f} | {accuracy['interval']['low']:.3f}" in card
    assert len(facts.split) == 64
    split = read(probe_run / "split.json")["counts"]
    assert {part: sum(facts.training["pictures"][part].values()) for part in PARTS} == {
        part: sum(split[part].values()) for part in PARTS
    }


def test_golden_pictures_are_of_the_validation_part_one_of_each_class(probe_run: Path, photos: Path) -> None:
    bundle = load(probe_run)
    kept = read_golden(bundle.folder, num_classes=3)
    assert len(kept) == 3  # the validation part holds one picture of each class
    val = read(probe_run / "split.json")["parts"]["val"]
    answers = bundle.predict([photos / path for path in val]).probs
    for _, probs in kept:
        # a picture kept as PNG is the one that was decoded from JPEG
        assert np.abs(answers - probs).max(axis=1).min() < 1e-5
    np.testing.assert_allclose(bundle.predict([file for file, _ in kept]).probs, [p for _, p in kept], atol=1e-6)


def test_golden_pictures_can_be_left_out(call: Callable, photos: Path, tmp_path: Path) -> None:
    outcome = call("fit", photos, *TINY, "--set", "export.golden=0", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.text
    bundle = tmp_path / "run" / "bundle"
    assert sorted(p.name for p in bundle.iterdir()) == [
        "README.md",
        "bundle.json",
        "manifest.json",
        "model.safetensors",
    ]
    assert "golden" not in (bundle / "README.md").read_text()
    call("fit", photos, *TINY, "--set", "export.golden=9", "--out", tmp_path / "x").refused(2, "export.golden")


@pytest.fixture(scope="module")
def folded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with three folds, refitted."""
    from budwood.cli.main import run

    folder = tmp_path_factory.mktemp("folded") / "run"
    assert run(["fit", str(photos), *TINY, "--folds", "3", "--refit", "--out", str(folder)]) == 0
    return folder


def test_with_folds_the_calibration_knows_no_test_picture(folded: Path) -> None:
    known = load(folded / "bundle-scored").facts.calibration
    assert known is not None
    test = set(Predictions.load(RunDir(folded).predictions("test")).paths)
    pooled = Predictions.load(RunDir(folded).predictions("cross-validation"))
    rows = np.array([path not in test for path in pooled.paths])
    assert 0 < rows.sum() < len(pooled)
    assert known.num_pictures == rows.sum()
    assert "outside the test part, by 2 networks" in known.fitted_on
    # what is stored is calibrated: fitted again, nothing is left to correct
    kept = Predictions(
        probs=pooled.probs[rows],
        targets=np.asarray(pooled.targets)[rows],
        paths=tuple(np.array(pooled.paths)[rows].tolist()),
        classes=pooled.classes,
    )
    again = fit_calibration(kept, fitted_on="x")
    assert again.temperature == pytest.approx(1, abs=0.02)


def test_a_refitted_bundle_says_whose_calibration_and_scores_it_carries(folded: Path) -> None:
    scored, shipped = (load(folded / name).facts for name in ("bundle-scored", "bundle"))
    assert scored.calibration is not None
    assert shipped.calibration is not None
    assert shipped.calibration.temperature == scored.calibration.temperature
    assert "not of this one, which was trained on all parts" in shipped.calibration.fitted_on
    assert "not of this one" in shipped.metrics["note"]
    assert "note" not in scored.metrics
    card = (folded / "bundle" / "README.md").read_text()
    assert "trained on all parts" in card


@pytest.mark.slow
def test_a_look_at_the_test_part_is_counted_but_not_of_a_tiny_run(
    call: Callable, photos: Path, steady: tuple[str, ...], tmp_path: Path
) -> None:
    steady = (*steady, "--set", "predict.views=1", "--set", "train.stages.1.epochs=1")
    assert call("fit", photos, *steady, "--out", tmp_path / "one").code == 0
    assert read(tmp_path / "one" / "metrics.json")["test_looks"] == 1
    call("fit", photos, *steady, "--split", tmp_path / "one" / "split.json", "--seed", 7, "--out", tmp_path / "two")
    found = read(tmp_path / "two" / "metrics.json")
    assert found["test_looks"] == 2
    assert "looked at 2 times" in found["looks"]
    assert "tta" not in found
    assert call("fit", photos, *TINY, "--out", tmp_path / "tiny").code == 0
    assert "test_looks" not in read(tmp_path / "tiny" / "metrics.json")


def test_what_views_bring_is_measured_on_the_test_part(
    call: Callable, photos: Path, steady: tuple[str, ...], tmp_path: Path
) -> None:
    call("fit", photos, *steady, "--set", 'predict.views="flips"', "--set", "predict.average=logits", "--out", tmp_path)
    gain = read(tmp_path / "metrics.json")["tta"]
    assert gain["views"] == 4
    assert gain["all_views"] == read(tmp_path / "metrics.json")["test"]["accuracy"]["value"]
    assert gain["difference"]["value"] == pytest.approx(gain["all_views"] - gain["one_view"])
    facts = load(tmp_path).facts
    assert (len(facts.views), facts.average) == (4, "logits")
