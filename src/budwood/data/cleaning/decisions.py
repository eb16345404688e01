"""What a person decided about pictures: an append-only journal, and its use on a catalog.

A decision holds for one path with one content: a file that was changed since has none. Each line reaches the disk
before `DecisionJournal.record` returns, so a killed process loses nothing that was confirmed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from budwood.data.cleaning.line_log import LineLog
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import IntegrityError

Action = Literal["keep", "exclude", "relabel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``path`` and ``digest`` (see `content_digest`) say which picture; ``label`` is the new class of a relabelling.

    check: the finding that was looked at, if any. reason: free words. time: ISO 8601, set when it is recorded.
    """

    path: str
    digest: str
    action: Action
    label: str = ""
    check: str = ""
    reason: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        if (self.action == "relabel") != bool(self.label):
            raise ValueError(f'"{self.action}" with the label "{self.label}": a relabelling, and nothing else, has one')


def content_digest(record: ImageRecord) -> str:
    """What a decision is tied to: the pixels, or the bytes of an unreadable file."""
    return record.pixel_digest or record.file_digest


class DecisionJournal:
    """Decisions in ``file``, one JSON line a step; undone ones stay in it, followed by a line that says so."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._log = LineLog(file)

    def record(self, *decisions: Decision) -> None:
        """Append decisions, all as one step of `undo`; they are on the disk when this returns.

        Of several decisions on one path the last one holds. Without any, nothing is written.

        Raises:
            OutputError: the disk refuses.
        """
        if decisions:
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            self._log.append([{"decisions": [asdict(replace(d, time=d.time or now)) for d in decisions]}])

    def undo(self) -> tuple[Decision, ...]:
        """Take back the last step that is not undone; returns its decisions, empty when there is none.

        Raises:
            OutputError: the disk refuses. IntegrityError: the journal was changed.
        """
        if not self.file.is_file():
            return ()
        with self._log.locked():  # else two undos at once would both see, and name, the same step
            steps = self._steps()
            if steps:
                self._log.append([{"undo": True}])
        return steps[-1] if steps else ()

    def decisions(self) -> dict[str, Decision]:
        """The decision in force for each path.

        Raises:
            IntegrityError: a line that was confirmed cannot be read.
        """
        return {decision.path: decision for step in self._steps() for decision in step}

    def __len__(self) -> int:
        return len(self._steps())

    def _steps(self) -> list[tuple[Decision, ...]]:
        steps: list[tuple[Decision, ...]] = []
        for values in self._log.lines():
            if values == {"undo": True}:
                del steps[-1:]
            elif set(values) == {"decisions"} and isinstance(values["decisions"], list):
                steps.append(tuple(_decision(v, self.file) for v in values["decisions"]))
            else:
                raise IntegrityError(f"{self.file} holds a line that is neither decisions nor an undo: {values!r}")
        return steps


def apply_decisions(catalog: Catalog, decisions: Mapping[str, Decision]) -> Catalog:
    """The catalog with exclusions and new labels; what they say is written into ``state``, ``label``, ``reason``."""
    if not decisions:
        return catalog
    records = tuple(_decided(record, decisions.get(record.path)) for record in catalog.records)
    # A class that lost its last picture to another class is no class any more: that is how two are merged.
    merged = {record.label for record in catalog.records} - {record.label for record in records}
    classes = ({record.label for record in records} | set(catalog.classes)) - merged
    return replace(catalog, records=records, classes=tuple(sorted(classes)))


def in_force(catalog: Catalog, decisions: Mapping[str, Decision]) -> tuple[Decision, ...]:
    """The decisions that fit a picture of the catalog, content and all."""
    found = ((record, decisions.get(record.path)) for record in catalog.records)
    return tuple(d for record, d in found if d is not None and d.digest == content_digest(record))


def kept_paths(decisions: Iterable[Decision]) -> frozenset[str]:
    """Pictures that a person looked at and wants to keep, whatever a check says; hand in those `in_force`."""
    return frozenset(d.path for d in decisions if d.action in ("keep", "relabel"))


def _decided(record: ImageRecord, decision: Decision | None) -> ImageRecord:
    if decision is None or decision.digest != content_digest(record) or decision.action == "keep":
        return record
    if decision.action == "exclude":
        # An unreadable file stays unreadable: that is the stronger reason.
        reason = decision.reason or (f"excluded in review ({decision.check})" if decision.check else "excluded")
        return record if record.state == "unreadable" else replace(record, state="excluded", reason=reason)
    if decision.label == record.label or record.state == "unreadable":
        return record
    return replace(record, label=decision.label, reason=f"relabelled, was {record.label}")


def _decision(values: Any, file: Path) -> Decision:
    names = {field.name for field in fields(Decision)}
    known = isinstance(values, dict) and {"path", "digest", "action"} <= set(values) <= names
    if known and all(isinstance(v, str) for v in values.values()) and values["action"] in get_args(Action):
        with contextlib.suppress(ValueError):
            return Decision(**values)
    raise IntegrityError(f"{file} holds a decision that Budwood does not know: {values!r}")
