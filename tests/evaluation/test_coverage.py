"""The simulations of benchmarks/coverage.py, small: intervals hold the truth, equal models are not told apart."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


def few(coverage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "BIG", 5_000)
    monkeypatch.setattr(coverage, "MODELS", 4)


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_every_kind_of_interval_holds_the_truth_mostly(coverage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    few(coverage, monkeypatch)
    found = coverage.score_coverage(100, 3, uneven=True, trials=40, seed=1, resamples=100)
    assert len(found) == 19
    for name, share in found.items():
        assert share >= 0.8, name  # 95 % of 40 trials, and four standard errors


def test_equal_models_are_rarely_told_apart(coverage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    few(coverage, monkeypatch)
    found = coverage.pair_coverage(150, 3, uneven=True, trials=40, seed=1, resamples=100)
    for name, share in found.items():
        assert (share <= 0.15) if name.startswith("equal") else (share >= 0.8), name


def test_crossed_intervals_hold_the_truth_mostly(coverage: ModuleType) -> None:
    for name, share in coverage.crossed_coverage(200, trials=150, seed=1).items():
        assert share >= 0.8, name


@pytest.mark.slow
@pytest.mark.parametrize(("pictures", "classes"), [(200, 2), (200, 8), (1000, 8)])
def test_false_positives_are_at_most_6_percent(coverage: ModuleType, pictures: int, classes: int) -> None:
    found = coverage.pair_coverage(pictures, classes, uneven=True, trials=1000, seed=2)
    for name in (
        "equal: McNemar",
        "equal: verdict",
        "equal: accuracy (Tango)",
        "equal: balanced accuracy",
        "equal: macro F1",
    ):
        assert found[name] <= 0.06 + 0.015, name
