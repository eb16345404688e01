"""What each check of the audit looks for, and what to do about it: one dict for all pages and for the review.

Words only. A check that is missing here is shown by its own name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = Literal["pictures", "sets", "notes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWords:
    """``title`` in the plural, ``meaning`` and ``remedy`` one sentence each.

    shape: what a finding is: single ``pictures``; ``sets`` of copies, of which one may stay; or ``notes`` on classes
    or on all pictures, about which nothing is decided picture by picture.
    """

    title: str
    meaning: str
    remedy: str
    shape: Shape = "pictures"


CHECK_WORDS: dict[str, CheckWords] = {
    "unreadable": CheckWords(
        title="Unreadable files",
        meaning="These files cannot be decoded, so no training will ever see them.",
        remedy="Copy them again from where they came from; what stays broken is left out by itself.",
    ),
    "exact_duplicate": CheckWords(
        title="Exact duplicates",
        meaning="The same pixels lie in several files.",
        remedy="Keep one of each: copies make a class look larger than it is.",
        shape="sets",
    ),
    "near_duplicate": CheckWords(
        title="Near-duplicates",
        meaning="One exposure, flipped, turned, cropped, resized or compressed again.",
        remedy="They never straddle two parts of a split; keep one of each where the copies teach nothing.",
        shape="sets",
    ),
    "repeated_picture": CheckWords(
        title="Repeated pictures",
        meaning="One picture is there so often that it weighs on its class.",
        remedy="Keep one; if it shows nothing of its class, exclude that one too.",
        shape="sets",
    ),
    "conflicting_labels": CheckWords(
        title="Conflicting labels",
        meaning="The same picture lies in several classes, so at least one of the labels is wrong.",
        remedy="Give all copies the right class, or exclude those with the wrong one.",
        shape="sets",
    ),
    "odd_dimensions": CheckWords(
        title="Odd sizes",
        meaning="A rare size beside a usual one; it often comes with another kind of content.",
        remedy="Look at what they show: exclude screenshots, drawings and thumbnails, keep real pictures.",
    ),
    "odd_aspect": CheckWords(
        title="Odd shapes",
        meaning="Much longer or narrower than the other pictures.",
        remedy="Exclude strips, banners and collages; keep what was only cropped.",
    ),
    "odd_mode": CheckWords(
        title="Odd colour modes",
        meaning="Grey, transparent or 16-bit pictures among others that are not.",
        remedy="Keep them if new pictures will come in that mode too; else exclude them.",
    ),
    "odd_format": CheckWords(
        title="Odd file formats",
        meaning="A rare file format beside a usual one; it often comes from another source.",
        remedy="Look at what they show; a format that only one class has is a shortcut.",
    ),
    "too_dark": CheckWords(
        title="Dark pictures",
        meaning="Much darker than is usual in these data.",
        remedy="Exclude what a person cannot recognise either; the rest is useful.",
    ),
    "too_bright": CheckWords(
        title="Bright pictures",
        meaning="Much brighter than is usual in these data.",
        remedy="Exclude what is burnt out; the rest is useful.",
    ),
    "low_contrast": CheckWords(
        title="Flat pictures",
        meaning="Hardly any contrast: fog, a covered lens, an empty frame.",
        remedy="Exclude what shows nothing.",
    ),
    "blurred": CheckWords(
        title="Blurred pictures",
        meaning="Much less sharp than is usual in these data.",
        remedy="Exclude what a person cannot recognise either.",
    ),
    "colour_cast": CheckWords(
        title="Colour casts",
        meaning="The colours are shifted against those of the other pictures.",
        remedy="Keep them if new pictures will look so too; a cast that only one class has is a shortcut.",
    ),
    "strong_shadow": CheckWords(
        title="Strong shadows",
        meaning="A large part of the picture lies in deep shade beside well lit ground.",
        remedy="Exclude those whose subject is hidden; the rest is useful.",
    ),
    "class_counts": CheckWords(
        title="Class balance",
        meaning="Classes with few pictures, and large classes beside small ones.",
        remedy="Add pictures to the small classes, or merge them; read the balanced accuracy.",
        shape="notes",
    ),
    "label_error": CheckWords(
        title="Suspected wrong labels",
        meaning="A network that never saw the picture is sure that it belongs to another class.",
        remedy="Look closely: relabel what is wrong, keep what is right; the network errs too.",
    ),
    "doubt": CheckWords(
        title="Pictures that a trained model doubts",
        meaning="A model that did not learn from them contradicts a label, is torn, or finds them unlike the others.",
        remedy="Look closely: relabel what is wrong, keep what is right; of what is merely hard, add more of its kind.",
    ),
    "outlier": CheckWords(
        title="Outliers",
        meaning="They resemble no other picture of their class, nor any of the others.",
        remedy="Exclude what does not belong into these data.",
    ),
    "confusable_classes": CheckWords(
        title="Classes hard to tell apart",
        meaning="A network takes the pictures of one class for those of another much oftener than by chance.",
        remedy="Look at both side by side: whether their labels are right, and whether a person can tell them apart.",
        shape="notes",
    ),
    "shortcut": CheckWords(
        title="Shortcuts",
        meaning="Something beside the subject tells the class, such as the border, the size, the format or the order.",
        remedy="A network may learn that instead: take pictures of each class in each place, camera and format.",
        shape="notes",
    ),
}


def words_of(check: str) -> CheckWords:
    """The words of a check; one that is not in `CHECK_WORDS` is called by its name and explains nothing."""
    return CHECK_WORDS.get(check) or CheckWords(title=check.replace("_", " ").capitalize(), meaning="", remedy="")
