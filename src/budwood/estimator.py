"""`BudwoodClassifier`: `budwood.fit` behind scikit-learn's `fit`, `predict`, `predict_proba` and `score`.

X is what scikit-learn can index: paths of pictures, or arrays of them. Each `fit` is a whole run; what it learns is
kept in memory, and its folder only where ``out`` is given. These runs are not counted as looks at a test part, since
scikit-learn holds its own back. While it fits, the process works in a scratch folder: not for several threads at once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from budwood.errors import DataError
from budwood.events import silent
from budwood.export.bundle import Bundle, load
from budwood.files import scratch_folder
from budwood.judge import predict


class BudwoodClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A picture classifier for those who live in scikit-learn.

    Args:
        recipe: a packaged recipe's name, or a TOML file.
        overrides: settings such as ``"train.lr=3e-4"``.
        seed: of everything random; None: the recipe's.
        refit: train once more on all pictures after choosing, since nothing of X need be held back for a score.
        tiny: a minimal run, to try things out.
        threads: CPU threads; None measures.
        out: a folder that keeps the run, with its report; None keeps none.

    Attributes:
        classes_: the labels as they were given, sorted ``[K]``. bundle_: what answers. n_features_in_: not set, since
            pictures may have any size.
    """

    def __init__(
        self,
        recipe: str = "probe",
        *,
        overrides: Sequence[str] = (),
        seed: int | None = None,
        refit: bool = True,
        tiny: bool = False,
        threads: int | None = None,
        out: str | Path | None = None,
    ) -> None:
        self.recipe = recipe
        self.overrides = overrides
        self.seed = seed
        self.refit = refit
        self.tiny = tiny
        self.threads = threads
        self.out = out

    def fit(self, X: Any, y: Any) -> BudwoodClassifier:
        """Train on pictures.

        Args:
            X: ``[N]`` paths, or an array ``[N, H, W, 3]``, ``[N, H, W, 1]`` or ``[N, H, W]`` of values from 0 to 255
                (or 0 to 1).
            y: ``[N]`` labels, numbers or texts.

        Raises:
            DataError: X and y do not fit, or cannot be trained on. UsageError: a setting is wrong.
        """
        from budwood.recipe import load_recipe
        from budwood.systems import fit

        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(X):
            raise DataError(f"there are {len(X)} pictures and labels of the shape {labels.shape}; one each is expected")
        classes = np.unique(labels)
        names = _names_of(classes)
        index = dict(zip(classes.tolist(), names, strict=True))
        pictures = _absolute(X)
        recipe = os.path.abspath(self.recipe) if self.recipe.endswith(".toml") else self.recipe
        chosen = load_recipe(recipe, overrides=tuple(self.overrides), seed=self.seed, refit=self.refit, tiny=self.tiny)
        chosen.refuse_other_systems("BudwoodClassifier")
        out = os.path.abspath(self.out) if self.out is not None else "run"
        # What a run keeps beside itself, such as its count of looks, goes with the folder.
        with scratch_folder() as folder, contextlib.chdir(folder):
            photos = _write_pictures(pictures, folder, labels=[index[label] for label in labels.tolist()])
            run = fit(photos, recipe=chosen, threads=self.threads, out=out)
            self.bundle_: Bundle = load(run.bundle)
        self.classes_ = classes
        known = {name: k for k, name in enumerate(self.bundle_.classes)}
        self._columns = [known[name] for name in names]
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Calibrated probabilities ``[N, K]``, in the order of ``classes_``.

        Raises:
            DataError: a picture cannot be read, or X holds no pictures.
        """
        check_is_fitted(self, "bundle_")
        if _is_array(X):
            with scratch_folder() as folder:
                answers, unreadable = predict(self.bundle_, _write_pictures(X, folder), listen=silent)
        else:
            answers, unreadable = self.bundle_.predict_files([Path(os.fspath(one)) for one in X])
        if unreadable:
            raise DataError(f"{len(unreadable)} pictures cannot be read, first {unreadable[0].path}: drop them from X")
        return answers.probs[:, self._columns]

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each picture ``[N]``."""
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "bundle_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.no_validation = True
        return tags


def _is_array(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.dtype.kind in "buif"


def _names_of(classes: NDArray[Any]) -> list[str]:
    """A class name for each label; numbers get zeros in front, as tables and arrays have them."""
    values = classes.tolist()
    if classes.dtype.kind in "bui":
        width = max(len(str(int(value))) for value in values)
        return [f"{int(value):0{width}d}" for value in values]
    names = [str(value) for value in values]
    if not all(names) or len(set(names)) < len(names):
        raise DataError("labels must be different texts or numbers, none of them empty; rename them")
    return names


def _write_pictures(X: Any, folder: Path, *, labels: Sequence[str] | None = None) -> Path:
    """X as a file that `budwood.fit` and `budwood.predict` take: arrays as ``.npz``, paths as a table."""
    if _is_array(X):
        if labels is None:
            np.savez(folder / "pictures.npz", images=X)
        else:
            np.savez(folder / "pictures.npz", images=X, labels=np.array(labels))
        return folder / "pictures.npz"
    if labels is None:
        raise ValueError("a table needs labels; paths are answered as files")
    import csv

    with (folder / "pictures.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([one, label] for one, label in zip(X, labels, strict=True))
    return folder / "pictures.csv"


def _absolute(X: Any) -> Any:
    return X if _is_array(X) else [os.path.abspath(os.fspath(one)) for one in X]
