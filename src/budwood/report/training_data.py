"""What the report shows of a training, as values: the plan, the curves, what they say, what was kept on the disk.

Who fills them is `report/training_view.py`; the plots are in `report/plots.py` and `report/curves.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from budwood.report.schedule_plot import RateCurve
from budwood.train.history import EpochRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One stage with every setting filled in, in words. ``planned`` is None where no gradient steps are taken."""

    title: str
    trains: str
    parameters: str = ""
    epochs: str = ""
    optimizer: str = ""
    rates: str = ""
    schedule: str = ""
    planned: RateCurve | None = None
    batch_size: str = ""
    augment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSelection:
    """Heads trained with several penalties and scored by cross-validation; ``chosen`` is an index."""

    title: str
    penalties: tuple[float, ...]
    accuracies: tuple[float, ...]
    deviations: tuple[float, ...]
    chosen: int
    num_folds: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpan:
    """The epochs of one stage, first and last, and the one that was kept; ``number`` is its place in the plan."""

    number: int
    title: str
    first: int
    last: int
    best: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """All epochs of gradient training. ``num_validation`` pictures were scored after each; 0: not known."""

    title: str
    rows: tuple[EpochRow, ...]
    stages: tuple[StageSpan, ...] = ()
    num_validation: int = 0
    note: str = ""


Phase = HeadSelection | Curves


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """One thing that the training says: a mark and a word for its kind, a sentence, and how grave it is."""

    mark: str
    word: str
    text: str
    severity: Literal["error", "warning", "info"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """Whether a stage ran on kept activations, and why; ratios are how many times as fast it is, None: not known."""

    stage: str
    kept: bool
    reason: str
    predicted: float | None = None
    real: float | None = None
    num_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """All of a run's training: ``phases`` are drawn one after the other, ``says`` is sorted, gravest first."""

    plan: tuple[PlanRow, ...] = ()
    phases: tuple[Phase, ...] = ()
    says: tuple[Saying, ...] = ()
    caches: tuple[CacheRow, ...] = ()


def sentence(words: str) -> str:
    """``words`` with a capital at the beginning."""
    return f"{words[:1].upper()}{words[1:]}"
