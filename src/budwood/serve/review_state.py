"""What a review knows and remembers: findings, the decisions in force, the way back. No HTTP, no page.

Every decision is in the journal before `ReviewState.decide` returns. The ledger (``catalog.csv``) is derived from it
and follows a moment later. Several threads may call; another process that decides on the same pictures is noticed.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from budwood.data.cleaning.decisions import Action, Decision, DecisionJournal, apply_decisions, content_digest, in_force
from budwood.data.ledger import write_catalog
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding, ImageRecord
from budwood.errors import UsageError
from budwood.files import sha256_bytes
from budwood.report.check_words import words_of

WishAction = Literal["keep", "exclude", "relabel", "keep_one"]


class Refused(UsageError):
    """What the page asks for cannot be done; ``status`` is the HTTP status that says so."""

    def __init__(self, text: str, *, status: int = 409) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person wants: ``action`` on the picture ``path`` (``digest``: the content that was looked at), or on all
    pictures of ``finding``. With ``keep_one``, ``path`` stays and the others of the finding are excluded.
    """

    action: WishAction
    path: str = ""
    digest: str = ""
    finding: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``changed`` paths, how many steps can now be undone, and whether anything was new."""

    changed: tuple[str, ...]
    num_steps: int
    check: str = ""


def finding_id(finding: Finding) -> str:
    """A short name of a finding, the same as long as the audit finds the same."""
    text = "\0".join((finding.check, finding.evidence, *finding.paths))
    return sha256_bytes(text.encode("utf-8", "surrogatepass"))[:16]


class ReviewState:
    """Findings of one catalog, as scanned, and what was decided about its pictures."""

    def __init__(
        self,
        catalog: Catalog,
        findings: Sequence[Finding],
        *,
        journal: DecisionJournal,
        ledger: Path,
        opinion: Opinion | None = None,
    ) -> None:
        """Read the journal.

        Raises:
            IntegrityError: the journal was changed.
        """
        self.catalog = catalog
        self.findings = tuple(findings)
        self.journal = journal
        self.ledger = ledger
        self.opinion = opinion
        self.records: dict[str, ImageRecord] = {record.path: record for record in catalog.records}
        self.by_check: dict[str, tuple[Finding, ...]] = _by_check(findings)
        self.by_id: dict[str, Finding] = {finding_id(finding): finding for finding in findings}
        self._guard = threading.RLock()
        self._decisions: dict[str, Decision] = {}
        self._num_steps = 0
        self._size = -1
        self._catch_up()

    @property
    def num_steps(self) -> int:
        """How many steps can be undone."""
        return self._num_steps

    @property
    def decisions(self) -> dict[str, Decision]:
        """The decisions in force, by path; not to be changed."""
        return self._decisions

    @cached_property
    def ids_of(self) -> dict[str, tuple[str, ...]]:
        """The findings that a picture is in, by path."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, finding in self.by_id.items():
            for path in finding.paths:
                found[path].append(name)
        return {path: tuple(names) for path, names in found.items()}

    @cached_property
    def opinion_rows(self) -> dict[str, int]:
        """The row of the network's opinion on a picture, by path."""
        return {path: i for i, path in enumerate(self.opinion.paths)} if self.opinion else {}

    def is_open(self, finding: Finding) -> bool:
        """Whether there is something left to decide.

        A set of copies is settled when one of them is left at most, or all are decided upon; conflicting labels also
        when those that are left agree.
        """
        shape = words_of(finding.check).shape
        if shape == "notes":
            return False
        undecided = [path for path in finding.paths if path in self.records and path not in self._decisions]
        if shape == "pictures" or not undecided:
            return bool(undecided)
        left = [path for path in finding.paths if path in self.records and not self._is_excluded(path)]
        if finding.check == "conflicting_labels":
            return len({self.label(path) for path in left}) > 1
        return len(left) > 1

    def label(self, path: str) -> str:
        """The class of a picture after the decision about it."""
        decision = self._decisions.get(path)
        return decision.label if decision and decision.action == "relabel" else self.records[path].label

    def decide(self, wishes: Iterable[Wish], *, check: str = "") -> Outcome:
        """Record what is wished as one step; what is in force already is not recorded again.

        Raises:
            Refused: a picture is unknown or was changed, or a class does not exist. OutputError: the disk refuses.
        """
        with self._guard:
            self._catch_up()
            wanted = {d.path: d for wish in wishes for d in self._expanded(wish, check)}
            new = [decision for decision in wanted.values() if not self._holds(decision)]
            self.journal.record(*new)
            self._decisions = {**self._decisions, **{decision.path: decision for decision in new}}
            self._num_steps += bool(new)
            self._size = self._journal_size()
            return Outcome(changed=tuple(wanted), num_steps=self._num_steps, check=check)

    def undo(self, *, expected: int) -> Outcome:
        """Take the last step back; ``expected`` is the number of steps that the page knows.

        One less on the disk means that this undo was carried out before its answer got lost: nothing is done again.

        Raises:
            Refused: there is nothing to undo, or somebody else has decided since. OutputError: the disk refuses.
        """
        with self._guard:
            self._catch_up()
            if expected == self._num_steps + 1:
                return Outcome(changed=(), num_steps=self._num_steps)
            if expected != self._num_steps:
                raise Refused("something was decided elsewhere meanwhile; this page has been brought up to date")
            undone = self.journal.undo()
            if not undone:
                raise Refused("there is nothing to undo")
            self._catch_up()
            check = next((decision.check for decision in undone if decision.check), "")
            return Outcome(changed=tuple(d.path for d in undone), num_steps=self._num_steps, check=check)

    def write_ledger(self) -> None:
        """Write the catalog with all decisions applied to the ledger."""
        write_catalog(apply_decisions(self.catalog, self._decisions), self.ledger)

    def _expanded(self, wish: Wish, check: str) -> list[Decision]:
        """One wish as decisions on single pictures."""
        if not wish.finding:
            return [self._decision(wish.path, wish, check=check, digest=wish.digest)]
        finding = self.by_id.get(wish.finding)
        if finding is None:
            raise Refused("this finding is not among those of the last audit; load the page again")
        paths = [path for path in finding.paths if path in self.records]
        if wish.action != "keep_one":
            return [self._decision(path, wish, check=finding.check) for path in paths]
        if wish.path not in paths:
            raise Refused("the picture that shall stay is not part of this finding; load the page again")
        return [
            self._decision(path, replace(wish, action="keep" if path == wish.path else "exclude"), check=finding.check)
            for path in paths
        ]

    def _decision(self, path: str, wish: Wish, *, check: str, digest: str | None = None) -> Decision:
        record = self.records.get(path)
        if record is None:
            raise Refused("this picture is not in the catalog; load the page again", status=404)
        content = content_digest(record)
        if digest is not None and digest != content:
            raise Refused(f"{path} was changed since it was shown; load the page again")
        action, label = _action(wish, record.label)
        if label and label not in self.catalog.classes:
            raise Refused(f'there is no class "{label}"; choose one of the {len(self.catalog.classes)} classes')
        return Decision(path=path, digest=content, action=action, label=label, check=check)

    def _holds(self, decision: Decision) -> bool:
        known = self._decisions.get(decision.path)
        return known is not None and (known.action, known.label) == (decision.action, decision.label)

    def _is_excluded(self, path: str) -> bool:
        decision = self._decisions.get(path)
        return decision is not None and decision.action == "exclude"

    def _catch_up(self) -> None:
        """Read the journal when it is not as this process left it."""
        size = self._journal_size()
        if size != self._size:
            self._decisions = {d.path: d for d in in_force(self.catalog, self.journal.decisions())}
            self._num_steps = len(self.journal)
            self._size = size

    def _journal_size(self) -> int:
        return self.journal.file.stat().st_size if self.journal.file.is_file() else 0


def _action(wish: Wish, label: str) -> tuple[Action, str]:
    if wish.action == "keep_one":
        raise Refused("keep_one needs the finding whose other pictures are excluded", status=422)
    if wish.action != "relabel":
        return wish.action, ""
    if not wish.label:
        raise Refused("relabel needs the name of a class", status=422)
    return ("keep", "") if wish.label == label else ("relabel", wish.label)


def _by_check(findings: Sequence[Finding]) -> dict[str, tuple[Finding, ...]]:
    """Findings by check, in the audit's order: the worst first."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.check].append(finding)
    return {check: tuple(own) for check, own in found.items()}
