"""From the folder of a cascade, a one-class detector or a synthesis to its page: reads small files, runs no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from budwood.experiment import SYSTEM_NAME
from budwood.files import read_json, write_text
from budwood.recipe import Recipe, parse_recipe
from budwood.report.creative_page import SystemView, render_system
from budwood.report.data import Command
from budwood.report.estimate_text import area_text, estimate_text, points_text
from budwood.report.system_sections import SECTIONS
from budwood.report.templating import duration, of_hundred
from budwood.runs import RunDir

_LOOKS = ("look at this test part", "looks at this test part")
_TITLES = {"cascade": "cascade", "one-class": "one-class detector", "synthesis": "synthetic pictures"}


def write_system_report(run: RunDir) -> None:
    """Render ``report.html`` of a run whose recipe names a system other than a classifier."""
    recipe = parse_recipe(run.recipe.read_text(encoding="utf-8"), source=str(run.recipe))
    metrics, environment, status = read_json(run.metrics), read_json(run.environment), run.read_status()
    lead, quiet = _SAYINGS[recipe.system](metrics)
    test = metrics["test"]
    looks = metrics.get("looks")
    view = SystemView(
        title=Path(environment["photos"]).name,
        system=_TITLES[recipe.system],
        figure=_figure(metrics),
        lead=lead,
        quiet=quiet,
        facts=(
            (str(test["num_pictures"]), "test pictures"),
            (duration(sum(step["seconds"] for step in status["steps"])), "in all"),
            (recipe.name, f"recipe, seed {recipe.seed}"),
            *(((str(metrics["test_looks"]), _LOOKS[metrics["test_looks"] > 1]),) if looks else ()),
        ),
        sections=SECTIONS[recipe.system](run.path / SYSTEM_NAME, metrics),
        warnings=(*((looks,) if metrics.get("test_looks", 1) > 1 and looks else ()), *run.read_warnings()),
        next_commands=_next(run, recipe),
        command=run.command.read_text(encoding="utf-8").strip(),
        when=status["started"][:16].replace("T", " "),
        version=environment["versions"]["budwood"],
    )
    write_text(run.report, render_system(view))


# The lead, and the quieter sentences below it.
_Said = tuple[str, tuple[str, ...]]


def _figure(metrics: dict[str, Any]) -> tuple[str, str]:
    """The large figure: the accuracy, or the AUROC of a detector, whose accuracy hangs on how many are abnormal."""
    if "one_class" in metrics:
        return f"{metrics['one_class']['detection']['scores'][0]['auroc']['value']:.2f}".lstrip("0"), ""
    return of_hundred(metrics["test"]["accuracy"]["value"]), "%"


def _cascade(metrics: dict[str, Any]) -> _Said:
    found, test = metrics["cascade"], metrics["test"]
    single, against = found["single"], found["against_single"]
    verdict = {"better": "better than", "worse": "worse than"}.get(against["verdict"], "not to be told from")
    plain = estimate_text(single["accuracy"])
    return f"{estimate_text(test['accuracy'])} by a cascade: {verdict} one plain model, {plain}.", (
        f"Difference on the same {against['num_pictures']} pictures: {points_text(against['accuracy'])}. Named right by"
        f" the cascade only: {against['only_b']}; by the plain model only: {against['only_a']} (p ="
        f" {against['mcnemar_p']:.2g}).",
        f"Decisions: {found['words']}.",
    )


def _one_class(metrics: dict[str, Any]) -> _Said:
    found = metrics["one_class"]
    detection = found["detection"]
    own = detection["scores"][0]
    lead = (
        f"AUROC {area_text(own['auroc'])}: so often an abnormal picture is repainted worse than a normal one"
        " (.5 is guessing)."
    )
    return lead, (
        f"Trained on {found['num_train']} pictures of {found['normal']} alone; {detection['num_normal']} normal and"
        f" {detection['num_abnormal']} other test pictures.",
        f"At a threshold that {100 * found['false_alarms']:.0f} % of the normal validation pictures pass, it finds"
        f" {estimate_text(own['found'])} of the abnormal ones, with {estimate_text(own['false_alarms'])} false alarms.",
    )


def _synthesis(metrics: dict[str, Any]) -> _Said:
    found = metrics["synthesis"]
    collapse = "The validation part is too small to measure a collapse."
    if found["variety"]:
        names = ", ".join(found["collapsed"])
        collapse = f"Collapsed: {names}." if names else "No class has collapsed by the measure below."
    return f"{found['words'][0].upper()}{found['words'][1:]}.", (
        f"Painted pictures of {found['size']} px were added to the real ones that a linear head is trained on. The"
        " large figure is the head on real pictures alone, which is what ships.",
        collapse,
    )


_SAYINGS: dict[str, Callable[[dict[str, Any]], _Said]] = {
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
