"""Which records an opinion is about, and where its rows for them are. The opinion itself is judged by the checks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.columns import readable
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, ImageRecord


class Judged(NamedTuple):
    """Usable records, their rows in the opinion, and their labels as columns of its probabilities, ``[N]`` each."""

    records: list[ImageRecord]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]


def judged(catalog: Catalog, opinion: Opinion) -> Judged:
    """The readable records that ``opinion`` knows, with labels that it knows, in the catalog's order.

    An opinion may be older than the catalog: pictures that came since, and classes made since, are passed over.
    """
    row_of = {path: row for row, path in enumerate(opinion.paths)}
    column_of = {name: column for column, name in enumerate(opinion.classes)}
    known = [r for r in readable(catalog) if r.path in row_of and r.label in column_of]
    rows = np.array([row_of[r.path] for r in known], np.int64)
    return Judged(known, rows, np.array([column_of[r.label] for r in known], np.int64))
