"""Labels that a network does not believe: confident learning on out-of-fold probabilities.

Which pictures are suspects is decided as in Northcutt, Jiang, Chuang, Confident learning: estimating uncertainty in
dataset labels, Journal of Artificial Intelligence Research 70 (2021): a class's threshold is the mean probability that
its own pictures get, and the pictures that lie confidently in another class are counted. That many are named, those
first whose own label is least probable: where wrong labels fall on any other class alike, no order is better.
Nothing is relabelled here; a suspect may be a rare but right example of its class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.judged import judged
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding, Severity

MIN_PICTURES = 5  # of a class: with fewer, the network cannot know it, and each picture would be a suspect
MOST_NAMED = 0.2  # of the pictures: a network that doubts more of the labels does not know these classes
# A label less probable than this is a warning, not a hint. With 5 % of the labels swapped, .69 of such warnings were
# right where the network knows .74 of the labels (field photographs of plants), .94 where it knows .94 (hand signs).
SURE = 0.02

Probs = NDArray[np.float32]
Rows = NDArray[np.int64]


def find_label_errors(catalog: Catalog, opinion: Opinion) -> list[Finding]:
    """One finding per suspect, with the likelier class as its suggestion; the score is the doubt, 0-1."""
    records, rows, labels = judged(catalog, opinion)
    probs = opinion.probs[rows]
    findings = []
    for row in suspect_labels(probs, labels).tolist():
        own, best = float(probs[row, labels[row]]), int(probs[row].argmax())
        name, likelier = opinion.classes[labels[row]], opinion.classes[best]
        severity: Severity = "warning" if own < SURE else "info"
        evidence = (
            f'labelled "{name}" ({_share(own)}); {opinion.backbone or "the network"}, trained without it,'
            f' says "{likelier}" ({_share(float(probs[row, best]))})'
        )
        findings.append(
            Finding(
                check="label_error",
                severity=severity,
                paths=(records[row].path,),
                evidence=evidence,
                score=1.0 - own,
                suggestion=likelier,
            )
        )
    return findings


def suspect_labels(probs: Probs, labels: Rows) -> Rows:
    """The rows whose labels are in doubt, the most doubtful first.

    Args:
        probs: ``[N, K]`` out-of-fold probabilities. labels: ``[N]`` column of each row's label.
    """
    own = probs[np.arange(len(labels)), labels]
    small = np.bincount(labels, minlength=probs.shape[1]) < MIN_PICTURES
    doubted = (probs.argmax(axis=1) != labels) & ~small[labels]
    reached = confident_classes(probs, labels)
    count = int((doubted & (reached >= 0) & (reached != labels)).sum())
    rows = np.flatnonzero(doubted)
    ordered = rows[np.argsort(own[rows], kind="stable")]
    return np.asarray(ordered[: min(count, int(MOST_NAMED * len(labels)))], np.int64)


def confident_classes(probs: Probs, labels: Rows) -> Rows:
    """The most probable of the classes whose threshold a row reaches, ``[N]``; -1 where it reaches none."""
    num_classes = probs.shape[1]
    thresholds = np.full(num_classes, np.inf)
    for k in range(num_classes):
        own = probs[labels == k, k]
        if len(own) >= MIN_PICTURES:
            thresholds[k] = own.mean(dtype=np.float64)
    reached = np.where(probs >= thresholds, probs, -1.0)
    best = reached.argmax(axis=1) if num_classes else np.empty(0, np.int64)
    return np.where(reached.max(axis=1, initial=-1.0) >= 0, best, -1)


def _share(value: float) -> str:
    """A probability as ``.93``; never 1.00 or .00, which nobody can know."""
    if value >= 0.995:
        return "over .99"
    return f"{value:.2f}".lstrip("0") if value >= 0.01 else "under .01"
