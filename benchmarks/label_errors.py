"""Measures the check of wrong labels beside cleanlab's, on one and the same out-of-fold probabilities.

    python benchmarks/label_errors.py FOLDER [--share 0.05] [--seeds 3] [--backbone lite0]

Swaps the labels of a share of the pictures for other classes, all alike, asks the packaged network for its opinion,
and prints precision, recall, F1 and how many pictures are named: of Budwood's check, of its warnings alone, and of
every filter of cleanlab (``prune_by_noise_rate`` is its default); then the average precision of each ranking. Means
over the seeds, lowest and highest beside. A picture whose own label is wrong from the start counts as a false alarm.
Nothing is written but the cache. Needs ``pip install cleanlab``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from budwood import machine
from budwood.data.checks.labels import find_label_errors, suspect_labels
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog
from budwood.look import LookSpec, form_opinion
from budwood.models.build import open_backbone, store_side
from budwood.prepare import read_photos
from budwood.recipe import load_recipe

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
RANKINGS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
Mask = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=0.05, help="of the pictures whose labels are swapped")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default="lite0")
    options = parser.parse_args()
    recipe = load_recipe("probe", overrides=[f"model.backbone={options.backbone}"])
    found = machine.probe(tuned_allocator=machine.tune_allocator())
    backbone = open_backbone(recipe.model)
    side = store_side(recipe.model, backbone.preprocess)
    dataset = read_photos(options.folder, recipe, side=side, listen=print_finished)
    rows: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(options.seeds):
        catalog, wrong = swapped(dataset.catalog, share=options.share, seed=seed)
        opinion = form_opinion(
            replace(dataset, catalog=catalog),
            recipe,
            backbone=backbone,
            spec=LookSpec(border=False),
            bf16=found.bf16,
            listen=print_finished,
        )
        for name, row in judgements(catalog, opinion, wrong):
            rows.setdefault(name, []).append(row)
    print(f"{len(dataset.catalog)} pictures, {options.share:.0%} of the labels swapped, {options.seeds} seeds")
    print_table(rows)


def print_finished(event: object) -> None:
    name, note = getattr(event, "step", ""), getattr(event, "note", "")
    if note:
        print(f"  {name}: {note}", flush=True)


def swapped(catalog: Catalog, *, share: float, seed: int) -> tuple[Catalog, Mask]:
    """The catalog with a share of its labels swapped for other classes, and which they are."""
    rng = np.random.default_rng(seed)
    wrong = np.zeros(len(catalog), bool)
    wrong[rng.permutation(len(catalog))[: round(share * len(catalog))]] = True
    others = (np.array(catalog.targets) + rng.integers(1, len(catalog.classes), len(catalog))) % len(catalog.classes)
    records = tuple(
        replace(record, label=catalog.classes[other]) if swap else record
        for record, other, swap in zip(catalog.records, others.tolist(), wrong.tolist(), strict=True)
    )
    return replace(catalog, records=records), wrong


def judgements(catalog: Catalog, opinion: Opinion, wrong: Mask) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Name and figures of every way to find the wrong labels."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise SystemExit("cleanlab is missing: pip install cleanlab") from error
    labels = np.array(catalog.targets, np.int64)
    probs = opinion.probs.astype(np.float64)
    findings = find_label_errors(catalog, opinion)
    sure = {path for finding in findings if finding.severity == "warning" for path in finding.paths}
    named = np.zeros(len(labels), bool)
    named[suspect_labels(opinion.probs, labels)] = True
    yield "budwood", figures(named, wrong)
    yield "budwood, warnings only", figures(np.array([path in sure for path in opinion.paths]), wrong)
    for name in FILTERS:
        yield f"cleanlab {name}", figures(find_label_issues(labels, probs, filter_by=name, n_jobs=1), wrong)
    doubt = 1 - probs[np.arange(len(labels)), labels]
    yield "ranking: budwood", (float(average_precision_score(wrong, doubt)),)
    for name in RANKINGS:
        quality = get_label_quality_scores(labels, probs, method=name)
        yield f"ranking: cleanlab {name}", (float(average_precision_score(wrong, -quality)),)


def figures(named: Mask, wrong: Mask) -> tuple[float, ...]:
    """Precision, recall, F1, and the number of pictures named."""
    hits = int((named & wrong).sum())
    precision, recall = hits / max(1, int(named.sum())), hits / max(1, int(wrong.sum()))
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall), float(named.sum())


def print_table(rows: dict[str, list[tuple[float, ...]]]) -> None:
    print(f"{'':<48}{'precision':<21}{'recall':<21}{'F1':<21}named")
    for name, values in rows.items():
        columns = [
            f"{np.mean(v):.3f} ({min(v):.3f}-{max(v):.3f})  " if max(v) <= 1 else f"{np.mean(v):.0f}"
            for v in zip(*values, strict=True)
        ]
        print(f"  {name:<46}" + "".join(columns))


if __name__ == "__main__":
    main()
