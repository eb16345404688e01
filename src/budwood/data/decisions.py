"""What a person decided about pictures: an append-only journal, and its use on a catalog.

A decision holds for one path with one content: a file that was changed since has none. Each line reaches the disk
before `DecisionJournal.record` returns, so a killed process loses nothing that was confirmed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock

from budwood.data.records import Catalog, ImageRecord
from budwood.errors import IntegrityError, OutputError
from budwood.files import ensure_writable

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


def content_digest(record: ImageRecord) -> str:
    """What a decision is tied to: the pixels, or the bytes of an unreadable file."""
    return record.pixel_digest or record.file_digest


class DecisionJournal:
    """Decisions in ``file``, one JSON line each; undone ones stay in it, followed by a line that says so."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def record(self, *decisions: Decision) -> None:
        """Append decisions, all as one step of `undo`; they are on the disk when this returns.

        Raises:
            OutputError: the disk refuses.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self._append({"decisions": [asdict(replace(d, time=d.time or now)) for d in decisions]})

    def undo(self) -> tuple[Decision, ...]:
        """Take back the last step that is not undone; returns its decisions, empty when there is none."""
        steps = self._steps()
        if not steps:
            return ()
        self._append({"undo": True})
        return steps[-1]

    def decisions(self) -> dict[str, Decision]:
        """The decision in force for each path.

        Raises:
            IntegrityError: a line that is not the last one cannot be read.
        """
        return {decision.path: decision for step in self._steps() for decision in step}

    def __len__(self) -> int:
        return len(self._steps())

    def _steps(self) -> list[tuple[Decision, ...]]:
        steps: list[tuple[Decision, ...]] = []
        for values in self._lines():
            if values.get("undo"):
                steps = steps[:-1]
            else:
                steps.append(tuple(_decision(v, self.file) for v in values["decisions"]))
        return steps

    def _lines(self) -> list[dict[str, Any]]:
        if not self.file.is_file():
            return []
        lines = self.file.read_bytes().split(b"\n")
        found = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                found.append(_table(json.loads(line)))
            except ValueError as error:
                if number == len(lines):  # cut by a crash before it was confirmed; `_append` drops it
                    continue
                raise IntegrityError(f"{self.file}: line {number} is no decision ({error}); it was changed") from error
        return found

    def _append(self, values: dict[str, Any]) -> None:
        data = (json.dumps(values, ensure_ascii=True) + "\n").encode()
        ensure_writable(self.file.parent)
        try:
            with FileLock(self.file.with_name(f".{self.file.name}.lock")), self.file.open("a+b") as file:
                file.seek(0)
                kept = file.read()
                whole = kept.rfind(b"\n") + 1
                if whole < len(kept):
                    file.truncate(whole)  # a line that a crash cut in two
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.file} ({error.strerror or error}); free some space") from error


def apply_decisions(catalog: Catalog, decisions: Mapping[str, Decision]) -> Catalog:
    """The catalog with exclusions and new labels; what they say is written into ``state``, ``label``, ``reason``."""
    if not decisions:
        return catalog
    records = tuple(_decided(record, decisions.get(record.path)) for record in catalog.records)
    classes = {record.label for record in records} | set(catalog.classes)
    return replace(catalog, records=records, classes=tuple(sorted(classes)))


def in_force(catalog: Catalog, decisions: Mapping[str, Decision]) -> tuple[Decision, ...]:
    """The decisions that fit a picture of the catalog, content and all."""
    found = ((record, decisions.get(record.path)) for record in catalog.records)
    return tuple(d for record, d in found if d is not None and d.digest == content_digest(record))


def kept_paths(decisions: Iterable[Decision]) -> frozenset[str]:
    """Pictures that a person looked at and wants to keep, whatever a check says."""
    return frozenset(d.path for d in decisions if d.action in ("keep", "relabel"))


def _decided(record: ImageRecord, decision: Decision | None) -> ImageRecord:
    if decision is None or decision.digest != content_digest(record) or decision.action == "keep":
        return record
    if decision.action == "exclude":
        # An unreadable file stays unreadable: that is the stronger reason.
        reason = decision.reason or (f"excluded in review ({decision.check})" if decision.check else "excluded")
        return record if record.state == "unreadable" else replace(record, state="excluded", reason=reason)
    if decision.label == record.label:
        return record
    return replace(record, label=decision.label, reason=f"relabelled, was {record.label}")


def _table(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict) or not ("undo" in values or isinstance(values.get("decisions"), list)):
        raise ValueError("expected decisions or undo")
    return values


def _decision(values: Any, file: Path) -> Decision:
    names = {field.name for field in fields(Decision)}
    if not isinstance(values, dict) or set(values) - names or values.get("action") not in get_args(Action):
        raise IntegrityError(f"{file} holds a decision that Budwood does not know: {values!r}")
    return Decision(**values)
