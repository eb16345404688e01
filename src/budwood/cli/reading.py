"""What `audit`, `clean` and `review` do first: scan, apply earlier decisions, audit, ask the network if told to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from budwood.data.audit import AuditResult
    from budwood.data.opinion import Opinion
    from budwood.data.records import Catalog
    from budwood.data.store import PictureStore
    from budwood.events import Listener

SIDE = 320  # what the packaged networks keep pictures at too, so that `fit` need not read them again
Model = Annotated[
    bool,
    typer.Option("--model", help="Also ask a network: wrong labels, outliers, confusable classes, shortcuts."),
]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """``scanned`` as the files are; ``catalog`` after a person's decisions; what was found in the latter."""

    scanned: Catalog
    catalog: Catalog
    store: PictureStore
    result: AuditResult
    opinion: Opinion | None


def read_and_audit(photos: Path, *, model: bool = False, decided: bool = True, listen: Listener) -> Reading:
    """Scan and audit; with ``model`` also form an opinion, which imports torch.

    Args:
        decided: audit the pictures after a person's decisions; else the files as they are.

    Raises:
        DataError, UsageError: see `scan`.
    """
    from budwood.cache import pictures_folder
    from budwood.data.audit import audit
    from budwood.data.cleaning.decisions import DecisionJournal, apply_decisions
    from budwood.data.scan import scan
    from budwood.data.store import PictureStore
    from budwood.workspace import workspace

    tuned = _tuned() if model else False
    store = PictureStore(pictures_folder(photos, side=SIDE), side=SIDE)
    scanned = scan(photos, store=store, listen=listen)
    decisions = DecisionJournal(workspace(photos).decisions).decisions() if decided else {}
    catalog = apply_decisions(scanned, decisions)
    result = audit(catalog, store, listen=listen)
    reading = Reading(scanned=scanned, catalog=catalog, store=store, result=result, opinion=None)
    return _with_opinion(reading, tuned=tuned, listen=listen) if model else reading


def _tuned() -> bool:
    from budwood import machine

    return machine.tune_allocator()  # before torch is imported


def _with_opinion(reading: Reading, *, tuned: bool, listen: Listener) -> Reading:
    from budwood import machine
    from budwood.data.audit import add_opinion
    from budwood.look import form_opinion
    from budwood.prepare import Dataset
    from budwood.recipe import load_recipe

    found = machine.probe(tuned_allocator=tuned)
    dataset = Dataset(
        scanned=reading.scanned, catalog=reading.catalog.usable(), store=reading.store, audit=reading.result
    )
    opinion = form_opinion(dataset, load_recipe("probe"), bf16=found.bf16, listen=listen)
    return replace(
        reading, opinion=opinion, result=add_opinion(reading.result, reading.catalog, opinion, reading.store)
    )
