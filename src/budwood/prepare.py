"""From a folder of photos to what training needs: catalog, findings, split, pixels.

The first half of the flow; `pipeline.py` calls it and goes on. Nothing here trains.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood import cache
from budwood.data.audit import AuditResult, add_opinion, audit
from budwood.data.cleaning.clean import CleanAction, CleanSpec, apply_actions, clean, clean_split, restrict_to
from budwood.data.cleaning.decisions import Decision, DecisionJournal, apply_decisions
from budwood.data.leaks import tied_groups
from budwood.data.loader import PixelSet
from budwood.data.opinion import Opinion
from budwood.data.own_parts import has_own_parts
from budwood.data.pixels import working_pixels
from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog, ImageRecord
from budwood.data.scan import scan
from budwood.data.split import check_split, split, split_folds
from budwood.data.split_file import read_split
from budwood.data.split_nouns import Split
from budwood.data.store import PictureStore
from budwood.errors import SettingsError, SplitError
from budwood.events import Listener, Warned
from budwood.files import sha256_bytes, to_json
from budwood.models.backbones import Backbone
from budwood.models.build import choose_preprocess
from budwood.recipe import TINY_PICTURES_PER_CLASS, Recipe
from budwood.workspace import workspace


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The pictures as scanned, what the audit found, what is left out or relabelled, and what can be used after that.

    ``catalog`` holds the usable pictures after all that holds for every part; of ``actions``, those that hold for the
    training part only are carried out by `make_splits`. ``decisions`` are a person's, by path. ``pixel_groups`` were
    tied without a network.
    """

    scanned: Catalog
    catalog: Catalog
    store: PictureStore
    audit: AuditResult
    pixel_groups: tuple[tuple[str, ...], ...] = ()
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    actions: tuple[CleanAction, ...] = ()

    def ledger(self, split: Split) -> Catalog:
        """Every picture with its state and why, for training by ``split``."""
        train = {self.catalog.records[i].path for i in (*split.parts["train"], *split.left_out)}
        known = apply_actions(self.scanned, restrict_to(self.actions, train))
        left_out = {self.catalog.records[i].path for i in split.left_out}
        return replace(known, records=tuple(_left_out(r) if r.path in left_out else r for r in known.records))


def _left_out(record: ImageRecord) -> ImageRecord:
    if record.state != "ok":
        return record
    return replace(
        record, state="excluded", reason="left out of training: it shows what a picture of another part shows"
    )


def read_photos(photos: Path, recipe: Recipe, *, side: int, listen: Listener) -> Dataset:
    """Scan, apply what a person decided in review, audit, and clean by the recipe's policy.

    Raises:
        DataError, UsageError: see `scan`.
    """
    store = PictureStore(cache.pictures_folder(photos, side=side), side=side)
    scanned = scan(photos, store=store, listen=listen)
    if recipe.tiny:
        scanned = thinned(scanned, TINY_PICTURES_PER_CLASS)
    decisions = DecisionJournal(workspace(photos).decisions).decisions()
    decided = apply_decisions(scanned, decisions)
    found = audit(decided, store, spec=recipe.audit, listen=listen)
    dataset = Dataset(
        scanned=scanned,
        catalog=decided.usable(),
        store=store,
        audit=found,
        pixel_groups=found.groups,
        decisions=decisions,
    )
    return cleaned(dataset, recipe.clean, listen=listen)


def cleaned(dataset: Dataset, policy: CleanSpec, *, listen: Listener) -> Dataset:
    """Carry out a person's decisions and a policy, as far as they hold for every part, and plan the rest.

    Raises:
        DataError: a class would be left without pictures.
    """
    plan = clean(dataset.scanned, dataset.audit.findings, spec=policy, decisions=dataset.decisions)
    for note in plan.notes:
        listen(Warned(text=note))
    known = apply_actions(dataset.scanned, restrict_to(plan.actions, ()))
    return replace(dataset, catalog=known.usable(), actions=plan.actions)


def with_opinion(dataset: Dataset, opinion: Opinion, recipe: Recipe, *, listen: Listener) -> Dataset:
    """The dataset with what the checks that need a network find, and cleaned by that too where the policy says so."""
    # Not the cleaned catalog: what cleaning left out is why it was left out, and must be found again.
    decided = apply_decisions(dataset.scanned, dataset.decisions)
    found = add_opinion(dataset.audit, decided, opinion, dataset.store, spec=recipe.audit)
    return cleaned(replace(dataset, audit=found), recipe.clean, listen=listen)


def thinned(catalog: Catalog, per_class: int) -> Catalog:
    """At most ``per_class`` pictures of each class, evenly spaced in the order of their paths."""
    by_class: dict[str, list[int]] = {}
    for i, record in enumerate(catalog.records):
        by_class.setdefault(record.label, []).append(i)
    kept = set()
    for rows in by_class.values():
        spaced = np.linspace(0, len(rows) - 1, min(per_class, len(rows))).round().astype(int)
        kept |= {rows[int(i)] for i in spaced}
    return replace(catalog, records=tuple(r for i, r in enumerate(catalog.records) if i in kept))


def make_splits(
    dataset: Dataset, recipe: Recipe, split_file: Path | None, *, listen: Listener
) -> tuple[Dataset, tuple[Split, ...]]:
    """One split, or one for each fold, and the pictures after what cleaning does to the training part only.

    The pictures' own parts are kept where they have any; these and a split file are checked for leaks first.

    Raises:
        SplitError: the pictures cannot be split so. LeakError: the user's split tears apart what belongs together.
    """
    made = _splits(dataset, recipe, split_file, listen=listen)
    planned = [action for action in dataset.actions if not action.in_every_part]
    if len(made) > 1 and any(action.action == "relabel" for action in planned):
        raise SettingsError(
            "clean.relabel changes labels of one training part, and folds have several: drop one of them"
        )
    results = [clean_split(split, dataset.catalog, planned) for split in made]
    return replace(dataset, catalog=results[0][1]), tuple(split for split, _ in results)


def _splits(dataset: Dataset, recipe: Recipe, split_file: Path | None, *, listen: Listener) -> tuple[Split, ...]:
    catalog, groups = dataset.catalog, dataset.audit.groups
    if split_file is not None:
        chosen = read_split(split_file, catalog)
        # By pixels alone, as `budwood split` ties: a file that it has just written must not be refused.
        check_split(chosen, catalog, dataset.pixel_groups)
        return (chosen,)
    if recipe.split.folds is not None:
        return split_folds(catalog, groups=groups, doubtful=dataset.audit.doubtful, spec=recipe.split, seed=recipe.seed)
    # Parts that the pictures came with are refused for what `budwood split --check own` would show, no more.
    tied = dataset.pixel_groups if has_own_parts(catalog) and recipe.split.own == "keep" else groups
    made = split(
        catalog,
        groups=tied,
        doubtful=dataset.audit.doubtful,
        spec=recipe.split,
        seed=recipe.seed,
        listen=listen,
    )
    return (made,)


def working_preprocess(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> Preprocess:
    """The input size of this run, chosen from the pictures unless the recipe fixes it."""
    sides = [min(r.width, r.height) for r in dataset.catalog.records]
    return choose_preprocess(
        recipe.model, backbone.preprocess, shorter_side=int(np.median(sides)), fixed_size=backbone.fixed_size
    )


def open_pixels(dataset: Dataset, preprocess: Preprocess, *, listen: Listener) -> PixelSet:
    """All usable pictures at the working size, decoded once, mapped from a cache file."""
    catalog = dataset.catalog
    key = sha256_bytes(f"{catalog.fingerprint}{to_json(preprocess.to_dict())}".encode())
    pixels = working_pixels(dataset.store, catalog, preprocess, file=cache.pixels_file(key), listen=listen)
    return PixelSet(
        pixels=pixels,
        targets=np.array(catalog.targets, dtype=np.int64),
        paths=tuple(r.path for r in catalog.records),
        rows=np.arange(len(catalog)),
    )


def part_of(pixels: PixelSet, rows: tuple[int, ...]) -> PixelSet:
    """The pictures of one part."""
    return replace(pixels, rows=np.array(rows, dtype=np.int64))


def digests_of(catalog: Catalog, rows: NDArray[np.int64]) -> list[str]:
    """Pixel digests of some records: the keys of their features."""
    return [catalog.records[int(i)].pixel_digest for i in rows]


def head_folds(dataset: Dataset, part: PixelSet, *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each picture of a part for choosing the head's penalty: stratified, groups of near-duplicates whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    tied = tied_groups(dataset.catalog, dataset.audit.groups)
    group_of = {path: f"group {g}" for g, group in enumerate(tied) for path in group}
    groups = [group_of.get(part.paths[i], part.paths[i]) for i in part.rows]
    folds = np.zeros(len(part), dtype=np.int64)
    num_folds = min(num_folds, len(set(groups)), int(np.bincount(part.labels).max()))
    if num_folds < 2:
        raise SplitError(
            "every class has 1 picture in the training part, and choosing a head needs 2 of some class: add pictures"
        )
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer pictures than folds is missing from some folds: known and harmless here.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held) in enumerate(splitter.split(np.zeros(len(part)), part.labels, groups)):
            folds[held] = fold
    return folds
