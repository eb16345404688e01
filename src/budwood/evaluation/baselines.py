"""What trivial answers score on the same pictures: a model that does not beat them has learnt nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, wilson
from budwood.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineScore:
    """A trivial answer's accuracy on the scored pictures, with Wilson's 95 % interval."""

    name: str
    accuracy: float
    interval: Interval
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def majority_class(train: NDArray[np.int64], judged: Predictions) -> BaselineScore:
    """Always the class that is most frequent in the training labels ``[M]``."""
    best = int(np.bincount(train, minlength=len(judged.classes)).argmax())
    sentence = f'always answers "{judged.classes[best]}", the most frequent class of the training part'
    return _score("majority class", np.full(len(judged), best), judged, sentence)


def all_zero_input(train: NDArray[np.int64], judged: Predictions, probs: NDArray[np.float32]) -> BaselineScore:
    """The same head, trained and asked on all-zero pictures; ``probs`` ``[K]`` is its only answer."""
    sentence = "the same head trained on all-black pictures: it can learn how frequent the classes are, and no more"
    return _score("all-zero input", np.full(len(judged), int(probs.argmax())), judged, sentence)


def _score(name: str, answers: NDArray[np.int64], judged: Predictions, sentence: str) -> BaselineScore:
    if judged.targets is None:
        raise ValueError("a baseline needs labelled predictions")
    correct = int((answers == judged.targets).sum())
    return BaselineScore(
        name=name,
        accuracy=correct / max(1, len(judged)),
        interval=wilson(correct, len(judged)),
        sentence=sentence,
    )
