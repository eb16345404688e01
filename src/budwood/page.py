"""From a run's folder to its report page: reads the small files, fetches thumbnails, renders. Runs no model.

A picture that is gone leaves its caption; the report can be made again at any time (`budwood report RUN`).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from budwood.data.ledger import read_catalog
from budwood.data.records import ImageRecord
from budwood.data.split_nouns import PARTS
from budwood.data.store import PictureStore
from budwood.evaluation.predictions import Predictions
from budwood.files import read_json, write_text
from budwood.page_results import mistakes_of, result_of, unsure_of
from budwood.page_source import PageSource
from budwood.recipe import parse_recipe
from budwood.report.check_words import words_of
from budwood.report.comparison import comparison_view
from budwood.report.data import (
    ClassSummary,
    Command,
    DatasetSummary,
    FindingGroup,
    ModelCard,
    ReportData,
    SplitSummary,
    Step,
)
from budwood.report.html import render
from budwood.report.judging_view import judging_view
from budwood.report.training_data import Saying, TrainingView
from budwood.report.training_view import sayings, training_view
from budwood.report.why_view import EXPLAIN_NAME, why_view
from budwood.runs import RunDir
from budwood.train.history import History

_EXAMPLES, _FINDINGS, _SETS = 6, 12, 8


def write_report(run: RunDir, store: PictureStore) -> None:
    """Render ``report.html`` of a run from its folder."""
    write_text(run.report, render(report_data(run, store)))


def report_data(run: RunDir, store: PictureStore) -> ReportData:
    """Everything that the page of a finished run shows."""
    environment = read_json(run.environment)
    catalog = read_catalog(run.catalog, Path(environment.get("root", environment["photos"])))
    source = PageSource(
        run=run,
        catalog=catalog,
        records={r.path: r for r in catalog.records},
        store=store,
        split=read_json(run.split),
        training=read_json(run.training),
        metrics=read_json(run.metrics),
        recipe=parse_recipe(run.recipe.read_text(encoding="utf-8"), source=str(run.recipe)),
    )
    status = run.read_status()
    predictions = Predictions.load(run.predictions("test"))
    findings = read_json(run.findings)
    return ReportData(
        title=_title(Path(environment["photos"])),
        recipe=source.recipe.name,
        command=run.command.read_text(encoding="utf-8").strip(),
        seed=source.recipe.seed,
        when=status["started"][:16].replace("T", " "),
        version=environment["versions"]["budwood"],
        machine=_machine(environment),
        total_seconds=status["seconds"],
        steps=tuple(
            Step(name=s["name"], seconds=s["seconds"], note=s["note"], cached=s["note"] == "from the cache")
            for s in status["steps"]
        ),
        dataset=_dataset(source),
        findings=_findings(source, findings["findings"]),
        orientation=_orientation(source.training),
        split=_split(source),
        training=_training(source),
        model=_model(source),
        result=result_of(source, predictions),
        mistakes=mistakes_of(source, predictions),
        unsure=unsure_of(source, predictions),
        judging=judging_view(source.metrics, predictions),
        why=why_view(run.path / EXPLAIN_NAME),
        comparison=comparison_view(read_json(run.comparison)) if run.comparison.is_file() else None,
        warnings=_warnings(source),
        next_commands=_next(run, Path(environment["photos"]), explained=(run.path / EXPLAIN_NAME).is_dir()),
    )


def _next(run: RunDir, photos: Path, *, explained: bool) -> tuple[Command, ...]:
    """What one would do with this run; ``explained``: it kept what explaining leaves."""
    place, bundle, folder = (shlex.quote(str(each)) for each in (run.path, run.bundle, photos))
    why = Command(
        purpose="Ask why it answers so: controls, and maps of where it looks", line=f"budwood explain {place}"
    )
    return (
        Command(purpose="Name new pictures", line=f"budwood predict {bundle} PICTURES --out answers.csv"),
        Command(
            purpose="See whether new pictures are like these", line=f"budwood drift {place} PICTURES --html drift.html"
        ),
        Command(
            purpose="Look at the pictures that it doubts, and decide", line=f"budwood review {folder} --run {place}"
        ),
        *(() if explained else (why,)),
        Command(purpose="Score a labelled folder", line=f"budwood evaluate {bundle} FOLDER"),
        Command(purpose="Tell whether another run is better", line=f"budwood compare {place} OTHER"),
        Command(purpose="Join it with runs on the same split", line=f"budwood ensemble {place} OTHER --out joined"),
        Command(purpose="Check that nothing was changed", line=f"budwood verify {place}"),
    )


def _warnings(source: PageSource) -> tuple[str, ...]:
    """The run's warnings, but for what the section on the training says."""
    told = set(source.training.get("notes", ()))
    return tuple(text for text in source.run.read_warnings() if text not in told)


def _title(photos: Path) -> str:
    """The folder's name; with its parent's where it is one that says nothing."""
    if photos.name.lower() in {"photos", "images", "pictures", "data", "train", "dataset"} and photos.parent.name:
        return f"{photos.parent.name}/{photos.name}"
    return photos.name


def _machine(environment: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    found, versions = environment["machine"], environment["versions"]
    return (
        ("CPU", f"{found['cpu']}, {found['cores']} cores"),
        ("Threads", f"{found['threads']} ({_threads_reason(found)})"),
        (
            "bfloat16",
            f"{'used' if environment['bf16'] else 'not used'} ({found['bf16_speedup']:g} times float32 here)",
        ),
        ("Device", found["device"]),
        ("Allocator", "tuned" if found["tuned_allocator"] else "as the system sets it"),
        *((name, text) for name, text in sorted(versions.items())),
    )


def _threads_reason(found: dict[str, Any]) -> str:
    if found["thread_speedup"] is None:
        return "as asked" if found["cores"] > 1 else "one core"
    return f"at the start {found['threads_tried']} threads did {found['thread_speedup']:g} times the work of one"


def _dataset(source: PageSource) -> DatasetSummary:
    parts = source.split["counts"]
    usable = [r for r in source.catalog.records if r.state == "ok"]
    classes = []
    for name in source.catalog.classes:
        own = [r.path for r in usable if r.label == name]
        spaced = [own[i] for i in np.linspace(0, len(own) - 1, min(_EXAMPLES, len(own))).astype(int)]
        counts = tuple(int(parts[part].get(name, 0)) for part in PARTS)
        classes.append(ClassSummary(name=name, counts=counts, examples=source.pictures(spaced, _EXAMPLES)))
    return DatasetSummary(
        num_pictures=len(usable),
        classes=tuple(classes),
        parts=PARTS,
        sizes=_sizes(usable),
        ignored=source.catalog.ignored,
    )


def _sizes(records: Sequence[ImageRecord]) -> str:
    counts = Counter((r.width, r.height) for r in records)
    (width, height), most = counts.most_common(1)[0]
    if len(counts) == 1:
        return f"All are {width} × {height} pixels."
    sides = [min(r.width, r.height) for r in records]
    return (
        f"{most} of {len(records)} are {width} × {height} pixels; {len(counts)} sizes in all, "
        f"shorter sides from {min(sides)} to {max(sides)}."
    )


def _findings(source: PageSource, findings: list[dict[str, Any]]) -> tuple[FindingGroup, ...]:
    """Findings of one check and severity together: sets side by side for duplicates, single pictures for the rest."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in findings:
        groups.setdefault((finding["check"], finding["severity"]), []).append(finding)
    return tuple(_finding_group(source, check, found) for (check, _), found in groups.items())


def _finding_group(source: PageSource, check: str, found: list[dict[str, Any]]) -> FindingGroup:
    together = [f["paths"] for f in found if len(f["paths"]) > 1]
    single = [path for f in found if len(f["paths"]) == 1 for path in f["paths"]]
    evidence = [f["evidence"] for f in found]
    words = words_of(check)
    more = f" (and {len(evidence) - 1} more findings)" if len(evidence) > 1 else ""
    shown = f"{words.meaning} {words.remedy} The first: {evidence[0].rstrip('.')}{more}."
    as_sets = "duplicate" in check
    if not as_sets:
        single, together = [path for f in found for path in f["paths"]], []
    return FindingGroup(
        check=check,
        severity=found[0]["severity"],
        evidence=shown,
        pictures=source.pictures(single, _FINDINGS),
        sets=tuple(source.pictures(paths, 6) for paths in together[:_SETS]),
        total=len(together) if as_sets else len(single),
    )


def _orientation(training: dict[str, Any]) -> str:
    augment, views = training["augment"], training["views"]["predict"]
    flips = {"none": "no flips", "horizontal": "left-right flips", "both": "flips both ways"}[augment["flip"]]
    turn = "any rotation" if augment["rotation"] >= 180 else f"rotation up to {augment['rotation']:g}°"
    return (
        f"{training['orientation'][:1].upper()}{training['orientation'][1:]}. So the training pictures got {flips} and "
        f"{turn}, and an answer is the mean over {len(views)} view{'s' if len(views) > 1 else ''} of the picture."
    )


def _split(source: PageSource) -> SplitSummary:
    parts, tied = source.split["parts"], source.split["tied"]
    sets = [group for group in tied if len(group) > 1]
    return SplitSummary(
        counts=tuple((part, len(parts[part])) for part in PARTS),
        num_groups=len(sets),
        num_grouped_pictures=sum(map(len, sets)),
        examples=tuple(source.pictures(group, 4) for group in sets[:_SETS]),
    )


def _training(source: PageSource) -> TrainingView:
    return training_view(
        source.recipe.train,
        history=History.load(source.run.history),
        training=source.training,
        counts={part: len(rows) for part, rows in source.split["parts"].items()},
        val=_validation(source.run),
    )


def training_says(run: RunDir) -> tuple[Saying, ...]:
    """What the training of a finished run says, gravest first."""
    notes = read_json(run.training).get("notes", ())
    return sayings(History.load(run.history), _validation(run), notes=notes)


def _validation(run: RunDir) -> Predictions | None:
    path = run.predictions("val")
    return Predictions.load(path) if path.is_file() else None


def _model(source: PageSource) -> ModelCard:
    training = source.training
    size = training["preprocess"]["size"]
    reason = (
        "set by the recipe"
        if source.recipe.model.size
        else f"the pictures' median shorter side is {training['median_side']} px, the network's own is "
        f"{training['native_size']} px"
    )
    return ModelCard(
        backbone=training["backbone"]["name"],
        input_size=size,
        num_parameters=training["backbone"]["parameters"],
        num_views=len(training["views"]["predict"]),
        size_reason=reason,
        weights_source=training["backbone"]["source"],
        weights_sha256=training["backbone"]["sha256"],
    )
