"""An ensemble's page: one file, hostile names escaped, what was chosen and what it cost said."""

from __future__ import annotations

import numpy as np
import pytest

from budwood.evaluation.joining import align_tables, choose_joining
from budwood.evaluation.joining_score import score_ensemble
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.report.ensemble_page import ensemble_view, render_ensemble

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egpj.exe"]


def page(names: tuple[str, ...], *, classes: tuple[str, ...] = ("a", "b")) -> str:
    """The page of members that know two classes, more and less well."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, 80)
    answers = []
    for number in range(len(names)):
        own = 0.5 + (0.35 - 0.1 * number) * (2 * targets - 1) + 0.2 * generator.normal(size=80)
        own = np.clip(own, 0.02, 0.98)
        probs = np.stack([1 - own, own], axis=1).astype(np.float32)
        answers.append(Predictions(probs=probs, targets=targets, paths=tuple(map(str, range(80))), classes=classes))
    tables, first = align_tables(answers, names=names)
    joining = choose_joining(tables, targets, method="complementary")
    whole = Predictions(probs=joining.answer(tables), targets=targets, paths=first.paths, classes=classes)
    score = score_ensemble(
        whole,
        members=answers,
        chosen_by=answers,
        names=names,
        used=[i in joining.members for i in range(len(names))],
        weights=[None] * len(names),
        seconds=[0.01] * len(names),
    )
    found = {
        "accuracy": 0.8,
        "words": score.words,
        "joining": joining.to_dict(),
        "score": score.to_dict(),
        "chosen_on": "the validation part",
    }
    view = ensemble_view(
        found,
        summarise(whole),
        title=names[0],
        looks="looked at once",
        command=f"budwood ensemble {names[0]}",
        commands=(("Name new pictures", f"budwood predict {names[0]}"),),
        warnings=(f"{names[0]} was changed",),
        when="2026-01-01",
        version="1.0",
    )
    return render_ensemble(view)


def test_it_is_one_file_that_says_what_was_joined_and_what_it_brought() -> None:
    text = page(("left", "right", "third"))
    for remote in ("<script", "http://", "https://"):
        assert remote not in text
    for words in ("the best member in validation", "complementary", "McNemar", "looked at once", "the ensemble"):
        assert words in text
    assert text.count("left and") + text.count("<bdi>left</bdi> and") >= 2, "every pair of members is listed"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_of_runs_and_classes_are_shown_as_text(hostile: str) -> None:
    text = page((hostile, "right"), classes=(hostile, "b"))
    assert "<script" not in text
    assert "<img src" not in text
    assert "\u202e" not in text
