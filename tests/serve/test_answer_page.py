"""The page of a served bundle in a real browser: by pointer, by keys alone, on a narrow screen, hostile names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from budwood.export.bundle import Bundle
from budwood.serve.answer_app import answer_app
from budwood.serve.answering import Answerer
from budwood.serve.limits import Limits
from budwood.serve.server import address_of, open_socket
from budwood.serve.torch_engine import TorchEngine

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(bundle: Bundle) -> Iterator[str]:
    """The bundle, served in a thread of this process."""
    import uvicorn

    app = answer_app(Answerer(TorchEngine(bundle), limits=Limits()), title="leaves <b>")
    listening = open_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield address_of(listening)
    server.should_exit = True
    thread.join(20)
    listening.close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is called what a page must not obey."""
    file = tmp_path_factory.mktemp("sent") / "<img src=x onerror=alert(2)>.png"
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((60, 40)).save(file)
    return file


@contextmanager
def opened(browser: Any, address: str, *, width: int) -> Iterator[Any]:
    """The page; it fails the test when a script fails, a dialog opens or something is loaded from elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    own = (address.rstrip("/"), "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert wrong == []


def test_a_dropped_picture_is_answered_with_all_classes_as_text(
    browser: Any, address: str, picture: Path, bundle: Bundle
) -> None:
    expected = bundle.predict(picture)
    with opened(browser, address, width=1200) as page:
        page.wait_for_selector("#about:not(:empty)")
        script = """async ([name, bytes]) => {
            const file = new File([new Uint8Array(bytes)], name, {type: "image/png"});
            const carried = new DataTransfer(); carried.items.add(file);
            document.getElementById("drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
        }"""
        page.evaluate(script, [picture.name, list(picture.read_bytes())])
        page.wait_for_selector(".bars li.best")
        shown = dict(
            zip(
                page.locator(".bars bdi").all_inner_texts(), page.locator(".bars .share").all_inner_texts(), strict=True
            )
        )
        assert sorted(shown) == sorted(bundle.classes)
        best = bundle.classes[int(expected.predicted[0])]
        assert shown[best].rstrip(" %") == f"{100 * float(expected.probs.max()):.0f}"
        assert page.locator(".file").inner_text() == picture.name


def test_keys_alone_choose_a_picture_and_show_where_it_looks(browser: Any, address: str, picture: Path) -> None:
    with opened(browser, address, width=390) as page:
        choosers: list[Any] = []
        page.on("filechooser", lambda chooser: choosers.append(chooser))
        page.wait_for_selector("#about:not(:empty)")
        page.keyboard.press("Tab")
        page.wait_for_function("document.activeElement.id === 'choose'")
        for _ in range(10):  # a browser that is short of time lets a key pass
            page.keyboard.press("Enter")
            page.wait_for_timeout(500)
            if choosers:
                break
        choosers[0].set_files(str(picture))
        page.wait_for_selector(".bars li.best")
        for _ in range(8):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "Where does it look?":
                break
        before = page.locator(".picture").get_attribute("src")
        page.keyboard.press("Enter")
        page.wait_for_selector("button[aria-pressed=true]")
        assert page.locator(".picture").get_attribute("src") != before
        assert page.evaluate("document.documentElement.scrollWidth") == 390
