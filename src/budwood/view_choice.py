"""``predict.views = "tuned"``: the trained model answers the validation part in many views, and the useful ones stay.

The rule by which they are chosen is `evaluation/tta.py`'s. The test part is not looked at here.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from budwood import cache
from budwood.allowed_views import Views
from budwood.data.loader import PixelSet
from budwood.evaluation.tta import ViewChoice, choose_views_by
from budwood.evaluation.views import MENUS, View, seen
from budwood.events import StepAdvanced, StepFinished, StepStarted
from budwood.models.build import Classifier
from budwood.prepare import digests_of
from budwood.train.features import FeatureCache, frozen_features
from budwood.train.kept_features import HeadOnFeatures
from budwood.train.predict import predict_pixels
from budwood.training import Trainer

STEP = "views"


def menu_of(harmless: tuple[int, ...]) -> tuple[View, ...]:
    """What is tried: flips and turns that change nothing, two scales, and five crops."""
    turns = tuple(View(turn=turn) for turn in harmless)
    return tuple(dict.fromkeys((*turns, *MENUS["scales"], *MENUS["crops5"])))


def tuned_views(trainer: Trainer, model: Classifier, val: PixelSet) -> tuple[Views, ViewChoice]:
    """Choose the views of a trained model by the validation part.

    Returns:
        The trainer's views with ``predict`` replaced, for the bundle, and how they were chosen, for metrics.json.
    """
    start = time.perf_counter()
    recipe, listen = trainer.recipe, trainer.listen
    menu = menu_of(trainer.views.harmless)
    listen(StepStarted(step=STEP, total=len(menu) * len(val)))
    tables = view_tables(trainer, model, val, menu=menu)
    found = choose_views_by(tables, val.labels, menu=menu, average=recipe.predict.average, seed=recipe.seed)
    listen(StepFinished(step=STEP, seconds=time.perf_counter() - start, note=found.why))
    predict = tuple(view.turn if view.is_whole else view for view in found.views)
    return replace(trainer.views, predict=predict), found


def view_tables(trainer: Trainer, model: Classifier, part: PixelSet, *, menu: tuple[View, ...]) -> NDArray[np.float32]:
    """Answers ``[V, N, K]`` to every view; flips and turns from kept features where the backbone stayed frozen."""
    pixels = part.pixels[part.rows]
    out = np.empty((len(menu), len(part), len(trainer.dataset.catalog.classes)), dtype=np.float32)
    frozen = all(stage.is_head for stage in trainer.recipe.train.stages)
    kept = [i for i, view in enumerate(menu) if view.is_whole] if frozen else []
    if kept:
        out[kept] = _from_features(trainer, model, part, turns=tuple(menu[i].turn for i in kept))
        trainer.listen(StepAdvanced(step=STEP, count=len(kept) * len(part)))
    for i in (i for i in range(len(menu)) if i not in kept):
        shown = np.ascontiguousarray(seen(pixels, menu[i]))
        out[i] = predict_pixels(model, shown, trainer.source.preprocess, device=next(model.parameters()).device)
        trainer.listen(StepAdvanced(step=STEP, count=len(part)))
    return out


@torch.inference_mode()
def _from_features(
    trainer: Trainer, model: Classifier, part: PixelSet, *, turns: tuple[int, ...]
) -> NDArray[np.float32]:
    features = frozen_features(
        trainer.source,
        part.pixels[part.rows],
        digests_of(trainer.dataset.catalog, part.rows),
        views=turns,
        cache=FeatureCache(cache.features_folder()),
        listen=trainer.listen,
        step="features of views",
    )
    head = HeadOnFeatures(model.eval())
    device = next(model.parameters()).device
    answers = [head(torch.from_numpy(view).to(device)).float().softmax(1).cpu().numpy() for view in features]
    return np.stack(answers)
