"""How the pictures are spread over the classes. What balancing gains is not judged here."""

from __future__ import annotations

from budwood.data.records import Catalog, Finding, Severity

SMALL_CLASS = 10  # pictures: fewer leave one or none for each of val and test
IMBALANCE_INFO, IMBALANCE_WARNING = 3.0, 10.0  # largest class : smallest class


def find_class_counts(catalog: Catalog) -> list[Finding]:
    """Classes with few readable pictures, and an imbalance of classes. These findings name no pictures."""
    counts = catalog.usable().counts()
    findings = [
        Finding(
            check="class_counts",
            severity="warning",
            paths=(),
            evidence=f'class "{name}" has {count} readable picture{"" if count == 1 else "s"};'
            f" its score will mean little below {SMALL_CLASS}: add pictures",
            score=1.0 - count / SMALL_CLASS,
        )
        for name, count in counts.items()
        if count < SMALL_CLASS
    ]
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratio = counts[largest] / max(1, counts[smallest])
    if ratio >= IMBALANCE_INFO:
        evidence = (
            f'"{largest}" has {counts[largest]} pictures, "{smallest}" {counts[smallest]}'
            f" ({ratio:.3g} times fewer): read the balanced accuracy"
        )
        severity: Severity = "warning" if ratio >= IMBALANCE_WARNING else "info"
        findings.append(Finding(check="class_counts", severity=severity, paths=(), evidence=evidence, score=ratio))
    return findings
