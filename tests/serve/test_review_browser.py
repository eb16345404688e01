"""The review in a real browser: keys, a killed server, hostile names, a narrow screen, many pictures."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from budwood.data.cleaning.decisions import DecisionJournal
from budwood.data.records import Finding
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.serve.review import review_app
from budwood.serve.review_state import ReviewState
from budwood.serve.server import address_of, open_socket
from budwood.serve.shelf import PictureShelf

pytestmark = pytest.mark.browser
Make = Callable[..., ReviewState]
PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)<',
    "' onfocus=alert(1) autofocus x='",
    "a\u202egnp.exe\u2066",
    "x" * 150,
    "{{7*7}}${7*7}",
    "javascript:alert(1)",
    "&lt;b&gt;",
)


SHOWN = """tiles => tiles.map(tile => [
    tile.querySelector(".path").title, tile.classList.contains("exclude"), tile.classList.contains("keep")])"""


@contextmanager
def served(state: ReviewState, store: PictureStore) -> Iterator[str]:
    """A review in a thread of this process; yields its address."""
    import uvicorn

    listening = open_socket("127.0.0.1", 0)
    app = review_app(state, PictureShelf(state.catalog, store), title="photos")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield address_of(listening)
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


@contextmanager
def opened(browser: Any, address: str, *, width: int = 1200, height: int = 800) -> Iterator[Any]:
    """A page; it fails the test when a script fails, a dialog opens or something is loaded from elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    own = address.split("#")[0].rstrip("/")
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    yield page
    assert wrong == []
    context.close()


def all_saved(page: Any) -> None:
    page.wait_for_selector("#saved:text-is('all saved')")


def cursor(page: Any) -> str:
    return str(page.get_attribute(".tile[aria-selected=true] .path[title], .tile[aria-selected=true]", "aria-label"))


def actions(state: ReviewState) -> dict[str, tuple[str, str]]:
    return {path: (d.action, d.label) for path, d in DecisionJournal(state.journal.file).decisions().items()}


def test_keys_keep_exclude_relabel_and_take_back(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    paths = [finding.paths[0] for finding in state.by_check["label_error"]]
    with served(state, scanned.store) as address, opened(browser, f"{address}/#check/label_error") as page:
        for key in ("Enter", "x", "r", "3"):
            page.keyboard.press(key)
        page.keyboard.press("c")
        page.keyboard.type("fag")
        page.keyboard.press("Enter")
        all_saved(page)
        page.wait_for_selector("#progress-text:has-text('5 of 10 looked at')")
        expected = [("keep", ""), ("exclude", ""), ("relabel", "betula"), ("relabel", "fagus"), ("relabel", "fagus")]
        assert actions(state) == dict(zip(paths, expected, strict=False))
        assert page.locator(".tile.exclude .mark-of-decision").inner_text() == "✕ excluded"
        page.keyboard.press("u")
        page.keyboard.press("u")
        page.wait_for_selector("#progress-text:has-text('3 of 10 looked at')")
        assert actions(state) == dict(zip(paths[:3], expected[:3], strict=True))
        assert "acer-003.png" in cursor(page), "the cursor is where something was taken back"
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert "acer-003.png" in cursor(page), "a check opens at the first finding that is left"
        assert page.locator(".tile.keep, .tile.exclude, .tile.relabel").count() == 3


def test_in_a_set_one_key_keeps_one_and_excludes_the_others(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    fagus = state.by_check["exact_duplicate"][0].paths
    with served(state, scanned.store) as address, opened(browser, f"{address}/#check/exact_duplicate") as page:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("o")
        page.wait_for_selector(".set.settled")
        assert actions(state) == {p: ("keep" if p == fagus[1] else "exclude", "") for p in fagus}
        page.keyboard.press("u")
        page.wait_for_selector(".set:not(.settled)")
        assert actions(state) == {}
        page.keyboard.press("a")
        page.wait_for_selector(".set.settled")
        assert set(actions(state).values()) == {("keep", "")}


def test_a_page_is_decided_at_once_and_taken_back_at_once(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    with served(state, scanned.store) as address, opened(browser, f"{address}/#check/label_error") as page:
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Exclude", exact=True).first.click()
        page.wait_for_selector("#progress-text:has-text('10 of 10 looked at')")
        assert sorted(actions(state).values()) == [("exclude", "")] * 9 + [("keep", "")]
        page.keyboard.press("u")
        page.wait_for_selector("#progress-text:has-text('1 of 10 looked at')")
        page.get_by_role("button", name="Relabel as suggested").click()
        page.wait_for_selector("#progress-text:has-text('10 of 10 looked at')")
        assert sorted(actions(state).values()) == [("keep", "")] + [("relabel", "betula")] * 9


def test_the_checks_lead_to_their_findings_and_escape_leads_back(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    with served(state, scanned.store) as address, opened(browser, address) as page:
        assert page.locator(".checks h2").all_inner_texts()[0].startswith("Conflicting labels")
        assert "13 findings to look at" in page.inner_text(".lead")
        assert "so many are how these data look" in page.inner_text("main")
        page.keyboard.press("Enter")  # the first check has the focus
        page.wait_for_selector(".tile[aria-selected=true]")
        page.keyboard.press(" ")
        page.wait_for_selector("dialog.loupe[open] img")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog.loupe:not([open])", state="attached")
        page.keyboard.press("?")
        page.wait_for_selector("dialog.help[open]")
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.wait_for_selector(".overview .lead")


def test_any_picture_can_be_decided_upon(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    with served(state, scanned.store) as address, opened(browser, address) as page:
        page.click("text=All pictures")
        page.wait_for_selector(".tile")
        page.select_option("select[aria-label=label]", "fagus")
        page.wait_for_selector(".filters:has-text('10 pictures')")
        page.locator(".tile").nth(7).click()
        page.keyboard.press("x")
        all_saved(page)
    assert actions(state) == {"fagus/fagus-007.png": ("exclude", "")}


def test_a_phone_has_all_of_it_without_scrolling_sideways(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    with (
        served(state, scanned.store) as address,
        opened(browser, f"{address}/#check/label_error", width=390, height=780) as page,
    ):
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) <= 390
        for name in ("Keep", "Exclude"):
            box = page.locator(".panel").get_by_role("button", name=name, exact=True).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] <= 780
        page.locator(".panel").get_by_role("button", name="Exclude", exact=True).click()
        all_saved(page)
        for place in ("#", "#check/exact_duplicate", "#pictures/show%3Dall/1"):
            page.goto(f"{address}/{place}")
            page.wait_for_timeout(200)
            assert page.evaluate(wide) <= 390
    assert list(actions(state).values()) == [("exclude", "")]


def test_hostile_names_are_text_everywhere(browser: Any, tmp_path: Path) -> None:
    for k, name in enumerate(PAYLOADS):
        folder = tmp_path / "photos" / name.replace("/", "\u2215")
        folder.mkdir(parents=True)
        Image.new("RGB", (24, 24), (30 * k, 90, 10)).save(folder / f"{name.replace('/', chr(0x2215))}.png")
    store = PictureStore(tmp_path / "store", side=64)
    catalog = scan(tmp_path / "photos", store=store)
    findings = [
        Finding(
            check=check, severity="warning", paths=(r.path,), evidence=f"{r.label} {r.path}", suggestion=r.label[::-1]
        )
        for check in ("label_error", PAYLOADS[0])
        for r in catalog.records
    ]
    pair = tuple(r.path for r in catalog.records[:2])
    findings += [
        Finding(check="near_duplicate", severity="error", paths=pair, evidence=r.label) for r in catalog.records
    ]
    work = tmp_path / "work"
    state = ReviewState(catalog, findings, journal=DecisionJournal(work / "d.jsonl"), ledger=work / "c.csv")
    with served(state, store) as address, opened(browser, address, width=390) as page:
        for place in ("#", "#check/label_error", f"#check/{PAYLOADS[0].replace(' ', '%20')}", "#check/near_duplicate"):
            page.goto(f"{address}/{place}")
            page.wait_for_timeout(150)
            for key in ("Enter", "1", " ", "ArrowRight", "Escape", "c", "Escape", "u", "n"):
                page.keyboard.press(key)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.goto(f"{address}/#pictures/show%3Dall/1")
        page.wait_for_selector(".filters")
        assert page.locator(".tile").count() == len(PAYLOADS)
        assert page.locator("main img[src=x], main script").count() == 0
        assert "<img src=x onerror=alert(1)>" in page.inner_text("main")
        assert not re.search("[\u202e\u2066]", page.inner_text("body"))


@contextmanager
def reviewing(photos: Path, work: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """``budwood review`` in its own process, answering."""
    command = [sys.executable, "-m", "budwood.cli.main", "review", str(photos), "--no-open", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=work, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        for line in process.stderr:
            if "look and decide at" in line:
                break
        else:
            raise AssertionError("the review did not start")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_fifty_decisions_with_the_server_killed_in_between_and_none_is_lost(browser: Any, tmp_path: Path) -> None:
    photos, work = tmp_path / "photos", tmp_path / "work"
    work.mkdir()
    for k in range(60):
        folder = photos / ("one", "two")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k:02d}.png").write_bytes(b"no picture" * (k + 1))  # unreadable: one finding each
    for k in range(2):
        Image.effect_noise((32, 32), 60 + k).convert("RGB").save(photos / ("one", "two")[k] / "fine.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = ["x" if i % 3 else "Enter" for i in range(50)]
    first = reviewing(photos, work, port)
    process = first.__enter__()
    try:
        with opened(browser, f"http://127.0.0.1:{port}/#check/unreadable") as page:
            for key in keys[:20]:
                page.keyboard.press(key)
            process.send_signal(signal.SIGKILL)  # perhaps with some of the twenty on their way
            process.wait()
            for key in keys[20:30]:
                page.keyboard.press(key)
            page.wait_for_selector("#trouble:not([hidden])")
            assert "not saved yet" in page.inner_text("#trouble")
            assert "all saved" not in page.inner_text("#saved")
            with reviewing(photos, work, port) as process:
                page.wait_for_selector("#trouble", state="hidden")
                for key in keys[30:]:
                    page.keyboard.press(key)
                all_saved(page)
                page.wait_for_selector("#progress-text:has-text('50 of 60 looked at')")
                (journal,) = work.glob(".budwood/*/decisions.jsonl")
                shown = page.locator(".tile").evaluate_all(SHOWN)
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
    finally:
        first.__exit__(None, None, None)
    expected = {path: "exclude" if excluded else "keep" for path, excluded, kept in shown if excluded or kept}
    assert list(expected.values()) == ["exclude" if key == "x" else "keep" for key in keys]
    found = DecisionJournal(journal)
    assert {path: decision.action for path, decision in found.decisions().items()} == expected
    assert len(found) == 50, "none was recorded twice"
    assert journal.with_name("catalog.csv").is_file()


def test_an_undo_is_kept_too_while_the_server_is_away(browser: Any, make_state: Make, scanned: Any) -> None:
    state = make_state()
    paths = [finding.paths[0] for finding in state.by_check["label_error"]]
    with served(state, scanned.store) as address, opened(browser, f"{address}/#check/label_error") as page:
        page.keyboard.press("x")
        page.keyboard.press("x")
        all_saved(page)
        page.route("**/api/undo", lambda route: route.abort())
        page.keyboard.press("u")
        page.wait_for_selector("#trouble:not([hidden])")
        page.unroute("**/api/undo")
        page.wait_for_selector("#trouble", state="hidden")
        page.wait_for_selector("#progress-text:has-text('1 of 10 looked at')")
    assert list(actions(state)) == paths[:1]


def many(tmp_path: Path, number: int) -> tuple[ReviewState, PictureStore]:
    """``number`` tiny pictures, each with a finding."""
    for k in range(4):
        (tmp_path / "photos" / str(k)).mkdir(parents=True)
    for i in range(number):
        Image.new("RGB", (16, 16), (i % 251, i // 251, 7)).save(tmp_path / "photos" / str(i % 4) / f"{i:05d}.bmp")
    store = PictureStore(tmp_path / "store", side=16)
    catalog = scan(tmp_path / "photos", store=store)
    findings = [Finding(check="outlier", severity="info", paths=(r.path,), evidence="odd") for r in catalog.records]
    work = tmp_path / "work"
    return ReviewState(catalog, findings, journal=DecisionJournal(work / "d.jsonl"), ledger=work / "c.csv"), store


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_pictures_come_page_by_page(browser: Any, tmp_path: Path, number: int) -> None:
    state, store = many(tmp_path, number)
    with served(state, store) as address, opened(browser, address) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        started = time.perf_counter()
        page.evaluate("location.hash = '#check/outlier'")
        page.wait_for_selector(".tile img")
        page.wait_for_load_state("networkidle")
        first = time.perf_counter() - started
        assert page.locator(".tile").count() == 60
        assert sum("/thumb/" in url for url in asked) <= 70
        started = time.perf_counter()
        page.keyboard.press("x")
        all_saved(page)
        decided = time.perf_counter() - started
        page.keyboard.press("]")
        page.wait_for_selector(f".pager:has-text('page 2 of {-(-number // 60)}')")
    print(json.dumps({"pictures": number, "first page, s": round(first, 2), "decision saved, s": round(decided, 3)}))
    assert len(actions(state)) == 1


def test_a_page_that_was_left_open_does_not_send_its_decisions_to_another_folder(
    browser: Any, make_state: Make, scanned: Any, tmp_path: Path
) -> None:
    state = make_state()
    other = ReviewState(
        scanned.catalog,
        state.findings,
        journal=DecisionJournal(tmp_path / "o" / "d.jsonl"),
        ledger=tmp_path / "o" / "c.csv",
    )
    with (
        served(other, scanned.store) as elsewhere,
        served(state, scanned.store) as address,
        opened(browser, f"{address}/#check/label_error") as page,
    ):
        body = page.request.get(f"{elsewhere}/api/session").text()
        page.route("**/api/decide", lambda route: route.abort())
        page.route("**/api/session", lambda route: route.fulfill(body=body, content_type="application/json"))
        page.keyboard.press("x")
        page.wait_for_selector("#trouble:has-text('Another folder')")
    assert not state.journal.file.exists()
    assert not other.journal.file.exists()
