"""What the report's page shows, as values. No model is run here, and nothing is read from disk.

Whoever fills a `ReportData` (the pipeline) decides what is shown; `report/html.py` decides how. Every part
but the title may be left out, and the page is then about the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from budwood.data.records import Severity
from budwood.evaluation.metrics import Estimate, Metrics
from budwood.evaluation.predictions import Predictions
from budwood.report.comparison import ComparisonView
from budwood.report.judging_view import JudgingView
from budwood.report.training_data import TrainingView
from budwood.report.why_view import WhyView


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to show: its record id, JPEG, PNG, GIF or WebP bytes (None: only the caption), and its class.

    Thumbnails of 128-192 px as JPEG keep a page of some 480 pictures below 3 MB.
    """

    path: str
    image: bytes | None = None
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the run. ``note`` is a few words, such as ``"310 images/s"``; ``cached``: not made anew."""

    name: str
    seconds: float
    note: str = ""
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A line to type next, and what it is for."""

    purpose: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSummary:
    """One class: its pictures in each of ``DatasetSummary.parts``, and some examples."""

    name: str
    counts: tuple[int, ...]
    examples: tuple[Picture, ...] = ()

    @property
    def total(self) -> int:
        """Pictures of this class in all parts."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """The pictures at a glance. ``sizes`` is a sentence; ``ignored`` names the files passed over."""

    num_pictures: int
    classes: tuple[ClassSummary, ...]
    parts: tuple[str, ...] = ("all",)
    sizes: str = ""
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """What one check of the audit found: the evidence in words, and some of the ``total`` that it found.

    ``pictures`` are found each for itself; ``sets`` are pictures found together, such as near-duplicates, and
    are shown side by side. ``total`` counts pictures in the one case and sets in the other.
    """

    check: str
    severity: Severity
    evidence: str
    pictures: tuple[Picture, ...] = ()
    sets: tuple[tuple[Picture, ...], ...] = ()
    total: int = 0

    @property
    def num_shown(self) -> int:
        """How many of ``total`` the page shows."""
        return len(self.pictures) + len(self.sets)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """How the pictures were divided. ``examples`` are tied groups, each of which was kept in one part."""

    counts: tuple[tuple[str, int], ...]
    num_groups: int = 0
    num_grouped_pictures: int = 0
    examples: tuple[tuple[Picture, ...], ...] = ()
    sentence: str = "Near-duplicates and pictures of one group never straddle two parts."


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The network that came out, and where its first weights are from."""

    backbone: str
    input_size: int
    num_parameters: int
    num_views: int = 1
    size_reason: str = ""
    weights_source: str = ""
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionScore:
    """A score that something was chosen by. ``kind`` says how it was made and that it is no test."""

    name: str
    value: float
    kind: str = "cross-validated on the training part; used to choose, so it is optimistic"
    deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a trivial answer scores on the same test part."""

    name: str
    accuracy: Estimate
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """The whole fit done once a fold: each fold's accuracy, and all out-of-fold answers pooled."""

    fold_accuracies: tuple[float, ...]
    pooled: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The scores of the test part. ``refit``: the shipped weights then learnt from all parts."""

    metrics: Metrics
    predictions: Predictions | None = None
    selection: tuple[SelectionScore, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    refit: bool = False
    cross_validation: CrossValidation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A picture of the test part with the answer it got; ``top`` holds the likeliest classes, best first."""

    picture: Picture
    true: str
    top: tuple[tuple[str, float], ...]

    @property
    def predicted(self) -> str:
        """The answer that was given."""
        return self.top[0][0] if self.top else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """All of one run's page. ``title`` names the folder of photos; ``machine`` holds (name, value) lines."""

    title: str
    recipe: str = ""
    command: str = ""
    seed: int | None = None
    when: str = ""
    version: str = ""
    machine: tuple[tuple[str, str], ...] = ()
    total_seconds: float | None = None
    steps: tuple[Step, ...] = ()
    dataset: DatasetSummary | None = None
    findings: tuple[FindingGroup, ...] = ()
    orientation: str = ""
    split: SplitSummary | None = None
    training: TrainingView = field(default_factory=TrainingView)
    model: ModelCard | None = None
    result: Result | None = None
    mistakes: tuple[Judged, ...] = ()
    unsure: tuple[Judged, ...] = ()
    judging: JudgingView | None = None
    why: WhyView | None = None
    comparison: ComparisonView | None = None
    warnings: tuple[str, ...] = ()
    next_commands: tuple[Command, ...] = ()
