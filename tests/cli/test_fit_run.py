"""What a run leaves: every artefact, a state, a page without outside resources, and a recipe that makes it again."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budwood.data.ledger import read_catalog
from budwood.evaluation.predictions import Predictions
from budwood.export.bundle import load
from budwood.recipe import load_recipe, parse_recipe

TINY = ("--tiny", "--threads", "1")
ARTEFACTS = [
    "recipe.toml",
    "command.txt",
    "environment.json",
    "catalog.csv",
    "findings.json",
    "split.json",
    "status.json",
    "history.csv",
    "metrics.json",
    "training.json",
    "warnings.jsonl",
    "predictions/val.csv",
    "predictions/test.csv",
    "report.html",
    "manifest.json",
    "bundle/README.md",
    "bundle/bundle.json",
    "bundle/golden.json",
    "bundle/golden/1.png",
    "bundle/golden/2.png",
    "bundle/golden/3.png",
    "bundle/manifest.json",
    "bundle/model.safetensors",
]


@pytest.mark.parametrize("name", ["transfer_run", "probe_run"])
def test_a_run_holds_every_artefact_and_nothing_else(name: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(name)
    found = sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file())
    assert found == sorted(ARTEFACTS)
    assert all((run / artefact).stat().st_size for artefact in ARTEFACTS)


def test_a_finished_run_is_done_and_tells_its_steps(transfer_run: Path) -> None:
    status = json.loads((transfer_run / "status.json").read_text())
    assert status["state"] == "done"
    assert {"scan", "audit", "features", "head", "fine-tune", "evaluate"} <= {step["name"] for step in status["steps"]}
    assert all(step["seconds"] >= 0 for step in status["steps"])


def test_the_metrics_agree_with_the_stored_predictions(transfer_run: Path) -> None:
    metrics = json.loads((transfer_run / "metrics.json").read_text())
    predictions = Predictions.load(transfer_run / "predictions" / "test.csv")
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(np.mean(predictions.predicted == predictions.targets))
    assert {b["name"] for b in metrics["baselines"]} == {"majority class", "all-zero input"}
    assert len(metrics["selection"]) == 2
    assert np.allclose(predictions.probs.sum(axis=1), 1, atol=1e-6)


def test_parts_are_disjoint_and_hold_every_picture(transfer_run: Path, photos: Path) -> None:
    parts = json.loads((transfer_run / "split.json").read_text())["parts"]
    listed = [path for paths in parts.values() for path in paths]
    catalog = read_catalog(transfer_run / "catalog.csv", photos)
    assert sorted(listed) == sorted(record.path for record in catalog.records)
    assert sorted(listed) == sorted(p.relative_to(photos).as_posix() for p in photos.glob("*/*.jpg"))


def test_a_tiny_run_says_that_its_scores_mean_nothing(transfer_run: Path) -> None:
    assert "the scores mean nothing" in (transfer_run / "warnings.jsonl").read_text()
    assert "the scores mean nothing" in (transfer_run / "report.html").read_text()


@pytest.mark.parametrize("name", ["transfer_run", "probe_run"])
def test_the_report_fetches_nothing(name: str, request: pytest.FixtureRequest) -> None:
    page = (request.getfixturevalue(name) / "report.html").read_text()
    sources = re.findall(r"""(?:src|href|action|poster|srcset)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "url(" not in page.replace("url(#", "")
    assert "@import" not in page
    assert "<script src" not in page
    assert "Content-Security-Policy" in page


def test_the_recipe_in_the_run_is_the_one_that_ran(transfer_run: Path) -> None:
    stored = parse_recipe((transfer_run / "recipe.toml").read_text(), source="run")
    assert stored == load_recipe("transfer", tiny=True)
    assert stored == load_recipe(str(transfer_run / "recipe.toml"))


def test_the_report_can_be_made_again(call: Callable, probe_run: Path, copied_run: Path) -> None:
    page = (probe_run / "report.html").read_text().replace(str(probe_run), str(copied_run))
    (copied_run / "report.html").unlink()
    assert call("report", copied_run).code == 0
    again = (copied_run / "report.html").read_text()
    without_time = re.compile(r"<b>[^<]*</b> in all")  # the first page cannot know how long its own writing takes
    assert without_time.sub("", again) == without_time.sub("", page)
    assert call("verify", copied_run).code == 0


def test_the_report_of_no_run_or_an_unfinished_one_is_refused(call: Callable, copied_run: Path, photos: Path) -> None:
    call("report", photos).refused(2, "is no run", "budwood fit")
    status = copied_run / "status.json"
    status.write_text(status.read_text().replace('"done"', '"interrupted"'))
    call("report", copied_run).refused(2, "interrupted", "not done")


def test_a_refitted_run_ships_other_weights_than_it_scored(call: Callable, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    outcome = call("fit", photos, "--recipe", "transfer", *TINY, "--refit", "--out", out)
    assert outcome.code == 0, outcome.text
    assert "trained on all parts" in outcome.text
    shipped, scored = (out / name / "model.safetensors" for name in ("bundle", "bundle-scored"))
    assert shipped.read_bytes() != scored.read_bytes()
    stored = Predictions.load(out / "predictions" / "test.csv")
    again = load(out / "bundle-scored").predict([photos / path for path in stored.paths])
    assert np.allclose(stored.probs, again.probs, atol=1e-5)
    assert json.loads((out / "metrics.json").read_text())["scored"] == "bundle-scored"
    assert re.search(r"all parts|all pictures|refit", (out / "report.html").read_text())
    assert call("verify", out).code == 0


def test_folds_answer_every_picture_once(call: Callable, photos: Path, tmp_path: Path) -> None:
    outcome = call("fit", photos, *TINY, "--folds", "3", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.text
    assert "cross-validated" in outcome.text
    with (tmp_path / "run" / "predictions" / "cross-validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["path"] for row in rows) == sorted(p.relative_to(photos).as_posix() for p in photos.glob("*/*"))
    assert all(row["target"] == row["path"].split("/")[0] for row in rows)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["cross_validation"]
    right = np.mean([row["target"] == row["predicted"] for row in rows])
    assert len(scores["folds"]) == 3
    assert scores["accuracy"]["value"] == pytest.approx(right)
