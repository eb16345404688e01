"""One pure function per problem: records in, `Finding`s out. Nothing is read from disk, nothing is removed.

`CHECKS` need the catalog only. `PAIR_CHECKS` are also handed the near-duplicate pairs that `audit` found, and
`OPINION_CHECKS` what a packaged network thinks of the pictures, so that this layer knows no network.
Only records whose state is ``ok`` are judged. The checks are meant to be precise rather than greedy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from budwood.data.checks.classes import find_class_counts
from budwood.data.checks.classes_apart import find_confusable_classes
from budwood.data.checks.dimensions import find_odd_aspect, find_odd_dimensions
from budwood.data.checks.duplicates import (
    NearPair,
    components,
    exact_groups,
    find_conflicting_labels,
    find_exact_duplicates,
    find_near_duplicates,
    find_repeated_pictures,
)
from budwood.data.checks.files import find_odd_format, find_odd_mode, find_unreadable
from budwood.data.checks.labels import find_label_errors
from budwood.data.checks.light import find_colour_cast, find_strong_shadow
from budwood.data.checks.outliers import find_outliers
from budwood.data.checks.quality import find_blurred, find_low_contrast, find_too_bright, find_too_dark
from budwood.data.checks.shortcuts import find_shortcuts
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding

__all__ = [
    "CHECKS",
    "OPINION_CHECKS",
    "PAIR_CHECKS",
    "Check",
    "NearPair",
    "OpinionCheck",
    "PairCheck",
    "components",
    "exact_groups",
    "find_blurred",
    "find_class_counts",
    "find_colour_cast",
    "find_conflicting_labels",
    "find_confusable_classes",
    "find_exact_duplicates",
    "find_label_errors",
    "find_low_contrast",
    "find_near_duplicates",
    "find_odd_aspect",
    "find_odd_dimensions",
    "find_odd_format",
    "find_odd_mode",
    "find_outliers",
    "find_repeated_pictures",
    "find_shortcuts",
    "find_strong_shadow",
    "find_too_bright",
    "find_too_dark",
    "find_unreadable",
]

Check = Callable[[Catalog], list[Finding]]
PairCheck = Callable[[Catalog, Sequence[NearPair]], list[Finding]]
OpinionCheck = Callable[[Catalog, Opinion], list[Finding]]

CHECKS: dict[str, Check] = {
    "blurred": find_blurred,
    "class_counts": find_class_counts,
    "colour_cast": find_colour_cast,
    "exact_duplicate": find_exact_duplicates,
    "low_contrast": find_low_contrast,
    "odd_aspect": find_odd_aspect,
    "odd_dimensions": find_odd_dimensions,
    "odd_format": find_odd_format,
    "odd_mode": find_odd_mode,
    "strong_shadow": find_strong_shadow,
    "too_bright": find_too_bright,
    "too_dark": find_too_dark,
    "unreadable": find_unreadable,
}

PAIR_CHECKS: dict[str, PairCheck] = {
    "conflicting_labels": find_conflicting_labels,
    "near_duplicate": find_near_duplicates,
    "repeated_picture": find_repeated_pictures,
}

OPINION_CHECKS: dict[str, OpinionCheck] = {
    "confusable_classes": find_confusable_classes,
    "label_error": find_label_errors,
    "outlier": find_outliers,
    "shortcut": find_shortcuts,
}
