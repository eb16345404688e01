"""A bundle's answers to pictures in any number: written as they come, and taken up again where they stopped.

Memory does not grow with the pictures, but for their names. What a finished batch answered is in the file before the
next one begins; beside it ``.NAME.progress`` says which files those were, until all are answered. Pictures whose folder
is called like a class count as labelled. It prints nothing.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from budwood.answer_rows import FIXED, AnswerSpec, Tally, header_of, line_of, row_of, shown_of
from budwood.errors import IntegrityError, OutputError, UsageError
from budwood.evaluation.deciding import Decision
from budwood.export.bundle import BATCH_SIZE, Bundle, Unreadable
from budwood.files import MANIFEST_NAME, atomic_open, escape_name, sha256_file, write_bytes

Named = tuple[str, Path]


class Sink(Protocol):
    """Where rows go."""

    def write(self, data: bytes, /) -> Any:
        """Take some bytes."""
        ...


def answer_to(
    bundle: Bundle,
    named: Sequence[Named],
    sink: Sink,
    *,
    spec: AnswerSpec,
    tally: Tally,
    header: bool = True,
) -> Iterator[list[Named]]:
    """Answer ``named`` in batches and write each to ``sink``; yields the names of every batch that is written.

    Raises:
        UsageError: the bundle cannot keep to the risk.
    """
    if spec.risk is not None:
        bundle.decide(np.full((1, len(bundle.classes)), 1 / len(bundle.classes), np.float32), risk=spec.risk)
    if header and spec.form == "csv":
        sink.write(header_of(bundle.classes, spec))
    for at in range(0, len(named), BATCH_SIZE):
        batch = list(named[at : at + BATCH_SIZE])
        shown = {escape_name(str(file)): name for name, file in batch}
        answers, unreadable = bundle.predict_files([file for _, file in batch])
        tally.unreadable += [Unreadable(path=shown[item.path], reason=item.reason) for item in unreadable]
        decisions: Sequence[Decision | None] = (
            [None] * len(answers) if spec.risk is None else bundle.decide(answers.probs, risk=spec.risk)
        )
        lines = []
        for file, probs, decision in zip(answers.paths, answers.probs, decisions, strict=True):
            row = row_of(shown[file], probs, decision, classes=bundle.classes)
            tally.add(shown_of(row))
            lines.append(line_of(row, probs, classes=bundle.classes, spec=spec))
        sink.write("".join(lines).encode("utf-8"))
        yield batch


def answer_file(
    bundle: Bundle,
    named: Sequence[Named],
    out: Path,
    *,
    spec: AnswerSpec,
    tally: Tally,
    resume: bool = False,
) -> Iterator[int]:
    """Write answers to ``out``; yields how many pictures each step dealt with, kept ones first.

    Args:
        resume: keep the rows of files that did not change since, where an earlier call was interrupted.

    Raises:
        OutputError: an earlier call was interrupted and ``resume`` is not given.
        UsageError: there is nothing to resume, or it was begun with another bundle, form or risk.
    """
    progress = progress_file(out)
    about = {"bundle": bundle_digest(bundle), "classes": list(bundle.classes), "form": spec.form, "risk": spec.risk}
    done: dict[str, list[int]] = {}
    if resume:
        done = _take_up(out, progress, about=about, named=dict(named), tally=tally)
        yield len(done)
    elif progress.exists():
        raise OutputError(
            f"{out} holds answers of a call that was interrupted: go on with --resume, or remove {progress}"
        )
    with ExitStack() as exits:
        sink = exits.enter_context(out.open("ab" if resume else "wb"))
        first = (about, {"end": sink.tell(), "files": done})
        write_bytes(progress, b"".join(_noted(value) for value in first))
        log = exits.enter_context(progress.open("ab"))
        left = [pair for pair in named if pair[0] not in done]
        for batch in answer_to(bundle, left, sink, spec=spec, tally=tally, header=not resume):
            sink.flush()
            log.write(_noted({"end": sink.tell(), "files": {name: _stamp(file) for name, file in batch}}))
            log.flush()
            yield len(batch)
        os.fsync(sink.fileno())
    progress.unlink()


def progress_file(out: Path) -> Path:
    """Where the progress towards ``out`` is kept while there is any left."""
    return out.with_name(f".{out.name}.progress")


def bundle_digest(bundle: Bundle) -> str:
    """What tells a bundle from every other one: the digest of its manifest, or of the zip."""
    place = bundle.folder
    return sha256_file(place if place.is_file() else place / MANIFEST_NAME)


def _take_up(
    out: Path, progress: Path, *, about: dict[str, Any], named: dict[str, Path], tally: Tally
) -> dict[str, list[int]]:
    """Drop from ``out`` what cannot be kept; returns the files whose rows are."""
    if not progress.is_file() or not out.is_file():
        raise UsageError(f"{out} holds nothing to go on with: either all is answered, or nothing was; drop --resume")
    end, noted = _read_progress(progress, about=about, size=out.stat().st_size, out=out)
    unchanged = {name: stamp for name, stamp in noted.items() if name in named and _stamp(named[name]) == stamp}
    spec = AnswerSpec(form=about["form"], risk=about["risk"])
    with out.open("rb") as old, atomic_open(out) as new:
        text = io.TextIOWrapper(io.BytesIO(old.read(end)), encoding="utf-8", newline="")
        if spec.form == "csv":
            new.write(header_of(tally.classes, spec))
            next(csv.reader([text.readline()]), None)
        answered = set()
        for line in text:
            values = (
                json.loads(line) if spec.form == "jsonl" else dict(zip(FIXED, next(csv.reader([line])), strict=False))
            )
            if values["path"] not in unchanged or not line.endswith("\n"):
                continue
            answered.add(values["path"])
            new.write(line.encode("utf-8"))
            tally.add(shown_of({**values, "answer": _answer_in(line, values, spec)}))
    tally.num_kept = len(answered)
    return {name: stamp for name, stamp in unchanged.items() if name in answered}


def _answer_in(line: str, values: dict[str, Any], spec: AnswerSpec) -> str:
    if spec.risk is None:
        return str(values["predicted"])
    return str(values["answer"] or "") if spec.form == "jsonl" else next(csv.reader([line]))[-2]


def _read_progress(progress: Path, *, about: dict[str, Any], size: int, out: Path) -> tuple[int, dict[str, list[int]]]:
    """How far ``out`` is sound, and the files that were dealt with up to there."""
    end, files = 0, dict[str, list[int]]()
    with progress.open(encoding="utf-8") as lines:
        try:
            found = json.loads(lines.readline())
        except ValueError as error:
            raise IntegrityError(f"{progress} was changed; remove it and {out}, and begin anew") from error
        for key, word in (("bundle", "bundle"), ("classes", "classes"), ("form", "format"), ("risk", "risk")):
            if found.get(key) != about[key]:
                raise UsageError(
                    f"{out} was begun with another {word}: its rows and new ones do not belong together; give the same"
                    " one, or another --out"
                )
        for line in lines:
            try:
                step = json.loads(line)
            except ValueError:
                break  # the last line of a killed call
            if step["end"] > size:
                break
            end = step["end"]
            files |= step["files"]
    return end, files


def _stamp(file: Path) -> list[int]:
    try:
        status = file.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _noted(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
