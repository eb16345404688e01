"""The report in a real browser: hostile names are text, nothing runs or is loaded, a phone shows all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budwood.evaluation.drift import PictureSet, compare_sets
from budwood.evaluation.joining import align_tables, choose_joining
from budwood.evaluation.joining_score import score_ensemble
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rivals import Contestant, judge
from budwood.evaluation.versus import Arm, versus
from budwood.report import html
from budwood.report.answers_page import Tile, render_answers
from budwood.report.compare_page import CompareView, render_compare
from budwood.report.creative_page import Section, SystemView, Table, render_system
from budwood.report.data import Command, Picture, ReportData
from budwood.report.drift_page import render_drift
from budwood.report.ensemble_page import ensemble_view, render_ensemble
from budwood.report.sweep_page import ArmRow, SweepView, render_sweep
from budwood.report.why_page import render_why

pytestmark = pytest.mark.browser
_TOO_WIDE = "wider than the screen"  # of the report alone: forty letters without a gap may widen a table elsewhere
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AGENTS = ("alert(1)", "document.title='owned'", "window.owned=1", "fetch('//x.example')", "top.location='//x.example'")
SHELLS = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    '"><svg onload={}>',
    "' onmouseover={} x='",
    "</title></style></svg><script>{}</script>",
    "javascript:{}",
    "<iframe srcdoc='<script>{}</script>'>",
    "--><body onload={}>",
    "]]><script>{}</script>",
    "{{{{{}}}}}${{{}}}",
)


def payloads(number: int) -> list[str]:
    """Hostile names, each another one: every shell around every agent, in several spellings."""
    spellings = (str, str.upper, lambda s: s.replace("<", "<\t"), lambda s: s.replace("s", "ſ"))
    made = [spelling(shell.format(agent, agent)) for spelling in spellings for shell in SHELLS for agent in AGENTS]
    return [f"{made[23 * i % len(made)]} {i}" for i in range(number)]  # 23: all of them, in a mixed order


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
        yield started
        started.close()


def wrong_with(browser: Any, file: Path, *, width: int = 1200) -> list[str]:
    """What a page does that it must not: run, ask, load from elsewhere, or be wider than the screen."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (wrong.append("dialog"), dialog.dismiss()))
    page.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
    )
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate("document.querySelectorAll('*').forEach(e => e.dispatchEvent(new MouseEvent('mouseover')))")
    page.wait_for_timeout(50)
    if page.evaluate("window.owned") or page.title() == "owned":
        wrong.append("owned")
    if page.evaluate("document.documentElement.scrollWidth") > width:
        wrong.append(_TOO_WIDE)
    if page.evaluate("document.querySelectorAll('script, iframe, img[src=x], [onload], [onerror]').length"):
        wrong.append("markup")
    context.close()
    return wrong


@pytest.mark.parametrize("number", [8, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_hostile_class_and_file_names_are_never_executed(
    number: int, browser: Any, make_report: Callable[..., ReportData], tmp_path: Path
) -> None:
    names = payloads(number)
    assert len(set(names)) == number
    together = 8 if number == 8 else 40
    for at in range(0, number, together):  # as classes, whose names are also in all file names and in every plot
        data = make_report(tuple(names[at : at + together]), pictures=number == 8, title=names[at])
        page = tmp_path / f"{at}.html"
        page.write_text(html.render(data), encoding="utf-8")
        assert wrong_with(browser, page, width=390) == [], names[at : at + together]


def test_an_ordinary_report_runs_nothing_and_fits_a_phone(
    browser: Any, make_report: Callable[..., ReportData], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(html.render(make_report()), encoding="utf-8")
    assert wrong_with(browser, page, width=390) == []
    assert wrong_with(browser, page) == []


def why_page(bad: Sequence[str], make_report: Callable[..., ReportData]) -> str:
    why = make_report(tuple(bad)).why
    assert why is not None
    shown = [replace(item, path=bad[1], note=bad[2]) for item in (*why.wrong, *why.right)]
    about = {"command": bad[3], "when": bad[4], "version": bad[5]}
    return render_why(shown, total=9, num_doubted=3, title=bad[0], model=bad[6], places=4, **about)


def answers_page(bad: Sequence[str], _: Callable[..., ReportData]) -> str:
    tiles = [
        Tile(path=each, image=None, predicted=bad[k - 1], answer=bad[k - 1], target=bad[k - 2], probability=0.5)
        for k, each in enumerate(bad)
    ]
    return render_answers(tiles, total=9, title=bad[0], model=bad[1], version=bad[2], command=bad[3])


def drift_page(bad: Sequence[str], _: Callable[..., ReportData]) -> str:
    random = np.random.default_rng(0)
    sets = [
        PictureSet(
            paths=tuple(f"{bad[1]}{i}" for i in range(60)),
            classes=(bad[0], bad[2]),
            features=random.normal(size=(60, 8)).astype(np.float32),
            probs=random.dirichlet([1, 1], 60).astype(np.float32),
            targets=np.arange(60) % 2,
            measures={bad[6]: random.normal(size=60)},
        )
        for _ in range(2)
    ]
    found = compare_sets(*sets)
    pictures = [Picture(path=sets[1].paths[row]) for row, _ in found.unusual]
    return render_drift(found, pictures, title=bad[3], model=bad[4], command=bad[5])


def answers_of(names: Sequence[str], *, seed: int = 0, num: int = 40) -> Predictions:
    random = np.random.default_rng(seed)
    return Predictions(
        probs=random.dirichlet(np.ones(len(names)), num).astype(np.float32),
        targets=np.arange(num) % len(names),
        paths=tuple(map(str, range(num))),
        classes=tuple(names),
    )


def compare_page(bad: Sequence[str], _: Callable[..., ReportData]) -> str:
    arms = [Arm(name=bad[k], answers={bad[k]: answers_of(bad[2:5], seed=k)}) for k in range(2)]
    about = {"command": bad[6], "when": bad[7], "version": bad[1]}
    return render_compare(CompareView(found=versus(arms, resamples=20), notes=(bad[5],), **about))


def ensemble_page(bad: Sequence[str], _: Callable[..., ReportData]) -> str:
    names, members = bad[:2], [answers_of(bad[2:4], seed=k) for k in range(2)]
    tables, first = align_tables(members, names=names)
    joining = choose_joining(tables, np.asarray(first.targets), method="mean")
    whole = replace(first, probs=joining.answer(tables))
    given = {"names": names, "used": [True, True], "weights": [None, None], "seconds": [0.1, 0.2]}
    score = score_ensemble(whole, members=members, chosen_by=members, **given)
    found = {"accuracy": 0.5, "words": bad[4], "joining": joining.to_dict(), "score": score.to_dict()}
    view = ensemble_view(
        {**found, "chosen_on": bad[5]},
        summarise(whole, resamples=20),
        title=bad[6],
        looks=bad[7],
        command=bad[0],
        commands=((bad[1], bad[2]),),
        warnings=(bad[3],),
        when=bad[4],
        version=bad[5],
    )
    return render_ensemble(view)


def sweep_page(bad: Sequence[str], _: Callable[..., ReportData]) -> str:
    rivals = [
        Contestant(name=bad[k], answers={0: answers_of(("a", "b"), seed=k)}, fold_accuracies={0: (0.5,)})
        for k in range(2)
    ]
    found = judge(rivals, resamples=20)
    rows = tuple(
        ArmRow(
            number=k,
            name=bad[k],
            settings={"model.backbone": bad[k]},
            shown={"model.backbone": bad[k]},
            state="finished" if k < 2 else "failed",
            reason="" if k < 2 else bad[3],
            seconds=1.0,
            trainings=1,
            standing=found.standings[k] if k < 2 else None,
        )
        for k in (*found.order, 2)  # the winner first, the one that failed last
    )
    about = {"command": bad[4], "fit_command": bad[5], "when": bad[6], "version": bad[7]}
    shown = {"keys": ("model.backbone",), "rows": rows, "judgement": found, "logarithmic": (), "borders": {}}
    return render_sweep(SweepView(title=bad[0], photos=bad[1], **shown, **about))


def system_page(bad: Sequence[str], _: Callable[..., ReportData]) -> str:
    section = Section(title=bad[0], sentences=(bad[1],), table=Table(heads=(bad[2],), rows=((bad[3],),), note=bad[4]))
    return render_system(
        SystemView(
            title=bad[5],
            system="cascade",
            figure=("89", "%"),
            lead=bad[6],
            quiet=(bad[7],),
            facts=(("3", bad[0]),),
            sections=(section,),
            warnings=(bad[1],),
            next_commands=(Command(purpose=bad[2], line=bad[3]),),
            command=bad[4],
            when=bad[5],
            version=bad[6],
        )
    )


PAGES = {
    "why": why_page,
    "answers": answers_page,
    "drift": drift_page,
    "compare": compare_page,
    "ensemble": ensemble_page,
    "sweep": sweep_page,
    "system": system_page,
}


def test_every_page_has_its_browser_test() -> None:
    templates = Path(html.__file__).parent / "templates"
    found = {file.name.removesuffix(".html.j2") for file in templates.glob("*.html.j2")}
    parts = {"pieces", "judging", "learning", "why"}  # of other pages
    named = {"why_page": "why", "creative": "system"}
    elsewhere = {"report", "audit"}  # above, and test_audit_page.py
    assert {named.get(each, each) for each in found - parts} == set(PAGES) | elsewhere


@pytest.mark.parametrize("number", [8, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in ("answers", "compare") else pytest.mark.slow) for kind in PAGES]
)
def test_hostile_names_on_every_other_page_are_text(
    kind: str, number: int, browser: Any, make_report: Callable[..., ReportData], tmp_path: Path
) -> None:
    names = payloads(number)
    for at in range(0, number, 8):
        page = tmp_path / f"{at}.html"
        page.write_text(PAGES[kind](names[at : at + 8], make_report), encoding="utf-8")
        assert wrong_with(browser, page, width=390) == [], names[at : at + 8]


@pytest.mark.slow
def test_a_report_of_10_000_answers_is_small_opens_without_network_and_runs_nothing(
    browser: Any, make_report: Callable[..., ReportData], make_answers: Callable[..., Predictions], tmp_path: Path
) -> None:
    data = make_report(tuple(f"class {k}" for k in range(50)))
    answers = make_answers(tuple(f"class {k}" for k in range(50)), per_class=200)
    result = replace(data.result, predictions=answers, metrics=summarise(answers, resamples=50))
    page = tmp_path / "report.html"
    page.write_text(html.render(replace(data, result=result)), encoding="utf-8")
    assert page.stat().st_size < 15_000_000
    assert wrong_with(browser, page) == []
