"""Bundles of bundles: an ensemble or a cascade is a folder whose members are whole bundles."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.errors import OutputError, UsageError
from budwood.evaluation.calibrate import Calibration
from budwood.evaluation.ensemble import Combine
from budwood.export.bundle import MEMBERS_NAME, Bundle, load
from budwood.export.bundle_facts import BundleFacts, Kind
from budwood.export.golden import read_golden, write_golden
from budwood.export.joining import JOINS
from budwood.export.sealing import seal


def write_ensemble(
    folder: Path,
    members: Sequence[Path],
    how: Combine,
    *,
    training: dict[str, Any],
    versions: dict[str, str],
    names: Sequence[str] = (),
    calibration: Calibration | None = None,
    split: str = "",
    metrics: dict[str, Any] | None = None,
) -> Bundle:
    """Write a bundle that joins the answers of ``members``, which are copied in, and load it back.

    Args:
        folder: new or empty.
        members: folders of bundles that know the same classes, in any order; the first one's order is kept.
        how: how their calibrated probabilities are joined.
        training, versions, split, metrics: see `BundleFacts`.
        names: what the members are called; their recipes' names unless given.
        calibration: of the joined answers.

    Raises:
        UsageError: there are no members, or they do not know the same classes. OutputError: ``folder`` holds something.
    """
    opened = [load(member) for member in members]
    if not opened:
        raise UsageError("an ensemble needs at least one member")
    facts = BundleFacts(
        kind="ensemble",
        classes=opened[0].classes,
        combine=how.to_dict(),
        training=training,
        versions=versions,
        calibration=calibration,
        split=split,
        metrics=metrics or {},
    )
    return write_joined(folder, opened, facts, names=names)


def write_joined(folder: Path, members: Sequence[Bundle], facts: BundleFacts, *, names: Sequence[str] = ()) -> Bundle:
    """Write a bundle of any kind with members; ``facts.members`` is filled in here. See `write_ensemble`.

    Raises:
        UsageError: the members cannot be joined as ``facts`` says. OutputError: ``folder`` holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} already holds something; choose another place")
    packed = [member.folder for member in members if not member.folder.is_dir()]
    if packed:
        raise UsageError(f"{packed[0]} is no folder, and members are copied as folders: unpack it first")
    called = names or [str(member.facts.training.get("recipe") or member.facts.kind) for member in members]
    facts = replace(facts, members=tuple(f"{n}-{_plain(name)}" for n, name in enumerate(called, start=1)))
    try:
        JOINS[_joined_kind(facts.kind)](facts, [member.classes for member in members])
    except ValueError as error:
        raise UsageError(f"these members cannot be joined: {error}") from error
    for member, name in zip(members, facts.members, strict=True):
        shutil.copytree(member.folder, folder / MEMBERS_NAME / name)
    whole = Bundle(folder, facts, members=members)
    images = _golden_images(members)
    if images:
        write_golden(folder, images, whole.predict_images(images))
    seal(folder, facts)
    return load(folder)


def _golden_images(members: Sequence[Bundle]) -> list[NDArray[np.uint8]]:
    """The golden pictures of the first member that has some."""
    for member in members:
        if kept := read_golden(member.folder, num_classes=len(member.classes)):
            return [decode_file(file).image for file, _ in kept]
    return []


def _joined_kind(kind: Kind) -> Kind:
    if kind not in JOINS:
        raise UsageError(f"a bundle of the kind {kind} has no members; known are {', '.join(JOINS)}")
    return kind


def _plain(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^-.0-9A-Za-z]+", "_", name)[:60] or "member"
