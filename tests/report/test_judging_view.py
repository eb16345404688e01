"""What a score is worth and why, as values: read from what runs of any age wrote, drawn for any number of classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from budwood.errors import IntegrityError
from budwood.evaluation.controls import CONTROLS, judge_controls
from budwood.evaluation.predictions import Predictions
from budwood.report import html, judging_plots
from budwood.report.data import ReportData
from budwood.report.drift_page import measures_plot
from budwood.report.judging_view import judging_view
from budwood.report.why_view import CAMS_NAME, CONTROLS_NAME, why_view

Answers = Callable[..., Predictions]
LEAVES = ("acer", "betula", "fagus", "populus", "quercus", "tilia")


def test_a_run_of_an_earlier_version_shows_what_its_answers_alone_tell(make_answers: Answers) -> None:
    found = judging_view({}, make_answers(LEAVES))
    assert found.calibration is None
    assert found.views is None
    assert found.looks == ""
    assert found.bins
    assert found.curves
    assert [row.name for row in found.residuals] == list(LEAVES)


def test_all_that_was_measured_is_read(
    make_answers: Answers, make_judging_metrics: Callable[[Predictions], dict[str, object]]
) -> None:
    answers = make_answers(LEAVES)
    metrics = json.loads(json.dumps(make_judging_metrics(answers)))
    found = judging_view({**metrics, "test_looks": 3}, answers)
    assert found.calibration is not None
    assert found.calibration.fitted_on == "the validation part"
    assert [row.promised for row in found.calibration.sets] == [0.8, 0.9, 0.95, 0.99]
    assert len(found.calibration.thresholds) == 5
    assert found.views is not None
    assert found.views.num_views == 8
    assert found.looks.startswith("This test part has been looked at 3 times;")


def test_a_second_look_is_not_called_the_only_one(make_report: Callable[..., ReportData]) -> None:
    data = make_report(("a", "b"), pictures=False)
    assert data.judging is not None
    again = replace(data, judging=replace(data.judging, num_looks=4, looks="Looked at 4 times."))
    page = html.render(again)
    assert "Look 4 at this test part" in page
    assert "Measured once" not in page
    assert "Looked at 4 times." in page


@pytest.mark.parametrize("classes", [("one", "two"), tuple(f"class {k}" for k in range(40))], ids=["two", "forty"])
def test_plots_are_drawn_for_few_and_many_classes(classes: tuple[str, ...], make_answers: Answers) -> None:
    found = judging_view({}, make_answers(classes, per_class=5))
    for text in (
        judging_plots.reliability_plot(found.bins),
        judging_plots.risk_plot(found.risks),
        *judging_plots.rank_plots(found.curves),
        judging_plots.residual_plot(found.residuals),
    ):
        assert text.startswith("<svg")
        assert len(text) < 400_000


def test_the_weakest_classes_are_named(make_answers: Answers) -> None:
    found = judging_view({}, make_answers(LEAVES))
    weakest = min(found.curves, key=lambda curve: curve.roc.area.value)
    assert f"{weakest.name} – area {weakest.roc.area.value:.3f}" in judging_plots.rank_plots(found.curves)[0]


def test_why_is_read_from_the_folder_of_a_run(tmp_path: Path, make_answers: Answers, leaf: bytes) -> None:
    assert why_view(tmp_path).is_empty
    answers = make_answers(LEAVES)
    controls = judge_controls(answers, [(CONTROLS[0], answers)], part="validation")
    (tmp_path / CONTROLS_NAME).write_text(json.dumps(controls.to_dict()))
    (tmp_path / "0001.jpg").write_bytes(leaf)
    entry = {
        "path": "a/b.jpg",
        "true": "acer",
        "top": [["acer", 0.9]],
        "picture": "0001.jpg",
        "maps": [["acer", "gone.jpg"]],
    }
    cams = {"part": "validation", "side": 6, "wrong": [], "right": [entry]}
    (tmp_path / CAMS_NAME).write_text(json.dumps(cams))
    found = why_view(tmp_path)
    assert found.controls == controls
    assert found.right[0].picture == leaf
    assert found.right[0].maps[0].image is None


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd"])
def test_pictures_are_read_from_that_folder_only(tmp_path: Path, name: str) -> None:
    entry = {"path": "x", "true": "a", "top": [["a", 1.0]], "picture": name, "maps": []}
    (tmp_path / CAMS_NAME).write_text(json.dumps({"part": "v", "side": 6, "wrong": [entry], "right": []}))
    with pytest.raises(IntegrityError, match="budwood explain"):
        why_view(tmp_path)


def test_no_measures_are_no_error() -> None:
    assert measures_plot(()).startswith("<svg")
