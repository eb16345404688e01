"""Have the pictures an up and a left? A probe on features answers it.

It measures only; which augmentation follows is the caller's choice. Features are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TURN_CHANCE, MIRROR_CHANCE = 0.25, 0.5
# An "up" shows in upside-down being told: from field photos taken straight down a probe tells .53, from small
# photographs of animals and cars .68, from hands and X-rays .92 and more. Quarter turns alone prove little:
# what camera and JPEG leave along the rows tells .47 of them in the same field photos; where .60 are told, rows matter.
TURN_LIMIT, HALF_TURN_LIMIT, MIRROR_LIMIT = 0.60, 0.65, 0.60
# One-sided 90 %: few pictures must not prove that there is no up. Mirrors at chance need some 45 pictures.
MARGIN_Z = 1.2816
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """How well a probe tells turned and mirrored pictures (0-1); ``free``: too little to matter.

    ``turn_free`` needs quarter turns and upside-down to be untellable, both with a margin for few pictures.
    """

    turn_accuracy: float
    half_turn_accuracy: float
    mirror_accuracy: float
    turn_free: bool
    mirror_free: bool
    evidence: str


def preferred_orientation(turned: NDArray[np.float32]) -> Orientation:
    """Measure with a linear probe, in folds by picture, whether quarter turns and mirrors can be told.

    Args:
        turned: ``[n, 8, D]`` features of n pictures under identity, rot90, rot180, rot270, and the mirror
            (``np.fliplr`` first) under the same four, as in `duplicates.DIHEDRAL`.

    Raises:
        ValueError: the shape is another, or there are fewer pictures than folds.
    """
    if turned.ndim != 3 or turned.shape[1] != 8 or len(turned) < FOLDS:
        raise ValueError(f"expected features [n >= {FOLDS}, 8, D], found {turned.shape}")
    num = len(turned)
    turn = _probe(turned[:, [0, 1, 2, 3]])
    half = _probe(turned[:, [0, 2]])
    mirror = _probe(turned[:, [0, 4]])
    turn_free = _upper(turn, num) < TURN_LIMIT and _upper(half, num) < HALF_TURN_LIMIT
    mirror_free = _upper(mirror, num) < MIRROR_LIMIT
    evidence = (
        f"of {num} pictures a probe tells the quarter turn of {turn:.0%} (chance {TURN_CHANCE:.0%}), "
        f"upside-down of {half:.0%} and mirrored of {mirror:.0%} (chance {MIRROR_CHANCE:.0%}): turns "
        f"{'look free' if turn_free else 'matter'}, mirrors {'look free' if mirror_free else 'matter'}"
    )
    return Orientation(
        turn_accuracy=turn,
        half_turn_accuracy=half,
        mirror_accuracy=mirror,
        turn_free=turn_free,
        mirror_free=mirror_free,
        evidence=evidence,
    )


def _probe(views: NDArray[np.float32]) -> float:
    """The grouped cross-validated accuracy of naming the view: ``[n, V, D]`` -> 0-1."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    num, num_views, width = views.shape
    features = views.reshape(num * num_views, width)
    answers = np.tile(np.arange(num_views), num)
    pictures = np.repeat(np.arange(num), num_views)
    # The penalty grows with the width, since standardised features make the Gram matrix grow with it.
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=float(max(1, width))))
    said = cross_val_predict(probe, features, answers, groups=pictures, cv=GroupKFold(FOLDS))
    return float((said == answers).mean())


def _upper(accuracy: float, num: int) -> float:
    """The upper Wilson bound (1927). Views of one picture err together, so ``num`` counts pictures."""
    z2 = MARGIN_Z**2 / num
    spread = MARGIN_Z * np.sqrt(accuracy * (1 - accuracy) / num + z2 / (4 * num))
    return float((accuracy + z2 / 2 + spread) / (1 + z2))
