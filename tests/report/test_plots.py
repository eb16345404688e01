from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.report import plots
from budwood.report.curves import training_curves
from budwood.report.data import (
    ClassSummary,
    DatasetSummary,
    ReportData,
    Result,
)
from budwood.report.training_data import HeadSelection

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "$x$ & 漢字 🌿 --> ]]>",
    "line\nbreak\x00 \udc80 \u202etxt",
    "a" * 300,
    "",
)


def texts(svg: str) -> str:
    return " | ".join("".join(element.itertext()) for element in ElementTree.fromstring(svg).iter("text"))


def all_plots(data: ReportData) -> Iterator[str]:
    assert data.dataset is not None
    assert data.result is not None
    for narrow in (False, True):
        yield plots.class_counts(data.dataset, narrow=narrow)
        yield plots.class_scores(data.result.metrics, narrow=narrow)
        yield plots.score_strip(data.result, narrow=narrow)
    yield plots.confusion(data.result.metrics)
    for phase in data.training.phases:
        if isinstance(phase, HeadSelection):
            yield plots.head_selection(phase)
        else:
            yield from (training_curves(phase), training_curves(phase, narrow=True))


def metrics_of(answers: list[int], targets: list[int], classes: tuple[str, ...]) -> Metrics:
    table = Predictions(
        probs=np.eye(len(classes), dtype=np.float32)[answers],
        targets=np.array(targets, dtype=np.int64),
        paths=tuple(map(str, range(len(targets)))),
        classes=classes,
    )
    return summarise(table, resamples=10)


def test_plots_are_the_same_bytes_each_time(make_report: Callable[..., ReportData]) -> None:
    data = make_report(pictures=False)
    assert list(all_plots(data)) == list(all_plots(data))


def test_ids_are_unique_across_plots_and_every_reference_has_one(
    make_report: Callable[..., ReportData],
) -> None:
    ids, references = [], []
    for svg in all_plots(make_report(pictures=False)):
        ids += re.findall(r'\bid="([^"]*)"', svg)
        references += re.findall(r'href="#([^"]*)"', svg) + re.findall(r"url\(#([^)]*)\)", svg)
    assert ids
    assert len(ids) == len(set(ids))
    assert set(references) == set(ids)


def test_text_stays_text_in_the_fonts_and_colours_of_the_page(make_report: Callable[..., ReportData]) -> None:
    for svg in all_plots(make_report(pictures=False)):
        assert "<text" in svg
        assert "font-family" not in svg
        assert "var(--" in svg
        assert "http" not in svg
        assert "<image" not in svg


def test_hostile_names_are_text_and_nothing_else(make_report: Callable[..., ReportData]) -> None:
    known = {"svg", "g", "path", "use", "text", "title", "defs", "clipPath", "rect", "tspan"}
    for svg in all_plots(make_report(HOSTILE, pictures=False)):
        root = ElementTree.fromstring(svg)
        assert {element.tag for element in root.iter()} <= known
        assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
    assert "<script>alert(1)</script>" in texts(next(all_plots(make_report(HOSTILE, pictures=False))))


def test_dollar_signs_are_no_formula(make_metrics: Callable[..., Metrics]) -> None:
    found = metrics_of([0, 1], [0, 1], ("$a$", r"$\frac{$"))
    assert "$a$" in texts(plots.confusion(found))
    assert r"$\frac{$" in texts(plots.class_scores(found))


@pytest.mark.parametrize("num_classes", [2, 12, 50])
def test_confusion_matrix_names_every_class_up_to_50(num_classes: int, make_metrics: Callable[..., Metrics]) -> None:
    svg = plots.confusion(make_metrics(num_classes))
    assert texts(svg).count("class_") == 2 * num_classes


def test_more_than_50_classes_show_the_commonest_confusions_only(
    make_metrics: Callable[..., Metrics],
) -> None:
    found = texts(plots.confusion(make_metrics(60)))
    assert "→" in found
    assert found.count("→") <= 25


def test_hovering_over_a_cell_says_what_it_counts() -> None:
    svg = plots.confusion(metrics_of([0, 1, 1], [0, 0, 1], ("oak", "elm")))
    titles = [element.text for element in ElementTree.fromstring(svg).iter("title")]
    assert titles == ["oak: 1 of 2 named right", "oak: 1 of 2 taken for elm", "elm: 1 of 1 named right"]


def test_weakest_class_is_on_top() -> None:
    found = texts(plots.class_scores(metrics_of([0, 0, 1, 2], [0, 1, 1, 2], ("oak", "elm", "yew"))))
    assert found.index("elm") < found.index("oak") < found.index("yew")


def test_class_without_pictures_and_single_part_can_be_drawn() -> None:
    dataset = DatasetSummary(num_pictures=0, classes=(ClassSummary(name="none", counts=(0,)),))
    assert "none" in texts(plots.class_counts(dataset))


@pytest.mark.parametrize("penalties", [(0.0, 0.1, 1.0), (0.01,), (0.0,)], ids=str)
def test_head_selection_with_a_zero_or_a_single_penalty_can_be_drawn(penalties: tuple[float, ...]) -> None:
    some = tuple(0.5 for _ in penalties)
    phase = HeadSelection(title="t", penalties=penalties, accuracies=some, deviations=some, chosen=0, num_folds=3)
    found = texts(plots.head_selection(phase))
    assert "chosen: 50.0 %" in found
    assert f"{penalties[0]:g}" in found


def test_score_strip_tells_selection_scores_from_the_test(make_report: Callable[..., ReportData]) -> None:
    result = make_report(pictures=False).result
    assert result is not None
    found = texts(plots.score_strip(result))
    assert "this model, test part" in found
    assert "head (to choose)" in found
    assert "commonest class" in found
    alone = texts(plots.score_strip(Result(metrics=replace(result.metrics))))
    assert "to choose" not in alone
