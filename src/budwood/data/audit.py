"""All checks over one catalog -> `AuditResult`: findings by severity, and the groups a split must tie.

It only reports; `clean` decides and the user confirms. Pictures come from the store, not decoded again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from budwood.data.checks import CHECKS, OPINION_CHECKS, PAIR_CHECKS, NearPair, components, exact_groups
from budwood.data.copies.feature_pairs import alike_pairs
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding
from budwood.data.store import PictureStore
from budwood.events import Listener, StepFinished, StepStarted, silent

SEVERITIES = ("error", "warning", "info")


class AuditSpec(BaseModel):
    """Settings of `audit`.

    near_duplicates: also look for pictures that show the same after a turn, a mirror, a crop or another
        compression; without it only equal pictures are tied in the split.
    opinion: `fit` also asks the frozen network about labels, outliers, classes hard to tell apart and shortcuts. It
        costs the features of val and test and of the pictures' borders. Pairs of equal features then join the groups.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    near_duplicates: bool = True
    opinion: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """Findings by severity, then check, then certainty; ``groups``: paths of pictures that show the same.

    pairs: the near-duplicates that the groups were made of, besides equal pictures. doubtful: pairs that may be
        near-duplicates; no finding names them, but a new split keeps them together, see `split`.
    """

    findings: tuple[Finding, ...]
    groups: tuple[tuple[str, ...], ...]
    pairs: tuple[NearPair, ...] = ()
    doubtful: tuple[NearPair, ...] = ()


def audit(
    catalog: Catalog,
    store: PictureStore,
    *,
    spec: AuditSpec | None = None,
    opinion: Opinion | None = None,
    listen: Listener = silent,
) -> AuditResult:
    """Run every check.

    Args:
        catalog: as scanned, unreadable records included.
        store: holds the pictures of ``catalog``.
        spec: settings; None: the defaults.
        opinion: what a packaged network thinks of the usable pictures; None leaves out the checks that need one.
        listen: hears of the step ``audit`` and of the search for near-duplicates.

    Raises:
        DataError: a picture is gone from the store, and its file was changed since the scan.
    """
    spec = spec or AuditSpec()
    started = time.monotonic()
    listen(StepStarted(step="audit", total=len(catalog)))
    pairs, doubtful = _near_pairs(catalog, store, listen=listen) if spec.near_duplicates else ((), ())
    findings = [finding for check in CHECKS.values() for finding in check(catalog)]
    result = _with_pairs(AuditResult(findings=tuple(findings), groups=(), doubtful=doubtful), catalog, pairs)
    if opinion is not None:
        result = add_opinion(result, catalog, opinion, store, spec=spec)
    note = ", ".join(f"{sum(f.severity == s for f in result.findings)} {s}s" for s in SEVERITIES[:2])
    note += f", {len(doubtful)} doubtful pairs for the split" if doubtful else ""
    listen(StepFinished(step="audit", seconds=time.monotonic() - started, note=note))
    return result


def add_opinion(
    result: AuditResult, catalog: Catalog, opinion: Opinion, store: PictureStore, *, spec: AuditSpec | None = None
) -> AuditResult:
    """The result with what the checks find that need a network's opinion.

    Near-duplicates by the network's features join those that were found by their pixels: small turns, above all.
    """
    if (spec or AuditSpec()).near_duplicates:
        records = {record.path: record for record in catalog.records}
        planes = store.planes(catalog, [records[path] for path in opinion.paths])
        known = {(pair.first, pair.second) for pair in result.pairs}
        alike = alike_pairs(opinion.paths, opinion.features, planes)
        more = tuple(pair for pair in alike if (pair.first, pair.second) not in known)
        result = _with_pairs(result, catalog, (*result.pairs, *more))
    found = [finding for judge in OPINION_CHECKS.values() for finding in judge(catalog, opinion)]
    return replace(result, findings=_sorted([*result.findings, *found]))


def _with_pairs(result: AuditResult, catalog: Catalog, pairs: tuple[NearPair, ...]) -> AuditResult:
    """The result with what the pairs tell, in the place of what earlier pairs told."""
    kept = [finding for finding in result.findings if finding.check not in PAIR_CHECKS]
    found = [finding for check in PAIR_CHECKS.values() for finding in check(catalog, pairs)]
    groups = components([*exact_groups(catalog), *((pair.first, pair.second) for pair in pairs)])
    return replace(result, findings=_sorted([*kept, *found]), groups=groups, pairs=pairs)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.check, -f.score, f.paths)))


def _near_pairs(
    catalog: Catalog, store: PictureStore, *, listen: Listener
) -> tuple[tuple[NearPair, ...], tuple[NearPair, ...]]:
    """Near-duplicate pairs by path, the sure ones and the doubtful ones; each distinct picture is compared once."""
    from budwood.data.copies.duplicates import find_copies  # the search is heavy to import, and may be off

    distinct = {r.pixel_digest: r for r in catalog.records if r.state == "ok"}
    records = sorted(distinct.values(), key=lambda record: record.path)
    found = find_copies(store.planes(catalog, records), listen=listen)
    sure, doubtful = (
        tuple(
            NearPair(
                first=records[pair.first].path,
                second=records[pair.second].path,
                similarity=pair.similarity,
                transform=pair.transform,
            )
            for pair in pairs
        )
        for pairs in (found.pairs, found.doubtful)
    )
    return sure, doubtful
