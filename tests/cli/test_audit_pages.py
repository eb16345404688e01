"""``audit``: what it prints, the page that it writes, and a network's opinion when it is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def with_copies(photos: Path, tmp_path: Path) -> Path:
    """The drawn pictures, one of them twice in its class and once in another."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    first, second = sorted(folder.iterdir())[:2]
    picture = sorted(first.iterdir())[0]
    shutil.copy(picture, first / f"copy-{picture.name}")
    shutil.copy(picture, second / f"copy-{picture.name}")
    return folder


def test_the_page_shows_what_was_found(with_copies: Path, tmp_path: Path, call: Callable) -> None:
    found = call("audit", with_copies, "--html", tmp_path / "page" / "a.html", "--json", tmp_path / "a.json")
    assert found.code == 0, found.text
    assert "conflicting_labels" in found.text
    assert "add --model" in found.text
    page = (tmp_path / "page" / "a.html").read_text(encoding="utf-8")
    assert "Conflicting labels" in page
    assert "<script" not in page
    checks = {finding["check"] for finding in json.loads((tmp_path / "a.json").read_text())["findings"]}
    assert {"conflicting_labels", "exact_duplicate"} <= checks


def test_the_page_is_not_written_among_the_pictures(with_copies: Path, call: Callable) -> None:
    call("audit", with_copies, "--html", with_copies / "a.html").refused(2, "lies inside", "--html")


def test_many_findings_of_one_check_are_counted_not_listed(photos: Path, tmp_path: Path, call: Callable) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    for own in folder.iterdir():
        for picture in sorted(own.iterdir())[:4]:
            shutil.copy(picture, own / f"copy-{picture.name}")
    found = call("audit", folder)
    assert found.text.count("exact_duplicate") == 7  # six rows, and the note on the last of them
    assert "and 6 more findings of exact_duplicate" in found.text


def test_a_network_is_asked_only_on_request(with_copies: Path, tmp_path: Path, call: Callable) -> None:
    found = call("audit", with_copies, "--model", "--html", tmp_path / "a.html")
    assert found.code == 0, found.text
    assert "add --model" not in found.text
    assert "out of fold" in found.text
    assert "no network was asked" not in (tmp_path / "a.html").read_text(encoding="utf-8").lower()


def test_clean_says_which_checks_need_a_network(photos: Path, call: Callable) -> None:
    call("clean", photos, "--relabel", "label_error").refused(2, "label_error", "add --model")
