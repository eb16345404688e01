"""Flagged pictures -> findings: one for each, or one for all where so many are flagged that none can be a fault."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from budwood.data.checks.columns import Column, Mask
from budwood.data.records import Finding, ImageRecord

COMMON = 0.2  # of the pictures: what so many have is how these data look


def one_each(
    check: str,
    records: list[ImageRecord],
    flagged: Mask,
    *,
    evidence: Callable[[int], str],
    score: Column,
) -> list[Finding]:
    """One ``info`` finding per flagged record; beyond `COMMON` of them, a single one that names no pictures.

    Args:
        check: the name under which the check is registered.
        records: what was judged.
        flagged: ``[N]``, which of the records.
        evidence: position -> the sentence.
        score: ``[N]``, larger is more certain.
    """
    positions = np.flatnonzero(flagged).tolist()
    if len(positions) > COMMON * len(records):
        found = f"{len(positions)} of {len(records)} pictures: so many are how these data look, not faults"
        return [Finding(check=check, severity="info", paths=(), evidence=f"{found} ({evidence(positions[0])})")]
    return [
        Finding(
            check=check,
            severity="info",
            paths=(records[i].path,),
            evidence=evidence(i),
            score=round(float(score[i]), 3),
        )
        for i in positions
    ]
