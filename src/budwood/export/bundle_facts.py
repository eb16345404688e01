"""`BundleFacts`: what a bundle knows about itself besides its weights, and ``bundle.json``, where that is kept.

Format 2, and format 1 as it was written before. What is read may have been written by anybody: every value is checked,
and an odd one is an `IntegrityError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from budwood.data.preprocess import Preprocess
from budwood.errors import IntegrityError
from budwood.evaluation.calibrate import Calibration
from budwood.evaluation.plain_values import number, whole
from budwood.evaluation.views import View, view_to_json, views_from
from budwood.files import read_json
from budwood.models.build import ModelSpec

FORMAT = 2
FACTS_NAME = "bundle.json"
Kind = Literal["network", "ensemble", "cascade"]
Average = Literal["probabilities", "logits"]
_MAX_VIEWS = 256
_MAX_SIDE = 2048
_PREPROCESS_KEYS = {"size", "crop_fraction", "interpolation", "mean", "std", "store_side"}


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What a bundle knows about itself besides its weights.

    kind: a network, or how members are joined. spec, preprocess, views, average: of a network only; others have None
    and (). views: what of a picture is shown (turns as numbers); average: of what the mean over the views is taken.
    members, combine: the folders of the members, and how they are joined; see docs/bundle.md.
    training: recipe, seed, pictures, as plain values. calibration: None where nothing was fitted.
    split: the fingerprint of the test part. metrics: scores with intervals, as plain values.
    """

    classes: tuple[str, ...]
    training: dict[str, Any]
    versions: dict[str, str]
    kind: Kind = "network"
    spec: ModelSpec | None = None
    preprocess: Preprocess | None = None
    views: tuple[int | View, ...] = ()
    average: Average = "probabilities"
    members: tuple[str, ...] = ()
    combine: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    split: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``bundle.json``."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "kind": self.kind,
            "classes": list(self.classes),
            "training": self.training,
            "versions": self.versions,
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "split": self.split,
            "metrics": self.metrics,
        }
        if self.spec is None or self.preprocess is None:
            return {**values, "members": list(self.members), "combine": self.combine}
        return {
            **values,
            "model": self.spec.model_dump(mode="json"),
            "preprocess": self.preprocess.to_dict(),
            "views": [view_to_json(view) for view in self.views],
            "average": self.average,
        }


def read_facts(folder: Path) -> BundleFacts:
    """Read ``bundle.json``.

    Raises:
        IntegrityError: it is missing, damaged or of a newer format.
    """
    values = read_json(folder / FACTS_NAME)
    try:
        form = whole(values["format"], "format")
        if form not in (1, FORMAT):
            raise IntegrityError(f"{folder} has bundle format {form}, this Budwood reads {FORMAT}: update it")
        return _facts(values, form)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise IntegrityError(f"{folder / FACTS_NAME} does not describe a bundle ({_first_line(error)})") from error


def _facts(values: dict[str, Any], form: int) -> BundleFacts:
    kind: Kind = "network"
    rest: dict[str, Any] = {}
    if form > 1:
        kind = _one_of(values["kind"], get_args(Kind), "kind")
        known = values["calibration"]
        rest = {
            "kind": kind,
            "calibration": None if known is None else Calibration.from_dict(known),
            "split": _text(values["split"], "split"),
            "metrics": _table(values["metrics"], "metrics"),
        }
    if kind == "network":
        rest |= {
            "spec": ModelSpec.model_validate(values["model"]),
            "preprocess": _preprocess(values["preprocess"]),
            "views": _views(values["views"]),
        }
        if form > 1:
            rest["average"] = _one_of(values["average"], get_args(Average), "average")
    else:
        rest |= {"members": _names(values["members"], "members"), "combine": _table(values["combine"], "combine")}
    return BundleFacts(
        classes=_names(values["classes"], "classes"),
        training=_table(values["training"], "training"),
        versions=_table(values["versions"], "versions"),
        **rest,
    )


def _preprocess(values: dict[str, Any]) -> Preprocess:
    if set(values) != _PREPROCESS_KEYS:
        raise ValueError(f"preprocess has the keys {', '.join(sorted(values))[:80]}")
    found = Preprocess(
        size=whole(values["size"], "preprocess.size"),
        crop_fraction=number(values["crop_fraction"], "preprocess.crop_fraction"),
        interpolation=_one_of(values["interpolation"], ("bilinear", "bicubic"), "preprocess.interpolation"),
        mean=_three(values["mean"], "preprocess.mean"),
        std=_three(values["std"], "preprocess.std"),
        store_side=whole(values["store_side"], "preprocess.store_side"),
    )
    sides = (found.size, found.store_side)
    if not all(1 <= side <= _MAX_SIDE for side in sides) or not 0.1 <= found.crop_fraction <= 1:
        raise ValueError(f"preprocess asks for sides {sides} and a crop of {found.crop_fraction:g}")
    if min(found.std) < 1e-6 or max(map(abs, (*found.mean, *found.std))) > 1e6:
        raise ValueError(f"preprocess standardises by mean {found.mean} and std {found.std}")
    return found


def _views(values: Any) -> tuple[int | View, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= _MAX_VIEWS:
        raise ValueError(f"views is no list of 1 to {_MAX_VIEWS} views")
    return tuple(view.turn if view.is_whole else view for view in views_from(values))


def _three(values: Any, name: str) -> tuple[float, float, float]:
    first, second, third = (number(value, name) for value in values)
    return first, second, third


def _names(values: Any, name: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
        raise ValueError(f"{name} is no list of names")
    if len(set(values)) < len(values):
        raise ValueError(f"{name} holds a name twice")
    return tuple(values)


def _table(values: Any, name: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{name} is no table")
    return values


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _one_of(value: Any, known: tuple[Any, ...], name: str) -> Any:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} is {str(value)[:40]!r}; known are {', '.join(known)}")
    return value


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
