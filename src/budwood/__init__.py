"""Budwood: a folder of labelled pictures in, an image classifier that can be trusted out.

    import budwood

    run = budwood.fit("photos/", recipe="probe")
    print(run.metrics["test"]["accuracy"], run.report)
    answers = budwood.load(run.bundle).predict(["new.jpg"])

Importing this package imports no torch; the names below are fetched when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budwood.comparing import compare_runs
    from budwood.data.audit import AuditResult, audit
    from budwood.data.cleaning.clean import clean
    from budwood.data.cleaning.clean_spec import CleanSpec
    from budwood.data.records import Catalog, Finding, ImageRecord
    from budwood.data.scan import scan
    from budwood.data.split import SplitSpec, check_split, split, split_folds
    from budwood.data.split_nouns import Split
    from budwood.data.store import PictureStore
    from budwood.ensembling import combine
    from budwood.errors import BudwoodError
    from budwood.estimator import BudwoodClassifier
    from budwood.evaluation.compare import paired_difference
    from budwood.evaluation.metrics import Metrics
    from budwood.evaluation.predictions import Predictions
    from budwood.export.bundle import Bundle, load
    from budwood.herbarium import draw_herbarium
    from budwood.judge import evaluate, predict
    from budwood.multiplication import multiply
    from budwood.recipe import Recipe
    from budwood.runs import Run
    from budwood.sweeping import sweep
    from budwood.systems import fit

_HOMES = {
    "AuditResult": "budwood.data.audit",
    "BudwoodClassifier": "budwood.estimator",
    "BudwoodError": "budwood.errors",
    "Bundle": "budwood.export.bundle",
    "Catalog": "budwood.data.records",
    "CleanSpec": "budwood.data.cleaning.clean_spec",
    "Finding": "budwood.data.records",
    "ImageRecord": "budwood.data.records",
    "Metrics": "budwood.evaluation.metrics",
    "PictureStore": "budwood.data.store",
    "Predictions": "budwood.evaluation.predictions",
    "Recipe": "budwood.recipe",
    "Run": "budwood.runs",
    "Split": "budwood.data.split_nouns",
    "SplitSpec": "budwood.data.split",
    "audit": "budwood.data.audit",
    "check_split": "budwood.data.split",
    "clean": "budwood.data.cleaning.clean",
    "combine": "budwood.ensembling",
    "compare_runs": "budwood.comparing",
    "draw_herbarium": "budwood.herbarium",
    "evaluate": "budwood.judge",
    "fit": "budwood.systems",
    "load": "budwood.export.bundle",
    "multiply": "budwood.multiplication",
    "paired_difference": "budwood.evaluation.compare",
    "predict": "budwood.judge",
    "scan": "budwood.data.scan",
    "split": "budwood.data.split",
    "split_folds": "budwood.data.split",
    "sweep": "budwood.sweeping",
}

__all__ = [
    "AuditResult",
    "BudwoodClassifier",
    "BudwoodError",
    "Bundle",
    "Catalog",
    "CleanSpec",
    "Finding",
    "ImageRecord",
    "Metrics",
    "PictureStore",
    "Predictions",
    "Recipe",
    "Run",
    "Split",
    "SplitSpec",
    "audit",
    "check_split",
    "clean",
    "combine",
    "compare_runs",
    "draw_herbarium",
    "evaluate",
    "fit",
    "load",
    "multiply",
    "paired_difference",
    "predict",
    "scan",
    "split",
    "split_folds",
    "sweep",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'budwood' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
