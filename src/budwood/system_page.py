"""From the folder of a cascade, a one-class detector or a synthesis to its page: reads small files, runs no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from budwood.evaluation.variety import COLLAPSED
from budwood.experiment import SYSTEM_NAME
from budwood.files import read_json, write_text
from budwood.recipe import Recipe, parse_recipe
from budwood.report.creative_page import Curves, Section, Sheet, SystemView, Table, render_system
from budwood.report.data import Command
from budwood.report.estimate_text import (
    area_change_text,
    area_text,
    estimate_text,
    number_text,
    percent_text,
    points_text,
)
from budwood.report.templating import of_hundred
from budwood.runs import RunDir

_SHEETS = 6  # of all epochs' on the page
_TITLES = {"cascade": "cascade", "one-class": "one-class detector", "synthesis": "synthetic pictures"}


def write_system_report(run: RunDir) -> None:
    """Render ``report.html`` of a run whose recipe names a system other than a classifier."""
    recipe = parse_recipe(run.recipe.read_text(encoding="utf-8"), source=str(run.recipe))
    metrics, environment, status = read_json(run.metrics), read_json(run.environment), run.read_status()
    lead, quiet, sections = _BUILDERS[recipe.system](run, recipe, metrics)
    test = metrics["test"]
    looks = metrics.get("looks")
    view = SystemView(
        title=Path(environment["photos"]).name,
        system=_TITLES[recipe.system],
        figure=_figure(metrics),
        lead=lead,
        quiet=tuple(quiet),
        facts=(
            (str(test["num_pictures"]), "test pictures"),
            (f"{sum(step['seconds'] for step in status['steps']) / 60:.1f}", "minutes"),
            (recipe.name, "recipe"),
            (str(recipe.seed), "seed"),
            *(((str(metrics["test_looks"]), "looks at this test part"),) if looks else ()),
        ),
        sections=tuple(sections),
        warnings=(*((looks,) if metrics.get("test_looks", 1) > 1 and looks else ()), *run.read_warnings()),
        next_commands=_next(run, recipe),
        command=run.command.read_text(encoding="utf-8").strip(),
        when=status["started"].replace("T", " "),
        version=environment["versions"]["budwood"],
    )
    write_text(run.report, render_system(view))


_Built = tuple[str, list[str], list[Section]]


def _figure(metrics: dict[str, Any]) -> tuple[str, str]:
    """The large figure: the accuracy, or the AUROC of a detector, whose accuracy hangs on how many are abnormal."""
    if "one_class" in metrics:
        return f"{metrics['one_class']['detection']['scores'][0]['auroc']['value']:.2f}".lstrip("0"), ""
    return of_hundred(metrics["test"]["accuracy"]["value"]), "%"


def _cascade(run: RunDir, recipe: Recipe, metrics: dict[str, Any]) -> _Built:
    found = metrics["cascade"]
    test, single, against = metrics["test"], found["single"], found["against_single"]
    verdict = {"better": "better than", "worse": "worse than"}.get(against["verdict"], "not to be told from")
    plain = estimate_text(single["accuracy"])
    lead = f"{estimate_text(test['accuracy'])} by a cascade: {verdict} one plain model, {plain}."
    gain = against["accuracy"]
    quiet = [
        f"Difference on the same {against['num_pictures']} pictures: {points_text(gain)}. Named right by the cascade"
        f" only: {against['only_b']}; by the plain model only: {against['only_a']} (p = {against['mcnemar_p']:.2g}).",
        f"Decisions: {found['words']}.",
    ]
    rows = []
    for one, other, change in zip(
        single["per_class"], test["per_class"], _by_class(against["f1"], single), strict=True
    ):
        rows.append((one["name"], str(one["support"]), percent_text(one["f1"]), percent_text(other["f1"]), change))
    decisions = tuple(
        (" / ".join(each["labels"]), str(each["num_pictures"]), percent_text(each["accuracy"]))
        for each in found["decisions"]
    )
    return (
        lead,
        quiet,
        [
            Section(
                title="Each class",
                table=Table(
                    heads=("class", "pictures", "F1, plain", "F1, cascade", "difference, points"),
                    rows=tuple(rows),
                    note="Both had the same pictures, stages and seed. In brackets 95 % intervals; a difference whose"
                    " interval holds 0 may be luck.",
                ),
            ),
            Section(
                title="Each decision",
                sentences=("How often a decision alone is right about the test pictures of its own classes.",),
                table=Table(heads=("decision", "pictures", "accuracy"), rows=decisions),
            ),
        ],
    )


def _by_class(differences: list[dict[str, Any]], single: dict[str, Any]) -> list[str]:
    named = {each["name"].removeprefix("F1 of "): each for each in differences}
    return [points_text(named[row["name"]]) if row["name"] in named else "-" for row in single["per_class"]]


def _one_class(run: RunDir, recipe: Recipe, metrics: dict[str, Any]) -> _Built:
    found = metrics["one_class"]
    detection = found["detection"]
    own = detection["scores"][0]
    normal = found["normal"]
    lead = (
        f"AUROC {area_text(own['auroc'])}: so often an abnormal picture is repainted worse than a normal one"
        " (.5 is guessing)."
    )
    quiet = [
        f"Trained on {found['num_train']} pictures of {normal} alone; {detection['num_normal']} normal and"
        f" {detection['num_abnormal']} other test pictures.",
        f"At a threshold that {100 * found['false_alarms']:.0f} % of the normal validation pictures pass, it finds"
        f" {percent_text(own['found'])} of the abnormal ones, with {percent_text(own['false_alarms'])} false alarms.",
    ]
    changes = {each["name"]: each for each in detection["differences"]}
    areas = tuple(
        (row["name"], area_text(row["auroc"]), area_change_text(changes.get(row["name"])))
        for row in detection["scores"]
    )
    shares = tuple(
        (row["name"], percent_text(row["found"]), percent_text(row["false_alarms"]), percent_text(row["accuracy"]))
        for row in detection["scores"]
    )
    epochs = found["epochs"]
    return (
        lead,
        quiet,
        [
            Section(
                title="Beside its rivals",
                table=Table(
                    heads=("detector", "AUROC", "against the autoencoder"),
                    rows=areas,
                    note="All are asked about the same test pictures. The last one learnt from labelled abnormal"
                    " pictures; the others have never seen one.",
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
            Section(
                title="What it repaints",
                sentences=(
                    "Test pictures from the best repainted to the worst of each kind, with their scores. It is good"
                    " where the third column tells the two kinds apart.",
                ),
                sheets=(
                    Sheet(image=(run.path / SYSTEM_NAME / "repainted.png").read_bytes(), caption="Black: no error."),
                ),
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
        ],
    )


def _synthesis(run: RunDir, recipe: Recipe, metrics: dict[str, Any]) -> _Built:
    found = metrics["synthesis"]
    variety, epochs = found["variety"], found["epochs"]
    lead = f"{found['words'][0].upper()}{found['words'][1:]}."
    collapsed = found["collapsed"]
    quiet = [
        f"Painted pictures of {found['size']} px were added to the real ones that a linear head is trained on. The"
        " large figure is the head on real pictures alone, which is what ships.",
        f"Collapsed: {', '.join(collapsed)}." if collapsed else "No class has collapsed by the measure below.",
    ]
    arms = tuple(
        (arm["name"], str(arm["num_real"]), str(arm["num_painted"]), percent_text(arm["accuracy"]))
        for arm in found["arms"]
    )
    sections = [
        Section(
            title="Are they of use?",
            table=Table(
                heads=("head trained on", "real", "painted", "right on real test pictures, %"),
                rows=arms,
                note="The penalty of each head was chosen by the validation part, which the GAN has not seen.",
            ),
        )
    ]
    if variety:
        rows = tuple(
            (row["name"], number_text(row["real"]), number_text(row["made"]), number_text(row["ratio"]))
            for row in variety["classes"]
        )
        made, other = variety["made"], variety["reference"]
        sections.append(
            Section(
                title="Are they varied?",
                sentences=(
                    f"{100 * made['precision']:.0f} % of the painted pictures lie among real ones, and"
                    f" {100 * made['recall']:.0f} % of the real ones among painted ones; of real pictures that nobody"
                    f" trained on, {100 * other['precision']:.0f} % and {100 * other['recall']:.0f} %. Measured in the"
                    " features of the packaged network, which is rough.",
                ),
                table=Table(
                    heads=("class", "distance of two real ones", "of two painted ones", "ratio"),
                    rows=rows,
                    note=f"1 - cosine of features. A class counts as collapsed below a ratio of {COLLAPSED}.",
                ),
            )
        )
    return (
        lead,
        quiet,
        [
            *sections,
            Section(title="What it painted", sheets=_epoch_sheets(run)),
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
        ],
    )


def _epoch_sheets(run: RunDir) -> tuple[Sheet, ...]:
    """Some of the epochs' sheets: the last first, then evenly back to the first."""
    files = sorted((run.path / SYSTEM_NAME / "sheets").glob("epoch-*.png"))
    count = min(_SHEETS, len(files))
    chosen = sorted({round(i * (len(files) - 1) / max(count - 1, 1)) for i in range(count)}, reverse=True)
    caption = "A row for each class, real pictures first; each column of painted ones is from the same noise."
    return tuple(
        Sheet(image=files[i].read_bytes(), caption=f"After epoch {int(files[i].stem[6:])}. {caption}") for i in chosen
    )


_BUILDERS: dict[str, Callable[[RunDir, Recipe, dict[str, Any]], _Built]] = {
    "cascade": _cascade,
    "one-class": _one_class,
    "synthesis": _synthesis,
}


def _next(run: RunDir, recipe: Recipe) -> tuple[Command, ...]:
    commands = [Command(purpose="Check that nothing was changed", line=f"budwood verify {run.path}")]
    if recipe.system == "one-class":
        python = f'budwood.one_class.load_detector("{run.path}").scores([image])'
        return (Command(purpose="Ask the detector, from Python", line=python), *commands)
    name = Command(purpose="Name new pictures", line=f"budwood predict {run.bundle} PICTURES --out answers.csv")
    if recipe.system == "synthesis":
        painted = run.path / SYSTEM_NAME / "painted.npz"
        commands.append(Command(purpose="Look at the painted pictures as data", line=f"budwood audit {painted}"))
    return (name, *commands)
