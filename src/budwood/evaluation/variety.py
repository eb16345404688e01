"""How varied and how likely made pictures are, beside real ones, in the features of a network. NumPy only.

The features say what the network sees, which is rough: pictures that a person finds poor may lie among the real ones.
All numbers depend on the network and on how many pictures are compared, so they are for comparing like with like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
# Made pictures of a class that are less than half as far apart as the real ones: one picture again and again.
COLLAPSED = 0.5
NEAREST = 3
_BLOCK = 1024  # rows compared at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassVariety:
    """Mean distance (1 - cosine) between two pictures of a class, of real and of made ones; None for fewer than 2."""

    name: str
    real: float | None
    made: float | None

    @property
    def ratio(self) -> float | None:
        """Made against real: 1 is as varied, 0 is always the same picture."""
        return self.made / self.real if self.made is not None and self.real else None

    @property
    def is_collapsed(self) -> bool:
        """Whether the made pictures hardly differ."""
        return self.ratio is not None and self.ratio < COLLAPSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """precision: the share of made pictures that lie among real ones. recall: of real ones that lie among made ones."""

    precision: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """Made pictures beside the real ones they were learnt from; ``reference``: other real ones in their place."""

    classes: tuple[ClassVariety, ...]
    made: Likeness
    reference: Likeness

    @property
    def collapsed(self) -> tuple[str, ...]:
        """The classes whose made pictures hardly differ."""
        return tuple(row.name for row in self.classes if row.is_collapsed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [{**asdict(row), "ratio": row.ratio, "collapsed": row.is_collapsed} for row in self.classes]
        return {"classes": rows, "made": asdict(self.made), "reference": asdict(self.reference)}


def class_variety(
    real: tuple[Features, NDArray[np.int64]], made: tuple[Features, NDArray[np.int64]], *, classes: Sequence[str]
) -> tuple[ClassVariety, ...]:
    """How far apart pictures of each class are.

    Args:
        real, made: features ``[N, D]`` and class indices ``[N]``.
        classes: their names.
    """
    return tuple(
        ClassVariety(name=name, real=mean_distance(real[0][real[1] == k]), made=mean_distance(made[0][made[1] == k]))
        for k, name in enumerate(classes)
    )


def mean_distance(features: Features) -> float | None:
    """The mean of 1 - cosine over all pairs of rows ``[N, D]``; None for fewer than two."""
    count = len(features)
    if count < 2:
        return None
    total = _unit(features).sum(axis=0, dtype=np.float64)
    # The sum of all cosines is the squared length of the sum of the unit rows; each row with itself counts 1.
    return float(1 - (total @ total - count) / (count * (count - 1)))


def likeness(real: Features, made: Features, *, nearest: int = NEAREST) -> Likeness:
    """How far made and real pictures share the same ground: a picture lies among others if it is nearer to one of them
    than that one's k-th nearest neighbour of its own kind.

    Args:
        real, made: features ``[N, D]``, more rows than ``nearest`` each; equal numbers make both shares comparable.

    Raises:
        ValueError: too few rows.

    Reference: T. Kynkäänniemi et al., Improved precision and recall metric for assessing generative models,
    NeurIPS 2019 (there in VGG16's features).
    """
    if min(len(real), len(made)) <= nearest:
        raise ValueError(f"{len(real)} real and {len(made)} made rows: expected more than {nearest} of each")
    a, b = _unit(real), _unit(made)
    return Likeness(precision=_among(b, a, nearest), recall=_among(a, b, nearest))


def _among(asked: Features, ground: Features, nearest: int) -> float:
    """The share of rows ``asked`` that are within the reach of some row of ``ground``."""
    reach = np.empty(len(ground), np.float32)
    for at in range(0, len(ground), _BLOCK):
        own = _distances(ground[at : at + _BLOCK], ground)
        reach[at : at + _BLOCK] = np.partition(own, nearest, axis=1)[:, nearest]  # itself is the nearest
    inside = [(_distances(asked[at : at + _BLOCK], ground) <= reach).any(axis=1) for at in range(0, len(asked), _BLOCK)]
    return float(np.concatenate(inside).mean())


def _distances(a: Features, b: Features) -> Features:
    return np.asarray(np.maximum(1 - a @ b.T, 0), dtype=np.float32)


def _unit(features: Features) -> Features:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), dtype=np.float32)
