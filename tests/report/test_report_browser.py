"""The report in a real browser: hostile names are text, nothing runs or is loaded, a phone shows all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from budwood.report import html
from budwood.report.data import ReportData
from budwood.report.drift_page import render_drift
from budwood.report.why_page import render_why

pytestmark = pytest.mark.browser
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
        wrong.append("wider than the screen")
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


def test_pages_about_new_pictures_hold_hostile_names_as_text(
    browser: Any, make_report: Callable[..., ReportData], tmp_path: Path
) -> None:
    bad = payloads(8)
    why = make_report(tuple(bad)).why
    assert why is not None
    shown = [replace(item, path=bad[1], note=bad[2]) for item in (*why.wrong, *why.right)]
    page = tmp_path / "why.html"
    about = {"command": bad[3], "when": bad[4], "version": bad[5]}
    text = render_why(shown, total=9, num_doubted=3, title=bad[0], model=bad[6], places=4, **about)
    page.write_text(text, encoding="utf-8")
    assert wrong_with(browser, page, width=390) == []


def test_a_drift_page_holds_hostile_names_as_text(browser: Any, tmp_path: Path) -> None:
    import numpy as np

    from budwood.evaluation.drift import PictureSet, compare_sets
    from budwood.report.data import Picture

    bad = payloads(8)
    random = np.random.default_rng(0)
    sets = [
        PictureSet(
            paths=tuple(f"{bad[1]}{i}" for i in range(60)),
            classes=(bad[0], bad[2]),
            features=random.normal(size=(60, 8)).astype(np.float32),
            probs=random.dirichlet([1, 1], 60).astype(np.float32),
            targets=np.arange(60) % 2,
            measures={"brightness": random.normal(size=60)},
        )
        for _ in range(2)
    ]
    found = compare_sets(*sets)
    pictures = [Picture(path=sets[1].paths[row]) for row, _ in found.unusual]
    page = tmp_path / "drift.html"
    page.write_text(render_drift(found, pictures, title=bad[3], model=bad[4], command=bad[5]), encoding="utf-8")
    assert wrong_with(browser, page, width=390) == []
