"""From an ensemble's run folder to its page; no model is run. What the page shows is `report/ensemble_page.py`'s."""

from __future__ import annotations

from typing import Any

from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.files import read_json, write_text
from budwood.report.ensemble_page import ensemble_view, render_ensemble
from budwood.runs import RunDir


def is_ensemble(run: RunDir) -> bool:
    """Whether `ensembling.combine` made this run."""
    return run.metrics.is_file() and "ensemble" in read_json(run.metrics)


def write_ensemble_report(run: RunDir) -> None:
    """Render ``report.html`` of an ensemble from its folder."""
    metrics: dict[str, Any] = read_json(run.metrics)
    environment, status = read_json(run.environment), run.read_status()
    found = metrics["ensemble"]
    command = run.command.read_text(encoding="utf-8").strip()
    view = ensemble_view(
        found,
        summarise(Predictions.load(run.predictions("test")), seed=int(found["seed"])),
        title=f"{len(found['score']['members'])} models on {environment['photos'].rstrip('/').rpartition('/')[2]}",
        looks=metrics.get("looks", "not counted"),
        command=command,
        commands=(
            ("Name new pictures", f"budwood predict {run.bundle} PICTURES --out answers.csv"),
            ("Score a labelled folder", f"budwood evaluate {run.bundle} FOLDER"),
            ("Check that nothing was changed", f"budwood verify {run.path}"),
        ),
        warnings=run.read_warnings(),
        when=status["started"].replace("T", " "),
        version=environment["versions"]["budwood"],
    )
    write_text(run.report, render_ensemble(view))
