"""An ``.npz`` of pictures and labels -> `Listing`: each picture becomes a lossless PNG in the cache, once.

``images`` are ``[N, H, W, 3]``, grey ``[N, H, W]`` or ``[N, H, W, 1]``; uint8, or other numbers from 0 to 255.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from budwood.data.inputs.array_labels import label_names, part_words, texts_of
from budwood.data.inputs.array_roles import EXPECTED_ARRAYS, ArraySet, array_sets
from budwood.data.inputs.listing import Entry, Listing
from budwood.data.inputs.npz import ArrayInfo, array_infos, array_rows, load_array
from budwood.data.inputs.parts import check_parts
from budwood.data.inputs.pixel_values import check_images, pixel_scale
from budwood.data.inputs.unpacked import unpacked
from budwood.errors import DataError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent


def list_arrays(file: Path, *, listen: Listener = silent, needs_labels: bool = True) -> Listing:
    """The pictures of an ``.npz``, named by their place in the array (``000012.png``), with labels.

    Args:
        file: the ``.npz``; nothing in it is unpickled.
        listen: hears of the step ``unpack``, unless it was unpacked before, and of numbers from 0 to 1.
        needs_labels: False: a file without labels is listed with empty ones, for `predict`.

    Raises:
        DataError: no arrays that fit, values that are no pixels, or labels that do not fit the pictures.
        OutputError: the cache cannot be written.
    """
    found = unpacked(file, fill=lambda target: _fill(file, target, listen))
    for text in found.facts["warnings"]:
        listen(Warned(text=text))
    entries = [
        Entry(path=path, place=os.path.join(found.folder, path), label=label, group=group, part=part)
        for path, label, group, part in found.facts["rows"]
    ]
    ignored = list(found.facts["ignored"])
    if needs_labels:
        num_all, entries = len(entries), [entry for entry in entries if entry.label]
        if not entries:
            raise DataError(f"{file} holds pictures and no labels. {EXPECTED_ARRAYS}")
        if len(entries) < num_all:
            ignored.append(f"{num_all - len(entries)} pictures without labels; name them with budwood predict")
        entries = _divided(entries, where=str(file))
    entries.sort(key=lambda entry: entry.path)
    classes = tuple(sorted({entry.label for entry in entries}))
    return Listing(root=found.folder, entries=tuple(entries), classes=classes, ignored=tuple(sorted(ignored)))


def _divided(entries: list[Entry], *, where: str) -> list[Entry]:
    parts = {entry.part for entry in entries}
    if parts == {"train"}:  # only the training pictures have labels: nothing is divided
        return [entry._replace(part="") for entry in entries]
    if parts != {""}:
        check_parts(entries, where=where)
    return entries


@dataclass(slots=True, kw_only=True)
class _Filling:
    """The facts of an unpacked file while it is made: ``rows`` are path, label, group, part."""

    target: Path
    listen: Listener
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, one: ArraySet) -> None:
        """Write the pictures of one set, and note their labels.

        Raises:
            DataError: the values are no pixels, or labels, groups or parts do not fit.
        """
        images, number = one.images, one.images.shape[0]
        labels = [""] * number
        if one.labels is not None:
            names = load_array(one.names) if one.names is not None else None
            labels = label_names(load_array(one.labels), where=f"{images.file}: {one.labels.name}", names=names)
        groups, parts = [""] * number, [one.part] * number
        if one.groups is not None:
            groups = texts_of(load_array(one.groups), where=f"{images.file}: {one.groups.name}")
        if one.parts is not None:
            parts = part_words(load_array(one.parts), where=f"{images.file}: {one.parts.name}")
        for what, values in (("labels", labels), ("groups", groups), ("parts", parts)):
            if len(values) != number:
                raise DataError(f"{images.file}: {number} pictures in {images.name} and {len(values)} {what}")
        folder = f"{one.part}/" if one.part else ""
        paths = [f"{folder}{at:06d}.png" for at in range(number)]
        (self.target / folder).mkdir(exist_ok=True)
        self._write(images, paths)
        self.rows += zip(paths, labels, groups, parts, strict=True)

    def _write(self, images: ArrayInfo, paths: list[str]) -> None:
        as_bytes = pixel_scale(images)
        if as_bytes.note:
            self.warnings.append(f"{images.file}: {as_bytes.note}")
        at = 0
        for block in array_rows(images):
            for picture in as_bytes(block):
                # Level 1 takes less than half the time of the default, and these files are a cache.
                Image.fromarray(picture).save(self.target / paths[at], compress_level=1)
                at += 1
            self.listen(StepAdvanced(step="unpack", count=len(block)))


def _fill(file: Path, target: Path, listen: Listener) -> dict[str, Any]:
    started = time.monotonic()
    infos = array_infos(file)
    sets = array_sets(infos)
    for one in sets:
        check_images(one.images)
    listen(StepStarted(step="unpack", total=sum(one.images.shape[0] for one in sets)))
    filling = _Filling(target=target, listen=listen)
    for one in sets:
        filling.take(one)
    seconds = time.monotonic() - started
    listen(StepFinished(step="unpack", seconds=seconds, note=f"{len(filling.rows)} pictures into the cache"))
    used = [array.name for one in sets for array in (one.images, one.labels, one.groups, one.parts, one.names) if array]
    ignored = [f"{info.name}: this array is not used" for info in infos if info.name not in used]
    return {"rows": filling.rows, "warnings": filling.warnings, "ignored": ignored}
