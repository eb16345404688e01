"""The sections of a system's page, from the plain values of metrics.json and the PNG files of the system's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from budwood.evaluation.variety import COLLAPSED
from budwood.report.creative_page import Curves, Section, Sheet, Table
from budwood.report.estimate_text import area_change_text, area_text, number_text, percent_text, points_text

_SHEETS = 6  # of all epochs' on the page


def cascade_sections(folder: Path, metrics: dict[str, Any]) -> tuple[Section, ...]:
    """F1 of each class before and after, and what each decision is worth alone."""
    found = metrics["cascade"]
    single, joined = found["single"]["per_class"], metrics["test"]["per_class"]
    changes = {each["name"].removeprefix("F1 of "): points_text(each) for each in found["against_single"]["f1"]}
    rows = tuple(
        (a["name"], str(a["support"]), percent_text(a["f1"]), percent_text(b["f1"]), changes.get(a["name"], "-"))
        for a, b in zip(single, joined, strict=True)
    )
    decisions = tuple(
        (" / ".join(each["labels"]), str(each["num_pictures"]), percent_text(each["accuracy"]))
        for each in found["decisions"]
    )
    return (
        Section(
            title="Each class",
            table=Table(
                heads=("class", "pictures", "F1, plain", "F1, cascade", "difference, points"),
                rows=rows,
                note="Both had the same pictures, stages and seed. In brackets 95 % intervals; a difference whose"
                " interval holds 0 may be luck.",
            ),
        ),
        Section(
            title="Each decision",
            sentences=("How often a decision alone is right about the test pictures of its own classes.",),
            table=Table(heads=("decision", "pictures", "accuracy"), rows=decisions),
        ),
    )


def one_class_sections(folder: Path, metrics: dict[str, Any]) -> tuple[Section, ...]:
    """The detector beside its rivals, what it repaints, and its epochs."""
    found = metrics["one_class"]
    epochs = found["epochs"]
    sheet = Sheet(image=(folder / "repainted.png").read_bytes(), caption="Black: no error.")
    return (
        *_rivals(found["detection"]),
        Section(
            title="What it repaints",
            sentences=(
                "Test pictures from the best repainted to the worst of each kind, with their scores. It is good where"
                " the third column tells the two kinds apart.",
            ),
            sheets=(sheet,),
        ),
        Section(
            title="Training",
            curves=Curves(
                lines=(
                    ("training", tuple(row["train_error"] for row in epochs)),
                    ("validation", tuple(row["val_error"] for row in epochs)),
                ),
                ylabel="mean squared error",
            ),
        ),
    )


def _rivals(detection: dict[str, Any]) -> tuple[Section, Section]:
    changes = {each["name"]: each for each in detection["differences"]}
    scores = detection["scores"]
    areas = tuple((row["name"], area_text(row["auroc"]), area_change_text(changes.get(row["name"]))) for row in scores)
    shares = tuple(
        (row["name"], percent_text(row["found"]), percent_text(row["false_alarms"]), percent_text(row["accuracy"]))
        for row in scores
    )
    return (
        Section(
            title="Beside its rivals",
            table=Table(
                heads=("detector", "AUROC", "against the autoencoder"),
                rows=areas,
                note="All are asked about the same test pictures. The last one learnt from labelled abnormal pictures;"
                " the others have never seen one.",
            ),
        ),
        Section(
            title="At the threshold",
            table=Table(
                heads=("detector", "found, %", "false alarms, %", "right, %"),
                rows=shares,
                note="Each threshold was set in the same way, on the normal validation pictures.",
            ),
        ),
    )


def synthesis_sections(folder: Path, metrics: dict[str, Any]) -> tuple[Section, ...]:
    """The comparison, the collapse, some sheets, and the epochs."""
    found = metrics["synthesis"]
    epochs = found["epochs"]
    arms = tuple(
        (arm["name"], str(arm["num_real"]), str(arm["num_painted"]), percent_text(arm["accuracy"]))
        for arm in found["arms"]
    )
    return (
        Section(
            title="Are they of use?",
            table=Table(
                heads=("head trained on", "real", "painted", "right on real test pictures, %"),
                rows=arms,
                note="The penalty of each head was chosen by the validation part, which the GAN has not seen.",
            ),
        ),
        *((_variety(found["variety"]),) if found["variety"] else ()),
        Section(title="What it painted", sheets=_epoch_sheets(folder / "sheets")),
        Section(
            title="Training",
            sentences=("How real the discriminator finds both kinds: lines that meet cannot be told apart.",),
            curves=Curves(
                lines=(
                    ("real", tuple(row["real"] for row in epochs)),
                    ("painted", tuple(row["painted"] for row in epochs)),
                ),
                ylabel="the discriminator's score",
            ),
        ),
    )


def _variety(variety: dict[str, Any]) -> Section:
    made, other = variety["made"], variety["reference"]
    rows = tuple(
        (row["name"], number_text(row["real"]), number_text(row["made"]), number_text(row["ratio"]))
        for row in variety["classes"]
    )
    return Section(
        title="Are they varied?",
        sentences=(
            f"{100 * made['precision']:.0f} % of the painted pictures lie among real ones, and"
            f" {100 * made['recall']:.0f} % of the real ones among painted ones; of real pictures that nobody trained"
            f" on, {100 * other['precision']:.0f} % and {100 * other['recall']:.0f} %. Measured in the features of the"
            " frozen network, which is rough.",
        ),
        table=Table(
            heads=("class", "distance of two real ones", "of two painted ones", "ratio"),
            rows=rows,
            note=f"1 - cosine of features. A class counts as collapsed below a ratio of {COLLAPSED}.",
        ),
    )


def _epoch_sheets(folder: Path) -> tuple[Sheet, ...]:
    """Some of the epochs' sheets: the last first, then evenly back to the first."""
    files = sorted(folder.glob("epoch-*.png"))
    count = min(_SHEETS, len(files))
    chosen = sorted({round(i * (len(files) - 1) / max(count - 1, 1)) for i in range(count)}, reverse=True)
    caption = "A row for each class, real pictures first; each column of painted ones is from the same noise."
    return tuple(
        Sheet(image=files[i].read_bytes(), caption=f"After epoch {int(files[i].stem[6:])}. {caption}") for i in chosen
    )


SECTIONS: dict[str, Callable[[Path, dict[str, Any]], tuple[Section, ...]]] = {
    "cascade": cascade_sections,
    "one-class": one_class_sections,
    "synthesis": synthesis_sections,
}
