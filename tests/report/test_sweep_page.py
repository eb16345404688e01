"""A sweep's page: one file, hostile names escaped, every arm named, the winner's luck said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rivals import Contestant, judge
from budwood.report.sweep_page import ArmRow, SweepView, render_sweep

HOSTILE = "<script>alert(1)</script>"


def view(values: list[object], *, key: str = "train.lr", seeds: int = 1, num_folds: int = 1) -> SweepView:
    """Arms that are right in 90, 80, ... of 100 pictures; the last one failed."""
    targets = np.arange(100) % 2
    contestants = []
    for number, value in enumerate(values[:-1]):
        said = np.where(np.arange(100) < 90 - 10 * number, targets, 1 - targets)
        answers = Predictions(
            probs=np.eye(2, dtype=np.float32)[said],
            targets=targets,
            paths=tuple(map(str, range(100))),
            classes=("a", "b"),
        )
        folds = dict.fromkeys(range(seeds), (0.7,) * num_folds)
        contestants.append(
            Contestant(name=f"{key} {value}", answers=dict.fromkeys(range(seeds), answers), fold_accuracies=folds)
        )
    judgement = judge(contestants, resamples=50)
    rows = []
    for number, value in enumerate(values):
        answered = number < len(contestants)
        rows.append(
            ArmRow(
                number=number,
                name=f"{key} {value}",
                settings={key: value},
                shown={key: str(value)},
                state="finished" if answered else "failed",
                reason="" if answered else f"the loss became nan {HOSTILE}",
                seconds=10.0 / (number + 1),
                trainings=1,
                standing=judgement.standings[number] if answered else None,
            )
        )
    return SweepView(
        title="transfer",
        photos="photos",
        keys=(key,),
        rows=tuple(rows),
        judgement=judgement,
        logarithmic=(),
        borders={"head only": "", "last 1 block": "blocks.6", "whole network": "conv_stem"} if key == "freeze" else {},
        command="budwood sweep photos",
        fit_command="budwood fit photos --set train.lr=0.1",
        when="2026-01-01 12:00",
        version="1.0",
    )


def test_it_is_one_file_that_loads_nothing() -> None:
    page = render_sweep(view([0.1, 0.01, 0.001]))
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<svg") == 4  # two plots, each at two widths


@pytest.mark.parametrize("hostile", [HOSTILE, '"><img src=x onerror=alert(1)>', "\u202egpj.exe"])
def test_values_and_reasons_are_escaped(hostile: str) -> None:
    shown = view([hostile, "b", "c"], key="model.backbone")
    page = render_sweep(replace(shown, title=hostile, fit_command=hostile, command=hostile))
    assert "<script" not in page
    assert "<img src" not in page
    assert "\u202e" not in page


def test_the_winner_its_corrected_score_and_each_rival_are_said() -> None:
    shown = view([0.1, 0.01, 0.001, 1.0])
    page = render_sweep(shown)
    assert "came first with 0.900" in page
    assert f"{100 * shown.judgement.corrected.value:.1f}" in page
    assert page.count("<td") > 8
    assert "the loss became nan" in page
    assert "not touched" in page
    assert shown.fit_command in page


def test_spreads_are_shown_where_there_are_any() -> None:
    plain, spread = render_sweep(view([1, 2, 3])), render_sweep(view([1, 2, 3], seeds=2, num_folds=2))
    assert "± folds" not in plain
    assert "± folds" in spread
    assert "± seeds" in spread


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("train.lr", [1e-5, 1e-4, 1e-2, 1.0]),
        ("model.backbone", ["lite0", "lite1", "lite2", "x"]),
        ("balance.on", [True, False, "x"]),
        ("freeze", ["last 1 block", "whole network", "head only", "x"]),
    ],
)
def test_every_kind_of_setting_is_drawn(key: str, values: list[object]) -> None:
    page = render_sweep(view(values, key=key))
    assert "What each setting did" in page
    for value in values[:-1]:
        assert f"{key} {value}" in page


def test_one_value_is_not_drawn_and_a_cheaper_equal_arm_is_named() -> None:
    one = view([0.1, 1.0])
    assert "What each setting did" not in render_sweep(one)
    close = view([0.1, 0.09, 0.08, 1.0])
    standings = [
        row.standing
        and replace(row.standing, against=row.standing.against and replace(row.standing.against, p=1.0, adjusted_p=1.0))
        for row in close.rows
    ]
    rows = tuple(replace(row, standing=standing) for row, standing in zip(close.rows, standings, strict=True))
    cheaper = replace(close, rows=rows)
    assert cheaper.cheapest is not None
    assert cheaper.cheapest.number == 2
    assert "instead of" in render_sweep(cheaper)


def test_equal_values_give_an_equal_page() -> None:
    assert render_sweep(view([1, 2, 3])) == render_sweep(view([1, 2, 3]))
