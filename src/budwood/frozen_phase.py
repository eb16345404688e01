"""`FrozenPhase`: what is learnt on the backbone as it came: features of a part's views, and linear heads on them.

It changes no weight of the backbone and takes no gradient step; `training.py` puts a head into a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from budwood import cache
from budwood.allowed_views import Views
from budwood.augment.balance import BalanceSpec
from budwood.data.loader import PixelSet
from budwood.events import Listener
from budwood.prepare import Dataset, digests_of, head_folds
from budwood.recipe import Recipe
from budwood.train.balanced_heads import Heads, MoreViews, weighing
from budwood.train.features import FeatureCache, FeatureSource, frozen_features
from budwood.train.heads import HeadResult, choose_head, fit_head
from budwood.train.more_views import ViewMaker, further_features


@dataclass(frozen=True, kw_only=True)
class FrozenPhase:
    """See the module. source: the frozen network. balance: how rare classes count."""

    recipe: Recipe
    dataset: Dataset
    source: FeatureSource
    views: Views
    balance: BalanceSpec
    listen: Listener

    def choose(self, part: PixelSet) -> HeadResult:
        """The head on a part whose penalty has proved best by cross-validation within the part."""
        features = self.features(part)
        folds = head_folds(self.dataset, part, num_folds=self.recipe.head.folds, seed=self.recipe.seed)
        return choose_head(
            features,
            part.labels,
            folds,
            num_classes=self._num_classes,
            spec=self.recipe.head,
            weighing=weighing(self.balance, self.heads(part, features, folds), more_views=self.more_views(part)),
            listen=self.listen,
        )

    def fit(self, part: PixelSet, *, penalty: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight ``[K, D]`` and bias ``[K]`` of the head on a part with a known penalty."""
        features = self.features(part)
        return fit_head(
            features,
            part.labels,
            num_classes=self._num_classes,
            penalty=penalty,
            weighing=weighing(self.balance, self.heads(part, features), more_views=self.more_views(part)),
        )

    def features(self, part: PixelSet, *, views: tuple[int, ...] | None = None) -> NDArray[np.float32]:
        """Features ``[V, N, D]`` of a part, from the cache where it has them; ``views``: None takes the training's."""
        return frozen_features(
            self.source,
            part.pixels[part.rows],
            digests_of(self.dataset.catalog, part.rows),
            views=self.views.train if views is None else views,
            cache=FeatureCache(cache.features_folder()),
            listen=self.listen,
        )

    def heads(self, part: PixelSet, features: NDArray[np.float32], folds: NDArray[np.int64] | None = None) -> Heads:
        """The heads that are fitted on a part: one that leaves out each fold, and one on everything."""
        return Heads.of(features, part.labels, folds, num_classes=self._num_classes, seed=self.recipe.seed)

    def more_views(self, part: PixelSet) -> MoreViews:
        """Where further views of a part's pictures come from: harmless flips and turns, then random augmentations."""
        maker = ViewMaker(
            source=self.source,
            flips=tuple(view for view in self.views.turns if view not in self.views.train),
            augment=self.views.augment,
            seed=self.recipe.seed,
            cache=FeatureCache(cache.features_folder()),
            classes=self.dataset.catalog.classes,
        )

        def make(positions: NDArray[np.int64], number: int) -> NDArray[np.float32]:
            rows = part.rows[positions]
            digests = digests_of(self.dataset.catalog, rows)
            return further_features(
                maker, part.pixels[rows], digests, number=number, targets=part.targets[rows], listen=self.listen
            )

        return make

    def zero_head(self, train: PixelSet) -> NDArray[np.float32]:
        """Probabilities ``[K]`` of a head that was trained on features of an all-zero picture, once a label."""
        if not self.recipe.model.starts_trained:
            # Equal inputs leave a head nothing but how common the classes are.
            return np.asarray(np.bincount(train.labels, minlength=self._num_classes) / len(train), dtype=np.float32)
        size = self.source.preprocess.size
        black = np.zeros((1, size, size, 3), dtype=np.uint8)
        features = frozen_features(self.source, black, ["zero"], views=(0,), step="zero-input baseline")
        repeated = np.repeat(features, len(train), axis=1)
        weight, bias = fit_head(repeated, train.labels, num_classes=self._num_classes, penalty=1e-2)
        logits = torch.from_numpy(features[0, 0] @ weight.T + bias)
        return np.asarray(logits.softmax(0).numpy(), dtype=np.float32)

    @property
    def _num_classes(self) -> int:
        return len(self.dataset.catalog.classes)
