"""Findings + a policy + a person's decisions -> what to leave out or relabel, and the catalog after it.

Nothing is read or moved here. What a check of looks or a network's opinion says holds for the training part only: a
test part without its hard pictures would flatter the score (`clean_split`, `restrict_to`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from budwood.data.cleaning.clean_spec import CERTAIN, COPIES, TIDY, CleanSpec, known_checks
from budwood.data.cleaning.decisions import Decision, apply_decisions, in_force, kept_paths
from budwood.data.records import Catalog, Finding, ImageRecord
from budwood.data.split_nouns import Split
from budwood.errors import DataError

__all__ = [
    "REVIEW",
    "TIDY",
    "CleanAction",
    "CleanResult",
    "CleanSpec",
    "apply_actions",
    "clean",
    "clean_split",
    "known_checks",
    "restrict_to",
]

REVIEW = "review"  # stands in the place of a check for what a person decided
_PART_ORDER = {"test": 0, "val": 1}  # a copy in the test part is the one to keep


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanAction:
    """One change of the plan: what happens to a picture, which check asks for it, and its words.

    label is the new class of a relabelling. in_every_part: False when it holds for the training part only.
    """

    path: str
    action: Literal["exclude", "relabel"]
    check: str
    reason: str
    label: str = ""
    in_every_part: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanResult:
    """``catalog`` has *all* actions applied, which is right for a ledger and for the training part only.

    notes are sentences about what the plan left alone, and why.
    """

    catalog: Catalog
    actions: tuple[CleanAction, ...]
    notes: tuple[str, ...] = ()


def clean(
    catalog: Catalog,
    findings: Sequence[Finding],
    *,
    spec: CleanSpec,
    decisions: Mapping[str, Decision] | None = None,
) -> CleanResult:
    """Plan what to leave out and what to relabel.

    A person's decisions come first, and a picture that a person kept is never touched by a check. A group of copies
    whose labels differ is a matter of ``conflicting_labels``, whichever check found it. Pictures in the user's own val
    and test parts are touched by facts only, never by looks or opinions.

    Args:
        catalog: as scanned.
        findings: of `audit.audit`; those of checks without a policy are passed over.
        decisions: by path, from `DecisionJournal.decisions`; those for another content of the file do not count.

    Raises:
        DataError: a class would be left without any picture.
    """
    standing = in_force(catalog, decisions or {})
    plan = _Plan(apply_decisions(catalog, {d.path: d for d in standing}), kept=kept_paths(standing))
    for finding in _by_certainty(findings):
        if finding.check in COPIES:
            plan.thin_out(finding, spec)
        elif finding.check in spec.exclude:
            plan.exclude(finding)
        elif finding.check in spec.relabel and finding.score >= spec.certainty and finding.suggestion:
            plan.relabel(finding)
    actions = (*_decided_actions(catalog, standing), *plan.actions.values())
    cleaned = apply_actions(catalog, actions)
    _refuse_emptied(catalog, cleaned, actions)
    return CleanResult(catalog=cleaned, actions=actions, notes=plan.notes())


def apply_actions(catalog: Catalog, actions: Iterable[CleanAction]) -> Catalog:
    """The catalog after ``actions``; what happened to a picture is in its ``state``, ``label`` and ``reason``."""
    by_path = {action.path: action for action in actions}
    records = tuple(_acted(record, by_path.get(record.path)) for record in catalog.records)
    gone = {r.label for r in catalog.records} - {r.label for r in records}  # merged into another class
    classes = ({r.label for r in records} | set(catalog.classes)) - gone
    return replace(catalog, records=records, classes=tuple(sorted(classes)))


def restrict_to(actions: Iterable[CleanAction], paths: Collection[str]) -> tuple[CleanAction, ...]:
    """The actions that hold for every part, and of the others those on ``paths``: the training pictures."""
    return tuple(action for action in actions if action.in_every_part or action.path in paths)


def clean_split(split: Split, catalog: Catalog, actions: Iterable[CleanAction]) -> tuple[Split, Catalog]:
    """Carry out a plan on a split that was made before: facts in every part, looks and opinions in train only.

    So one split file serves a cleaned and an uncleaned run. A person's decisions are best applied before the split is
    made; those among ``actions`` that ``catalog`` shows already change nothing.

    Args:
        split: of ``catalog``, whose records are all usable.
        actions: of `clean`.

    Returns:
        The split with what was excluded in ``left_out``, and the catalog with the new labels.

    Raises:
        DataError: a class would have no training picture left.
    """
    by_path = {action.path: action for action in actions}
    parts: dict[str, tuple[int, ...]] = {}
    left_out, relabelled = set(split.left_out), []
    for part, rows in split.parts.items():
        chosen = {i: by_path.get(catalog.records[i].path) for i in rows}
        acting = {i: a for i, a in chosen.items() if a and (a.in_every_part or part == "train")}
        out = {i for i, a in acting.items() if a.action == "exclude"}
        relabelled += [a for a in acting.values() if a.action == "relabel"]
        parts[part] = tuple(i for i in rows if i not in out)
        left_out |= out
    changed = replace(apply_actions(catalog, relabelled), classes=catalog.classes)
    had = {catalog.records[i].label for i in split.parts["train"]}
    empty = had - {changed.records[i].label for i in parts["train"]}
    if empty:
        raise DataError(
            f'cleaning would leave class "{min(empty)}" without a training picture; look at its pictures with'
            " budwood review, or clean with fewer checks"
        )
    made = replace(split, parts=parts, left_out=tuple(sorted(left_out)), catalog_fingerprint=changed.fingerprint)
    return made, changed


class _Plan:
    """The actions of the checks so far; the first one on a picture holds."""

    def __init__(self, catalog: Catalog, *, kept: frozenset[str]) -> None:
        self.records = {record.path: record for record in catalog.records}
        self.kept = kept
        self.actions: dict[str, CleanAction] = {}
        self.spared: Counter[str] = Counter()

    def exclude(self, finding: Finding) -> None:
        """Leave out all pictures of a finding."""
        for path in finding.paths:
            self._act(path, "exclude", finding, reason=finding.evidence)

    def relabel(self, finding: Finding) -> None:
        """Give the pictures of a finding the class that it suggests."""
        for path in finding.paths:
            if path in self.records and self.records[path].label != finding.suggestion:
                reason = f"{finding.evidence}; was {self.records[path].label}"
                self._act(path, "relabel", finding, reason=reason, label=finding.suggestion)

    def thin_out(self, finding: Finding, spec: CleanSpec) -> None:
        """Leave out the copies in a group, or all of it; what a person kept stays, and the rest is its copy."""
        found = (self.records[path] for path in finding.paths if path in self.records and path not in self.actions)
        group = [record for record in found if record.state == "ok"]
        check = _question(finding, group, spec)
        if len(group) < 2 or spec.fate(check) == "keep":
            return
        kept = [record for record in group if record.path in self.kept]
        if not kept and spec.fate(check) == "keep_one":
            kept = [min(group, key=_first_to_keep)]
        words = f"; {kept[0].path} is kept" if kept else ""
        for record in group:
            if record not in kept:
                self._act(record.path, "exclude", replace(finding, check=check), reason=finding.evidence + words)

    def _act(
        self, path: str, action: Literal["exclude", "relabel"], finding: Finding, *, reason: str, label: str = ""
    ) -> None:
        record, fact = self.records.get(path), finding.check in CERTAIN
        if record is None or path in self.actions or path in self.kept or record.state == "excluded":
            return
        if record.state == "unreadable" and finding.check != "unreadable":
            return
        if not fact and record.part in _PART_ORDER:
            self.spared[finding.check] += 1
            return
        self.actions[path] = CleanAction(
            path=path,
            action=action,
            check=finding.check,
            reason=f"{finding.check}: {reason}" + ("" if fact else " (for training only)"),
            label=label,
            in_every_part=fact,
        )

    def notes(self) -> tuple[str, ...]:
        """What was left alone on purpose."""
        return tuple(
            f"{count} pictures of the val and test parts that {check} names were left as they are: without its odd"
            " pictures a test promises too much"
            for check, count in sorted(self.spared.items())
        )


def _question(finding: Finding, group: Sequence[ImageRecord], spec: CleanSpec) -> str:
    """The check whose policy decides on a group of copies: where labels differ, that is ``conflicting_labels``."""
    if spec.fate(finding.check) == "exclude" and finding.check != "conflicting_labels":
        return finding.check
    differ = len({record.label for record in group}) > 1
    if differ and finding.check == "near_duplicate":
        # Only where near-duplicates are to be touched at all: they may be two pictures after all.
        return finding.check if spec.fate(finding.check) == "keep" else "conflicting_labels"
    if differ or finding.check != "conflicting_labels":
        return "conflicting_labels" if differ else finding.check
    return ""  # a person has settled the labels


def _first_to_keep(record: ImageRecord) -> tuple[int, int, str]:
    return _PART_ORDER.get(record.part, 2), -record.width * record.height, record.path


def _by_certainty(findings: Iterable[Finding]) -> list[Finding]:
    rank = {name: i for i, name in enumerate(CERTAIN)}
    return sorted(findings, key=lambda f: (rank.get(f.check, len(rank)), f.check, -f.score, f.paths))


def _decided_actions(catalog: Catalog, standing: Iterable[Decision]) -> tuple[CleanAction, ...]:
    """What a person decided, as actions; decisions that change nothing are none."""
    before = {record.path: record for record in catalog.records}
    after = {r.path: r for r in apply_decisions(catalog, {d.path: d for d in standing}).records}
    return tuple(
        CleanAction(
            path=path,
            action="exclude" if record.state == "excluded" else "relabel",
            check=REVIEW,
            reason=record.reason,
            label="" if record.state == "excluded" else record.label,
        )
        for path, record in after.items()
        if record != before[path]
    )


def _acted(record: ImageRecord, action: CleanAction | None) -> ImageRecord:
    if action is None or record.state == "unreadable":
        return record
    if action.action == "exclude":
        return replace(record, state="excluded", reason=action.reason)
    return replace(record, label=action.label, reason=action.reason)


def _refuse_emptied(before: Catalog, after: Catalog, actions: Sequence[CleanAction]) -> None:
    had, has = before.usable().counts(), after.usable().counts()
    by_path = {record.path: record for record in before.records}
    for name, count in had.items():
        if count and not has.get(name) and (name in after.classes or not _by_a_person(name, actions, by_path)):
            asked = Counter(a.check for a in actions if by_path[a.path].label == name)
            raise DataError(
                f'cleaning would leave class "{name}" without any of its {count} pictures'
                f" ({', '.join(f'{check} {n}' for check, n in asked.most_common())}): look at them with budwood review,"
                " or clean with fewer checks"
            )


def _by_a_person(name: str, actions: Sequence[CleanAction], by_path: Mapping[str, ImageRecord]) -> bool:
    return all(action.check == REVIEW for action in actions if by_path[action.path].label == name)
