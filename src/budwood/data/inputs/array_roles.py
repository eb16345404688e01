"""Which arrays of an ``.npz`` are pictures, labels, groups and parts: by common names, else the only pair that fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from budwood.data.inputs.npz import ArrayInfo
from budwood.data.inputs.parts import part_of_word
from budwood.errors import DataError

_ROLES = {
    "images": ("images", "image", "data", "x", "pictures", "pixels", "imgs", "img", "arr0"),
    "labels": ("labels", "label", "y", "targets", "target", "arr1"),
    "groups": ("groups", "group", "subjects", "patients"),
    "parts": ("parts", "part", "splits", "split"),
    "names": ("classnames", "labelnames", "classes", "names"),
}

EXPECTED_ARRAYS = (
    "Two arrays are expected: images [N, H, W, 3] and labels [N], such as"
    " numpy.savez(file, images=images, labels=labels)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySet:
    """Arrays that belong together; ``part`` where their names say one (``train_images``, ``train_labels``)."""

    images: ArrayInfo
    labels: ArrayInfo | None
    groups: ArrayInfo | None = None
    parts: ArrayInfo | None = None
    names: ArrayInfo | None = None
    part: str = ""


def array_sets(infos: Sequence[ArrayInfo]) -> list[ArraySet]:
    """One set without a part, or one for each part; labels may be missing where no labelled pair can be found.

    Raises:
        DataError: the arrays cannot be told apart; the text lists what is there.
    """
    found = _named_sets(infos)
    labelled = [part for part, one in found.items() if one.labels is not None]
    if "" in labelled:
        return [found[""]]
    if labelled:
        return [found[part] for part in ("train", "val", "test") if part in found]
    pairs = _fitting_pairs(infos)
    if len(pairs) == 1:
        return pairs
    if found:
        return [found[part] for part in ("", "train", "val", "test") if part in found]
    shown = "; ".join(str(info)[:120] for info in infos[:8]) or "no array"
    raise DataError(f"{infos[0].file if infos else 'the file'} holds {shown}. {EXPECTED_ARRAYS}")


def _named_sets(infos: Sequence[ArrayInfo]) -> dict[str, ArraySet]:
    by_part: dict[str, dict[str, ArrayInfo]] = {}
    for info in infos:
        part, role, rank = _meaning(info.name)
        roles = by_part.setdefault(part, {})
        if role and (role not in roles or rank < _meaning(roles[role].name)[2]):
            roles[role] = info
    return {
        part: ArraySet(
            images=roles["images"],
            labels=roles.get("labels"),
            groups=roles.get("groups"),
            parts=roles.get("parts"),
            names=by_part.get("", {}).get("names"),
            part=part,
        )
        for part, roles in by_part.items()
        if "images" in roles
    }


def _meaning(name: str) -> tuple[str, str, int]:
    """Part (or empty), role (or empty) and the rank of the word for it, that an array's name stands for."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    part = next((found for word in words if (found := part_of_word(word))), "")
    rest = "".join(word for word in words if not part_of_word(word))
    for role, names in _ROLES.items():
        if rest in names:
            return part, role, names.index(rest)
    return part, "", 0


def _fitting_pairs(infos: Sequence[ArrayInfo]) -> list[ArraySet]:
    return [
        ArraySet(images=images, labels=labels)
        for images in infos
        for labels in infos
        if _like_images(images) and labels is not images and _like_labels(labels, images.shape[0])
    ]


def _like_images(info: ArrayInfo) -> bool:
    return info.dtype.kind in "uif" and (len(info.shape) == 4 or (len(info.shape) == 3 and min(info.shape[1:]) > 3))


def _like_labels(info: ArrayInfo, number: int) -> bool:
    return 1 <= len(info.shape) <= 2 and info.shape[0] == number and info.dtype.kind in "uifbSU"
