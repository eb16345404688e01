"""An array of labels -> class names: whole numbers, texts, bytes, a column, one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.inputs.parts import part_of_word
from budwood.errors import DataError
from budwood.files import escape_name


def label_names(values: NDArray[Any], *, where: str, names: NDArray[Any] | None = None) -> list[str]:
    """The class of each row.

    Args:
        values: ``[N]`` or ``[N, 1]`` of integers, texts or bytes, or one-hot rows ``[N, K]``.
        where: what messages call the array.
        names: ``[K]`` texts, the names of the classes 0..K-1; else numbers are named by themselves, with zeros in
            front so that they sort.

    Raises:
        DataError: a value is empty, no whole number, or no row of one-hot.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "buif":
        values = _from_one_hot(values, where=where)
    if values.ndim != 1:
        raise DataError(f"{where} has the shape {values.shape}; labels [N], [N, 1] or one-hot [N, K] are expected")
    texts = texts_of(values, where=where)
    empty = [i for i, text in enumerate(texts) if not text]
    if empty:
        raise DataError(f"{where}: {len(empty)} labels are empty (the first is number {empty[0]}); fill or drop them")
    return texts if names is None else _named(texts, texts_of(names, where="the names of the classes"), where=where)


def texts_of(values: NDArray[Any], *, where: str) -> list[str]:
    """Each value of ``[N]`` or ``[N, 1]`` as text; numbers with zeros in front, so that they sort.

    Raises:
        DataError: a number is not whole, or the values are neither numbers nor texts.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"{where} has the shape {values.shape}; one value for each picture is expected")
    if values.dtype.kind == "f":
        bad = ~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53))
        if bad.any():
            at = int(bad.argmax())
            raise DataError(f"{where} holds {values[at]} (number {at}); labels are whole numbers or texts")
        values = values.astype(np.int64)
    if values.dtype.kind in "bui":
        numbers = [int(value) for value in values.tolist()]
        width = max((len(str(number)) for number in numbers), default=1)
        return [f"{number:0{width}d}" for number in numbers]
    if values.dtype.kind == "S":
        return [escape_name(value.decode("utf-8", "surrogateescape").strip()) for value in values.tolist()]
    if values.dtype.kind == "U":
        return [escape_name(value.strip()) for value in values.tolist()]
    raise DataError(f"{where} is of type {values.dtype}; whole numbers or texts are expected")


def part_words(values: NDArray[Any], *, where: str) -> list[str]:
    """``train``, ``val`` or ``test`` for each row.

    Raises:
        DataError: a value is none of the words for them.
    """
    words = texts_of(values, where=where)
    parts = [part_of_word(word) for word in words]
    if None in parts:
        at = parts.index(None)
        raise DataError(f'{where} holds "{words[at][:40]}" (number {at}); train, val or test are expected')
    return [part for part in parts if part is not None]


def _from_one_hot(values: NDArray[Any], *, where: str) -> NDArray[Any]:
    one = (values == 1).sum(axis=1) == 1
    rest = (values != 0).sum(axis=1) == 1
    wrong = ~(one & rest)
    if wrong.any():
        at = int(wrong.argmax())
        raise DataError(
            f"{where} has {values.shape[1]} columns, and row {at} is not one 1 among zeros; give the number or name of"
            " the class in one column (labels.argmax(axis=1))"
        )
    return np.asarray(values.argmax(axis=1))


def _named(texts: list[str], names: list[str], *, where: str) -> list[str]:
    try:
        return [names[int(text)] if int(text) >= 0 else names[len(names)] for text in texts]
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{where} does not fit the {len(names)} names of the classes; it should hold the numbers 0 to"
            f" {len(names) - 1}"
        ) from error
