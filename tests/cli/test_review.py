"""``budwood review`` from the command line; the page itself is tested in tests/serve."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from budwood.data.ledger import read_catalog
from budwood.errors import UsageError
from budwood.serve.server import address_of, open_socket

Call = Callable[..., object]


@contextmanager
def reviewing(photos: Path, work: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command in its own process, and what it said until it answers."""
    command = [sys.executable, "-m", "budwood.cli.main", "review", str(photos), "--no-open", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True, env=environment)
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "look and decide at" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield process, said
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def address(said: list[str]) -> str:
    return next(word for word in said[-1].split() if word.startswith("http"))


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read()


def test_the_page_is_served_until_ctrl_c_and_the_ledger_is_left(photos: Path, tmp_path: Path) -> None:
    with reviewing(photos, tmp_path) as (process, said):
        assert b"Budwood review" in get(address(said))
        session = json.loads(get(f"{address(said)}api/session"))
        assert session["num_pictures"] == 24
        assert address(said).startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "0 pictures decided upon" in process.stderr.read()
    (ledger,) = tmp_path.glob(".budwood/*/catalog.csv")
    assert len(read_catalog(ledger, photos).records) == 24


def test_another_host_gets_a_token_which_is_printed(photos: Path, tmp_path: Path) -> None:
    with reviewing(photos, tmp_path, "--host", "0.0.0.0") as (_, said):
        base, _, token = address(said).partition("/?token=")
        assert len(token) >= 16
        here = f"http://127.0.0.1:{base.rpartition(':')[2]}"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(here)
        assert b"csrf" in get(f"{here}/api/session", **{"X-Budwood-Token": token})


def test_a_port_that_is_taken_is_named(photos: Path, call: Callable) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        call("review", photos, "--no-open", "--port", port).refused(2, f"port {port} is taken", "--port")


def test_without_a_port_the_next_free_one_is_taken() -> None:
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with open_socket("127.0.0.1", port, tries=20) as found:
            assert port < found.getsockname()[1] < port + 20
            assert address_of(found) == f"http://127.0.0.1:{found.getsockname()[1]}"


def test_a_host_that_is_none_of_this_computers_is_refused() -> None:
    with pytest.raises(UsageError, match="another --port"):
        open_socket("192.0.2.7", 8000)


def test_a_check_that_does_not_exist_is_refused_with_those_that_do(photos: Path, call: Callable) -> None:
    call("review", photos, "--check", "nonsense").refused(2, "nonsense", "near_duplicate", "too_dark")


@pytest.mark.parametrize("token", ["short", "with a space in it", "ümlaut-token"])
def test_a_token_that_cannot_be_sent_or_is_too_short_is_refused(photos: Path, call: Callable, token: str) -> None:
    call("review", photos, "--token", token).refused(2, "--token", "8 or more")


def test_without_the_extra_the_command_says_what_to_install(
    photos: Path, call: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else found(name))
    call("review", photos).refused(2, "fastapi", "pip install 'budwood[serve]'")
