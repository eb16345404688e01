"""From a run's plan, history and training.json to what the report shows of the training. Reads no file, runs no model.

Runs of earlier versions lack some of the numbers; what is not known is left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from budwood.evaluation.predictions import Predictions
from budwood.report.plan_view import plan_rows
from budwood.report.templating import count
from budwood.report.training_data import (
    CacheRow,
    Curves,
    HeadSelection,
    Phase,
    Saying,
    StageSpan,
    TrainingView,
    sentence,
)
from budwood.train.diagnosis import Kind, diagnose
from budwood.train.history import EpochRow, History
from budwood.train.resolved import ResolvedStage
from budwood.train.stages import TrainSpec

# Kind -> (mark, word, severity); gravest first, which is also the order on the page and on the command line.
_KINDS: dict[Kind | str, Saying] = {
    "collapsed": Saying(mark="✕", word="collapsed", severity="error", text=""),
    "note": Saying(mark="↺", word="on the way", severity="warning", text=""),
    "overfit": Saying(mark="!", word="overfitting", severity="warning", text=""),
    "underfit": Saying(mark="!", word="underfitting", severity="warning", text=""),
    "unanswered": Saying(mark="!", word="unanswered", severity="warning", text=""),
    "unfinished": Saying(mark="…", word="unfinished", text=""),
    "memory": Saying(mark="↺", word="memory", text=""),
    "noise": Saying(mark="≈", word="noise", text=""),
    "curves": Saying(mark="i", word="curves", text=""),
}
_HARMLESS = "memory ran out"  # and the gradients are the same: of the loop's notes the one that changed nothing
_CURVES_NOTE = (
    "The loss while training is on augmented, mixed pictures with smoothed labels: hold the other two together."
)


def training_view(
    spec: TrainSpec,
    *,
    history: History,
    training: Mapping[str, Any],
    counts: Mapping[str, int],
    val: Predictions | None,
) -> TrainingView:
    """All that the page shows of a training.

    Args:
        spec: the plan. training: what training.json holds. counts: pictures of each part.
        val: the answers to the validation part; None where they are not kept.
    """
    resolved = tuple(ResolvedStage.from_dict(each) for each in training.get("plan", ()))
    head = training["head"]
    spans = _spans(history, resolved, best_epochs=training["best_epochs"], first=2 if head else 1)
    phases: list[Phase] = [_head(head)] if head else []
    if history.rows:
        note = _CURVES_NOTE if any(not math.isnan(row.train_loss) for row in history.rows) else ""
        title = spans[0].title if len(spans) == 1 else "Epoch by epoch"
        phases.append(
            Curves(title=title, rows=history.rows, stages=spans, num_validation=counts.get("val", 0), note=note)
        )
    return TrainingView(
        plan=plan_rows(spec, resolved, spans, head=head, num_train=counts.get("train", 0)),
        phases=tuple(phases),
        says=sayings(history, val, notes=training.get("notes", ())),
        caches=tuple(map(_cache, training.get("caches", ()))),
    )


def sayings(history: History, val: Predictions | None, *, notes: Sequence[str]) -> tuple[Saying, ...]:
    """The diagnoses and what went on on the way, gravest first, as sentences."""
    found = [("memory" if text.startswith(_HARMLESS) else "note", text) for text in notes]
    if val is not None and val.targets is not None:
        found += [(each.kind, each.text) for each in diagnose(history, val.predicted, val.targets, classes=val.classes)]
    order = list(_KINDS)
    return tuple(_saying(kind, text) for kind, text in sorted(found, key=lambda each: order.index(each[0])))


def _saying(kind: str, text: str) -> Saying:
    like = _KINDS[kind]
    text = text.removeprefix(f"{like.word}: ")
    return Saying(mark=like.mark, word=like.word, severity=like.severity, text=f"{sentence(text)}.")


def _spans(
    history: History, resolved: Sequence[ResolvedStage], *, best_epochs: Sequence[int], first: int
) -> tuple[StageSpan, ...]:
    """The stages' epochs. Without ``resolved`` (earlier versions) stages are told apart by their titles."""
    groups: list[list[EpochRow]]
    trained = [stage for stage in resolved if not stage.solved]
    if trained and sum(stage.epochs_run for stage in trained) == len(history):
        rows = iter(history.rows)
        groups = [list(itertools.islice(rows, stage.epochs_run)) for stage in trained]
    else:
        groups = [list(rows) for _, rows in itertools.groupby(history.rows, key=lambda row: row.stage)]
    return tuple(
        StageSpan(
            number=number,
            title=sentence(own[0].stage),
            first=own[0].epoch,
            last=own[-1].epoch,
            best=next((epoch for epoch in reversed(best_epochs) if own[0].epoch <= epoch <= own[-1].epoch), None),
        )
        for number, own in enumerate((own for own in groups if own), start=first)
    )


def _head(head: Mapping[str, Any]) -> HeadSelection:
    return HeadSelection(
        title="Head on frozen features",
        penalties=tuple(head["penalties"]),
        accuracies=tuple(head["accuracies"]),
        deviations=tuple(head["deviations"]),
        chosen=head["chosen"],
        num_folds=head["num_folds"],
        note=(
            f"{len(head['penalties']) * head['num_folds']} heads were solved together on features of "
            f"{count(head['num_views'], 'view')}; the penalty with the lowest log loss was taken."
        ),
    )


def _cache(use: Mapping[str, Any]) -> CacheRow:
    kept = bool(use["use"])
    reason = str(use["reason"]).removeprefix("not used: ").removeprefix("used: ")
    known = kept or use["predicted_ratio"] != 1
    return CacheRow(
        stage=sentence(use["stage"]),
        kept=kept,
        reason=f"{sentence(reason)}.",
        predicted=use["predicted_ratio"] if known else None,
        real=use["real_ratio"],
        num_bytes=use["bytes"],
        seconds=use["seconds"],
    )
