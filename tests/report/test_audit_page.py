from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budwood.data.audit import AuditResult
from budwood.data.checks import CHECKS, OPINION_CHECKS, PAIR_CHECKS
from budwood.data.checks.shortcuts import find_shortcuts
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding, ImageRecord
from budwood.report import audit_page
from budwood.report.audit_page import render_audit
from budwood.report.check_words import CHECK_WORDS, words_of

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></svg><svg onload=alert(1)>",
    "' autofocus onfocus=alert(1) x='",
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)\u202e\u2066",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "&lt;b&gt;" + "x" * 300,
)
JPEG = b"\xff\xd8\xff\xe0" + b"0" * 4000


def record(path: str, label: str, number: int = 0, **more: Any) -> ImageRecord:
    random = np.random.default_rng(number)
    measured = dict(zip(("red", "green", "blue"), random.uniform(60, 160, 3).tolist(), strict=True))
    return ImageRecord(
        path=path,
        label=label,
        **{
            "num_bytes": 9000,
            "pixel_digest": f"{number:064x}",
            "width": 640,
            "height": 480,
            "mode": "RGB",
            "format": "JPEG",
            "brightness": float(random.normal(110, 20)),
            "contrast": float(random.normal(50, 9)),
            "sharpness": float(random.uniform(0.1, 0.5)),
            **measured,
            **more,
        },
    )


def make_catalog(number: int = 60, classes: tuple[str, ...] = ("acer", "betula", "fagus")) -> Catalog:
    records = [record(f"{classes[i % len(classes)]}/{i:05d}.jpg", classes[i % len(classes)], i) for i in range(number)]
    records.append(record(f"{classes[0]}/broken.jpg", classes[0], number, state="unreadable", reason="cut", width=0))
    return Catalog(
        root=Path("photos"), records=tuple(sorted(records, key=lambda r: r.path)), classes=tuple(sorted(classes))
    )


def result(*findings: Finding) -> AuditResult:
    return AuditResult(findings=findings, groups=())


def single(check: str, path: str, evidence: str = "seen", **more: Any) -> Finding:
    return Finding(check=check, severity="info", paths=(path,), evidence=evidence, **more)


def page_of(catalog: Catalog, found: AuditResult, **more: Any) -> str:
    return render_audit(catalog, found, **{"pictures": lambda path: JPEG, "title": "leaves", **more})


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("</style>")[1]))


@pytest.fixture
def opinion() -> Opinion:
    """Right for two of three classes; takes every third picture of "acer" for "fagus"."""
    catalog = make_catalog()
    rows = [r for r in catalog.records if r.state == "ok"]
    probs = np.zeros((len(rows), 3), np.float32)
    for i, row in enumerate(rows):
        k = catalog.classes.index(row.label)
        probs[i, 2 if k == 0 and i % 3 == 0 else k] = 1
    border = np.full((len(rows), 3), 1 / 3, np.float32)
    return Opinion(
        paths=tuple(r.path for r in rows),
        classes=catalog.classes,
        features=np.zeros((len(rows), 1), np.float32),
        probs=probs,
        folds=np.zeros(len(rows), np.int64),
        border_probs=border,
        backbone="lite0",
    )


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots out where a test is about the words: drawing is nearly all of a page's time."""
    for module in ("plots", "audit_plots"):
        monkeypatch.setattr(f"budwood.report.{module}.to_svg", lambda figure, name, *, alt: "<svg></svg>")


@pytest.mark.parametrize("check", sorted({*CHECKS, *PAIR_CHECKS, *OPINION_CHECKS}))
def test_every_check_has_words(check: str) -> None:
    found = CHECK_WORDS[check]
    assert found.title[0].isupper()
    assert found.meaning.endswith(".")
    assert found.remedy.endswith(".")


@pytest.mark.usefixtures("no_drawing")
def test_a_check_without_words_is_called_by_its_name() -> None:
    assert words_of("brand_new").title == "Brand new"
    catalog = make_catalog()
    assert "Brand new" in words(page_of(catalog, result(single("brand_new", catalog.records[0].path))))


def test_the_page_says_what_was_read_and_what_was_found() -> None:
    catalog = make_catalog()
    paths = [r.path for r in catalog.records]
    found = result(
        Finding(check="near_duplicate", severity="warning", paths=tuple(paths[:3]), evidence="3 show the same"),
        Finding(check="unreadable", severity="warning", paths=("acer/broken.jpg",), evidence="cut"),
        single("too_dark", paths[5], "brightness 9; 110 is usual"),
        Finding(check="class_counts", severity="info", paths=(), evidence='"acer" has 20 pictures'),
    )
    page = page_of(catalog, found, photos="my photos", command="budwood audit", when="today", version="0.1")
    text = words(page)
    for fact in (
        "4 of 61 pictures deserve a look",
        "0 errors, 2 warnings, 2 notes",
        "60 readable",
        "1 not readable",
        "60 JPEG RGB",
        "All are 640 × 480 pixels",
        "3 show the same",
        "brightness 9; 110 is usual",
        "Near-duplicates",
        CHECK_WORDS["near_duplicate"].remedy,
        "&#34;acer&#34; has 20 pictures",
        "budwood review &#39;my photos&#39;",
        "budwood clean",
        "budwood split",
        "budwood fit",
        "brightness, 1 named",
    ):
        assert fact in text, fact
    assert page_of(catalog, found) == page_of(catalog, found)


def test_an_opinion_adds_what_tells_the_class_and_what_is_taken_for_what(opinion: Opinion) -> None:
    page = page_of(make_catalog(), result(), opinion=opinion)
    text = words(page)
    assert "Hard to tell apart" in text
    assert re.search(r"acer fagus 7 /20 35 %", text.replace("\u00a0", " ")), text[-1500:]
    assert "the border alone: 33.3 %" in text
    assert "a guess: 33.3 %" in text
    assert "the whole picture: 88.3 %" in text
    assert "What tells the class" not in words(page_of(make_catalog(), result()))


def test_a_shortcut_is_drawn_with_its_interval(opinion: Opinion) -> None:
    catalog = make_catalog()
    records = tuple(replace(r, width=600 + 90 * catalog.classes.index(r.label)) for r in catalog.records)
    catalog = replace(catalog, records=records)
    found = find_shortcuts(catalog, replace(opinion, folds=np.arange(60, dtype=np.int64) // 3 % 5))
    assert any("size" in finding.evidence for finding in found)
    page = page_of(catalog, result(*found), opinion=opinion)
    drawn = [finding.evidence.partition(" names the class")[0] for finding in found]
    for name in drawn:
        shown = re.search(rf"{re.escape(name)}: ([\d.]+) %", words(page))
        assert shown or name.startswith("the border alone"), name


@pytest.mark.usefixtures("no_drawing")
def test_a_suggestion_stands_beside_the_label() -> None:
    catalog = make_catalog()
    path = next(r.path for r in catalog.records if r.label == "acer")
    text = words(page_of(catalog, result(single("label_error", path, suggestion="betula"))))
    assert re.search(r"acer betula ?\?", text)


@pytest.mark.usefixtures("no_drawing")
def test_what_is_not_shown_is_counted() -> None:
    catalog = make_catalog(300)
    paths = [r.path for r in catalog.records if r.state == "ok"]
    found = result(
        *(single("outlier", path) for path in paths[:100]),
        *(
            Finding(check="exact_duplicate", severity="warning", paths=tuple(paths[i : i + 9]), evidence="x")
            for i in range(30)
        ),
    )
    text = words(page_of(catalog, found))
    assert "showing 36 of 100" in text
    assert "showing 24 of 30" in text
    assert "and 3 more" in text


def test_nothing_found_and_nothing_readable_are_pages_too() -> None:
    catalog = make_catalog()
    assert "Nothing was found in 61 pictures" in words(page_of(catalog, result()))
    broken = replace(catalog, records=tuple(r for r in catalog.records if r.state != "ok"))
    assert "None of them can be read" in words(page_of(broken, result()))


def test_equal_values_everywhere_make_a_page() -> None:
    same = tuple(
        replace(r, brightness=1.0, contrast=0.0, sharpness=0.0, red=0.0, blue=0.0) for r in make_catalog().records
    )
    assert "<svg" in page_of(replace(make_catalog(), records=same), result())


@pytest.mark.usefixtures("no_drawing")
def test_ten_thousand_pictures_with_findings_of_every_check_stay_below_15_megabytes() -> None:
    catalog = make_catalog(10_000, tuple(f"class {k}" for k in range(300)))
    paths = [r.path for r in catalog.records if r.state == "ok"]
    found = [
        Finding(
            check=check,
            severity="warning",
            paths=tuple(paths[i : i + (98 if CHECK_WORDS[check].shape == "sets" else 1)]),
            evidence="why " * 500,
        )
        for check in CHECK_WORDS
        for i in range(0, 2000, 4)
    ]
    large = JPEG + b"1" * 20_000
    page = page_of(catalog, result(*found), pictures=lambda path: large)
    assert len(page.encode()) < 15_000_000
    assert "found no room on this page" in page


@pytest.mark.usefixtures("no_drawing")
def test_a_picture_that_is_no_picture_is_not_embedded() -> None:
    catalog = make_catalog()
    found = result(single("too_dark", catalog.records[0].path))
    page = page_of(catalog, found, pictures=lambda path: b"<svg onload=alert(1)>")
    assert "<img" not in page
    assert "no preview" in page


def hostile_audit(payloads: int) -> tuple[Catalog, AuditResult]:
    """``payloads`` names of classes and files, each also as evidence, as check and as suggestion."""
    names = tuple(f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(payloads))
    catalog = make_catalog(3 * payloads, names)
    catalog = replace(catalog, ignored=names)
    found = [
        Finding(
            check=name if i % 3 else "label_error",
            severity=("error", "warning", "info")[i % 3],
            paths=tuple(r.path for r in catalog.records[i : i + 1 + i % 3]) if i % 5 else (),
            evidence=f"{name} is {names[-i]}",
            suggestion=names[-i],
        )
        for i, name in enumerate(names)
    ]
    return catalog, result(*found)


class Tags(HTMLParser):
    """The names of all tags, and all attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_the_page_has_a_policy_and_neither_scripts_nor_remote_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_page, "_CLASSES_DRAWN", 8)
    catalog, found = hostile_audit(40)
    page = page_of(catalog, found, title=HOSTILE[0], photos=HOSTILE[3], command=HOSTILE[1], when=HOSTILE[2])
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    parsed = Tags(page)
    assert not parsed.tags & {"script", "iframe", "link", "object", "embed", "form", "base", "input"}
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name == "srcdoc"]
    addresses = [value for name, value in parsed.attributes if name in ("src", "href", "srcset", "action")]
    assert addresses
    assert all(value.startswith(("data:image/", "#")) for value in addresses)
    assert not re.search("[\u202e\u2066]", page)
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--headless", "--disable-background-networking"]
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


def listen_for_faults(tab: Any, wrong: list[str]) -> None:
    """Add to ``wrong`` what a page must not do: run a script, open a dialog, load something, complain."""
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    tab.on("console", lambda line: wrong.append(line.text))
    tab.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url))


@pytest.mark.browser
def test_of_200_hostile_names_none_is_executed_and_nothing_is_loaded(browser: Any, tmp_path: Path) -> None:
    catalog, found = hostile_audit(200)
    page = page_of(catalog, found, title=HOSTILE[0], photos=HOSTILE[3], command=HOSTILE[1])
    # Also without the policy, so that escaping alone must hold.
    for name, text in (("with", page), ("without", page.replace("Content-Security-Policy", "x-nothing"))):
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        wrong: list[str] = []
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        listen_for_faults(tab, wrong)
        tab.goto((tmp_path / f"{name}.html").as_uri())
        tab.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        tab.wait_for_timeout(300)
        assert wrong == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.locator("script, iframe, [onerror], [onfocus], [onload]").count() == 0
        tab.close()
