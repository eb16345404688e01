"""Pretrained weights that cannot be fetched: told within seconds, with the ways that need no network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Weights that this computer may hold already must not help."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def fails_at_once(*_: object, **__: object) -> None:
    raise socket.gaierror("no such host")


HUB, TORCHVISION = "Hugging Face hub", "torchvision weights server"


@pytest.mark.parametrize(
    ("name", "server", "hangs"),
    [
        pytest.param("resnet18", HUB, False, id="timm"),
        pytest.param("hf-hub:timm/resnet18.a1_in1k", HUB, False, id="hub id"),
        pytest.param("shufflenet_v2_x0_5", TORCHVISION, False, id="torchvision"),
        pytest.param("resnet18", HUB, True, id="a resolver that never answers"),
    ],
)
@pytest.mark.usefixtures("no_cache")
def test_an_unreachable_server_is_told_within_five_seconds(
    name: str, server: str, hangs: bool, monkeypatch: pytest.MonkeyPatch, call: Callable, photos: Path
) -> None:
    answer = threading.Event()

    def never_answers(*_: object, **__: object) -> None:
        answer.wait(30)
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", never_answers if hangs else fails_at_once)
    started = time.monotonic()
    try:
        outcome = call("fit", photos, "--threads", "1", "--set", f"model.backbone={name}")
        seconds = time.monotonic() - started
    finally:
        answer.set()
    outcome.refused(2, name, server, "not reachable", "lite0", "lite1", "lite2", "model.weights=FILE")
    assert seconds < 5


def test_offline_mode_is_named_as_the_reason(photos: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    arguments = ["fit", str(photos), "--threads", "1", "--set", "model.backbone=resnet18", "--out", str(tmp_path / "r")]
    done = subprocess.run(
        [sys.executable, "-m", "budwood.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in ("resnet18", "HF_HUB_OFFLINE is set", "lite0", "model.weights=FILE"):
        assert word in done.stderr
