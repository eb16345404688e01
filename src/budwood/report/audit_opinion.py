"""What a network's opinion adds to the audit page: what is taken for what, and how much tells the class.

Numbers are counted here from the opinion; it is formed, and judged, elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.shortcuts import MIN_PER_CLASS, Score, balanced
from budwood.data.opinion import Opinion
from budwood.data.records import Finding, ImageRecord
from budwood.evaluation.intervals import Interval
from budwood.evaluation.metrics import Estimate
from budwood.report.audit_plots import Clue

_CONFUSIONS = 15
# How `data.checks.shortcuts` words what it found: the clue, the share, the ends of its interval. Percents.
_SHORTCUT = re.compile(r"(.+?) names the class of (\d+) % .*?interval (\d+)-(\d+) %", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """``count`` of the ``total`` pictures of class ``true`` are taken for ``taken_for``."""

    true: str
    taken_for: str
    count: int
    total: int


def _answers(
    records: Sequence[ImageRecord], opinion: Opinion, probs: NDArray[np.float32]
) -> tuple[tuple[str, str], ...]:
    """(label, likeliest class) of each record that the network has seen."""
    labels = {record.path: record.label for record in records}
    taken = probs.argmax(axis=1)
    rows = zip(opinion.paths, taken.tolist(), strict=True)
    return tuple((labels[path], opinion.classes[k]) for path, k in rows if path in labels)


def clues(records: Sequence[ImageRecord], findings: Sequence[Finding], opinion: Opinion) -> tuple[Clue, ...]:
    """How often the whole picture, its border, the clues that the audit found, and guessing name the class right."""
    whole = _score(_answers(records, opinion, opinion.probs))
    if whole is None:
        return ()
    made = [Clue(name="the whole picture", found=_estimate(whole.value, whole.low, whole.high), kind="subject")]
    if opinion.border_probs is not None:
        border = _score(_answers(records, opinion, opinion.border_probs))
        if border is not None:
            made.append(Clue(name="the border alone", found=_estimate(border.value, border.low, border.high)))
    for finding in findings:
        said = _SHORTCUT.match(finding.evidence) if finding.check == "shortcut" else None
        if said and not said[1].startswith("the border alone"):  # that one is drawn in any case
            made.append(Clue(name=said[1], found=_estimate(*(int(said[k]) / 100 for k in (2, 3, 4)))))
    made.append(Clue(name="a guess", found=_estimate(whole.chance, whole.chance, whole.chance), kind="chance"))
    return tuple(made)


def _score(answers: Sequence[tuple[str, str]]) -> Score | None:
    """The score that `shortcuts` gives, on the classes that it asks about."""
    counts = Counter(label for label, _ in answers)
    names = {name: k for k, name in enumerate(sorted(n for n in counts if counts[n] >= MIN_PER_CLASS))}
    asked = [(label, answer) for label, answer in answers if label in names]
    if len(names) < 2:
        return None
    hits = np.array([label == answer for label, answer in asked])
    return balanced(hits, np.array([names[label] for label, _ in asked], np.int64))


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, interval=Interval(low=low, high=high))


def confusions(records: Sequence[ImageRecord], opinion: Opinion) -> tuple[Confusion, ...]:
    """Which classes are taken for which, the largest share first."""
    answers = _answers(records, opinion, opinion.probs)
    totals = Counter(label for label, _ in answers)
    wrong = Counter((label, answer) for label, answer in answers if label != answer)
    made = [Confusion(true=t, taken_for=p, count=n, total=totals[t]) for (t, p), n in wrong.items() if n > 1]
    made.sort(key=lambda row: (-row.count / row.total, row.true, row.taken_for))
    return tuple(made[:_CONFUSIONS])
