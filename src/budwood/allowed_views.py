"""What the orientation of the pictures allows: which flips and turns training, and an answer, may use.

It is measured on the training part, see `data/orientation.py`; the choice by validation is `view_choice.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from budwood import cache
from budwood.augment.spec import AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.orientation import Orientation, preferred_orientation
from budwood.evaluation.views import ALL_TURNS, View
from budwood.events import Listener, Warned
from budwood.prepare import Dataset, digests_of
from budwood.recipe import Recipe
from budwood.seeding import named_generator
from budwood.train.features import FeatureCache, FeatureSource, frozen_features

FREE_VIEWS = ALL_TURNS
MIRROR_VIEWS = (0, 4)
TURN_VIEWS = (0, 2, 1, 3)
_ORIENTATION_PICTURES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What the orientation of the pictures allows: how to augment, what to average, and why.

    predict: the views that the bundle averages, flips and turns as numbers; with ``predict.views = "tuned"`` the
        harmless turns, until validation has chosen. harmless: all flips and turns that change nothing.
    """

    augment: AugmentSpec
    train: tuple[int, ...]
    predict: tuple[int | View, ...]
    evidence: str
    orientation: Orientation | None
    harmless: tuple[int, ...] = (0,)

    @property
    def turns(self) -> tuple[int, ...]:
        """Those of ``predict`` that are mere flips and turns."""
        return tuple(view for view in self.predict if isinstance(view, int))

    def resolve(self, spec: AugmentSpec) -> AugmentSpec:
        """``spec`` with ``"auto"`` decided by the orientation that was measured."""
        measured = self.orientation
        return spec.resolved(
            turn_free=measured is not None and measured.turn_free,
            mirror_free=measured is not None and measured.mirror_free,
        )


def choose_views(
    recipe: Recipe, dataset: Dataset, train: PixelSet, source: FeatureSource, *, listen: Listener
) -> Views:
    """Measure on the training part whether turns and mirrors change what a picture is, and decide by that."""
    measured = None
    if recipe.model.starts_trained:
        measured = _measure_orientation(recipe, dataset, train, source, listen=listen)
    turn_free = measured is not None and measured.turn_free
    mirror_free = measured is not None and measured.mirror_free
    allowed: tuple[int, ...] = FREE_VIEWS if turn_free and mirror_free else MIRROR_VIEWS if mirror_free else (0,)
    if turn_free and not mirror_free:
        allowed = TURN_VIEWS
    if recipe.augment.flip == "both" and recipe.augment.rotation != "auto" and float(recipe.augment.rotation) >= 180:
        allowed = FREE_VIEWS  # the recipe says that orientation means nothing
    spec = recipe.augment.resolved(turn_free=turn_free, mirror_free=mirror_free)
    evidence = measured.evidence if measured else "not measured: the network is untrained, so pictures stay upright"
    return Views(
        augment=spec,
        train=allowed[: recipe.train.views],
        predict=_answered_views(recipe, allowed, listen=listen),
        evidence=evidence,
        orientation=measured,
        harmless=allowed,
    )


def _answered_views(recipe: Recipe, harmless: tuple[int, ...], *, listen: Listener) -> tuple[int | View, ...]:
    """The views that the recipe asks for; told where it turns pictures whose orientation matters."""
    asked = recipe.predict.views
    if isinstance(asked, int):
        return harmless[:asked]
    named = recipe.predict.named_views()
    harmful = sorted({view.turn for view in named} - set(harmless))
    if harmful and recipe.model.starts_trained:
        text = "predict.views shows pictures turned or mirrored, though that changes what these pictures are (views"
        listen(Warned(text=f"{text} {', '.join(map(str, harmful))}); the views that do not: {list(harmless)}"))
    return tuple(view.turn if view.is_whole else view for view in named) or harmless


def _measure_orientation(
    recipe: Recipe, dataset: Dataset, train: PixelSet, source: FeatureSource, *, listen: Listener
) -> Orientation | None:
    if len(train) < 10:
        return None
    generator = named_generator(recipe.seed, "orientation")
    rows = np.sort(generator.permutation(train.rows)[:_ORIENTATION_PICTURES])
    features = frozen_features(
        source,
        train.pixels[rows],
        digests_of(dataset.catalog, rows),
        views=range(8),
        cache=FeatureCache(cache.features_folder()),
        listen=listen,
        step="orientation",
    )
    return preferred_orientation(np.ascontiguousarray(features.transpose(1, 0, 2)))
