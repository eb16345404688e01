"""`BalanceSpec` -> `Weighing`: what each head of a cross-validation is trained on so that rare classes count.

Everything is reckoned inside the pictures that a head may see: counts, draws and synthetic rows of a fold never touch
what that fold holds out. How the heads are solved is `heads.py`; the arithmetic of balancing is `augment/balance.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.augment.balance import (
    BalanceSpec,
    check_smote,
    class_counts,
    class_weights,
    effective_number_weights,
    logit_offsets,
    oversampling_indices,
    sampled_indices,
    smote,
    wanted_counts,
)
from budwood.seeding import named_generator
from budwood.train.heads import Weighing

# (positions [R] of pictures, number) -> [number, R, D]: features of so many further views of these pictures
MoreViews = Callable[[NDArray[np.int64], int], NDArray[np.float32]]
SAMPLER_EPOCHS = 25  # a sampler draws anew in each epoch; one draw alone leaves two in five pictures out
MAX_VIEWS = 24  # of one picture; what a very rare class lacks beyond that is made up by weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads that are to be weighed: F that leave out a fold each, and one fitted on everything.

    features: ``[V, N, D]``. targets: ``[N]``. kept: ``[F + 1, N]``: whether head f may see picture n.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    kept: NDArray[np.bool_]
    num_classes: int
    seed: int

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        targets: NDArray[np.int64],
        folds: NDArray[np.int64] | None,
        *,
        num_classes: int,
        seed: int,
    ) -> Heads:
        """From the fold of each picture ``[N]``, as `choose_head` takes it; None: only the head on everything."""
        everything = np.ones((1, len(targets)), dtype=bool)
        left_out = [] if folds is None else [folds != fold for fold in np.unique(folds)]
        kept = np.concatenate([np.array(left_out, dtype=bool).reshape(-1, len(targets)), everything])
        return cls(features=features, targets=targets, kept=kept, num_classes=num_classes, seed=seed)

    def counts(self, head: int) -> NDArray[np.int64]:
        """Pictures of each class that a head sees, ``[K]``."""
        return class_counts(self.targets[self.kept[head]], num_classes=self.num_classes)

    def generator(self, name: str, head: int) -> np.random.Generator:
        """The generator of one head's draw; that of the head on everything does not hang on the number of folds."""
        which = "all" if head == len(self.kept) - 1 else str(head)
        return named_generator(self.seed, f"balance/{name}/{which}")


def weighing(spec: BalanceSpec, heads: Heads, *, more_views: MoreViews | None = None) -> Weighing | None:
    """What ``spec`` asks for; None where every picture counts once.

    Args:
        spec: how to balance.
        heads: the heads, as they will be given to `choose_head` or, with no folds, `fit_head`.
        more_views: needed for "class_augmentation" only.

    Raises:
        UsageError: "smote" without imbalanced-learn.
    """
    strength = spec.strength
    match spec.method:
        case "none":
            return None
        case "class_weights":
            return weighed_by_class(heads, lambda counts: class_weights(counts, strength=strength))
        case "weighted_sampler":
            return _drawn(heads, sampled_indices, "sampler", strength=strength, epochs=SAMPLER_EPOCHS)
        case "oversampling":
            return _drawn(heads, oversampling_indices, "oversampling", strength=strength, epochs=1)
        case "class_augmentation":
            if more_views is None:
                raise ValueError("class_augmentation needs more_views: where further views come from")
            return _more_views_of_rare(heads, more_views, strength=strength)
        case "smote":
            return _with_synthetic(heads, strength=strength)
        case "logit_adjustment":
            offsets = [logit_offsets(heads.counts(f), strength=strength) for f in range(len(heads.kept))]
            return weighed(heads, offsets=np.stack(offsets))


def weighed(
    heads: Heads,
    *,
    weights: NDArray[np.floating] | None = None,
    rows: NDArray[np.float32] | None = None,
    row_targets: NDArray[np.int64] | None = None,
    row_weights: NDArray[np.floating] | NDArray[np.bool_] | None = None,
    offsets: NDArray[np.floating] | None = None,
) -> Weighing:
    """A `Weighing` from what differs from every picture once."""
    num_heads, width = len(heads.kept), heads.features.shape[-1]
    return Weighing(
        weights=(heads.kept if weights is None else weights * heads.kept).astype(np.float32),
        rows=np.empty((0, width), dtype=np.float32) if rows is None else rows,
        row_targets=np.empty(0, dtype=np.int64) if row_targets is None else row_targets,
        row_weights=np.empty((num_heads, 0), dtype=np.float32)
        if row_weights is None
        else row_weights.astype(np.float32),
        offsets=np.zeros((num_heads, heads.num_classes), np.float32) if offsets is None else offsets.astype(np.float32),
    )


def weighed_by_class(heads: Heads, weights_of: Callable[[NDArray[np.int64]], NDArray[np.float64]]) -> Weighing:
    """Each picture counts as ``weights_of`` (counts ``[K]`` of what the head sees -> ``[K]``) says of its class."""
    each = [weights_of(heads.counts(f))[heads.targets] for f in range(len(heads.kept))]
    return weighed(heads, weights=np.stack(each))


def effective_numbers(heads: Heads) -> Weighing:
    """Weights by the effective number of each class's pictures (Cui et al. 2019)."""
    return weighed_by_class(heads, effective_number_weights)


def synthetic_rows(heads: Heads, make: Callable[[int], tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Weighing:
    """Rows ``[E, D]`` and classes ``[E]`` that ``make`` (head ->) makes for each head; no other head sees them."""
    made = [make(f) for f in range(len(heads.kept))]
    owner = np.concatenate([np.full(len(labels), f) for f, (_, labels) in enumerate(made)])
    return weighed(
        heads,
        rows=np.concatenate([rows for rows, _ in made]),
        row_targets=np.concatenate([labels for _, labels in made]),
        row_weights=owner[None] == np.arange(len(made))[:, None],
    )


def _drawn(
    heads: Heads, draw: Callable[..., NDArray[np.int64]], name: str, *, strength: float, epochs: int
) -> Weighing:
    """To train on a picture m times is to let it count m times: the loss is a mean over pictures."""
    times = np.zeros(heads.kept.shape)
    for f, kept in enumerate(heads.kept):
        seen = np.flatnonzero(kept)
        generator = heads.generator(name, f)
        for _ in range(epochs):
            drawn = draw(heads.targets[seen], num_classes=heads.num_classes, strength=strength, generator=generator)
            times[f] += np.bincount(seen[drawn], minlength=kept.size)
    return weighed(heads, weights=times)


def _more_views_of_rare(heads: Heads, more_views: MoreViews, *, strength: float) -> Weighing:
    """Pictures of rare classes in more, distinct views; the rest of the way to the wanted number goes by weight."""
    num_views = len(heads.features)
    wanted = wanted_counts(heads.counts(-1), strength=strength)
    counts = np.maximum(heads.counts(-1), 1)
    views = np.clip(np.rint(num_views * wanted / counts), num_views, max(num_views, MAX_VIEWS)).astype(np.int64)
    rows, owners = [np.empty((0, heads.features.shape[-1]), dtype=np.float32)], [np.empty(0, dtype=np.int64)]
    for k in np.flatnonzero(views > num_views):
        own, number = np.flatnonzero(heads.targets == k), int(views[k] - num_views)
        rows.append(more_views(own, number).reshape(number * len(own), -1))
        owners.append(np.tile(own, number))
    owner = np.concatenate(owners)
    # In each head a class is to weigh as much as its wanted number of pictures in V views.
    each = []
    for f in range(len(heads.kept)):
        here = heads.counts(f)
        aim = wanted_counts(here, strength=strength) * num_views
        each.append(np.divide(aim, here * views, out=np.zeros(len(here)), where=here > 0)[heads.targets])
    weights = np.stack(each) * heads.kept
    return weighed(
        heads,
        weights=weights,
        rows=np.concatenate(rows),
        row_targets=heads.targets[owner],
        row_weights=weights[:, owner],
    )


def _with_synthetic(heads: Heads, *, strength: float) -> Weighing:
    check_smote()
    # Near is measured where all features vary alike; to interpolate there or in raw features is the same.
    scale = np.maximum(heads.features.std(axis=(0, 1)), 1e-6)

    def make(head: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        kept = heads.kept[head]
        wanted = wanted_counts(heads.counts(head), strength=strength)
        generator = heads.generator("smote", head)
        # One view at a time: among all views at once, a picture's nearest neighbours would be its own other views.
        parts = [
            smote(view[kept] / scale, heads.targets[kept], wanted=wanted, seed=int(generator.integers(2**31)))
            for view in heads.features
        ]
        rows = np.concatenate([rows for rows, _ in parts]) * scale
        return rows.astype(np.float32), np.concatenate([labels for _, labels in parts])

    return synthetic_rows(heads, make)
