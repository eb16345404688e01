"""No command reaches for a network: each runs to its end where every way to one is shut, and says which it tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from budwood.models.backbones import load_backbone

# Runs in the interpreter of the command and in those that it starts, before anything of theirs.
_SHUT = """
import socket, sys

def refuse(name):
    def shut(*arguments, **options):
        family = getattr(arguments[0], "family", None) if arguments else None
        if family == getattr(socket, "AF_UNIX", object()):
            return real[name](*arguments, **options)
        with open({log!r}, "a") as file:
            file.write(f"{{name}} {{arguments[1:] or arguments}}\\n")
        raise OSError(f"the network is shut in this test: {{name}}{{arguments[1:]}}")
    return shut

real = {{name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}}
for name in real:
    setattr(socket.socket, name, refuse(name))
socket.getaddrinfo = refuse("getaddrinfo")
socket.gethostbyname = refuse("gethostbyname")
"""
_CALLS = """
import json, sys
from budwood.cli.main import run

codes = {}
for words in json.loads(sys.argv[1]):
    codes[" ".join(words[:1])] = run(words)
print("CODES", json.dumps(codes))
"""


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """An environment in which Python's sockets lead nowhere, and the file that tells who tried."""
    folder = tmp_path_factory.mktemp("shut")
    log = folder / "tried.txt"
    (folder / "sitecustomize.py").write_text(_SHUT.format(log=str(log)), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))}
    return {**kept, "PYTHONPATH": str(folder), "HF_HOME": str(folder / "hub")}, log


def run_shut(
    shut: tuple[dict[str, str], Path], code: str, *arguments: str, cwd: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=shut[0], cwd=cwd, capture_output=True, text=True, timeout=280
    )


def test_the_shut_network_is_shut(shut: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    assert "the network is shut" in run_shut(shut, code, cwd=tmp_path).stderr
    assert shut[1].read_text(encoding="utf-8").startswith("getaddrinfo")
    shut[1].unlink()


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
def test_no_command_reaches_for_the_network(
    all_of_them: bool, shut: tuple[dict[str, str], Path], photos: Path, tmp_path: Path
) -> None:
    out, second = str(tmp_path / "probe"), str(tmp_path / "transfer")
    picture = str(next(file for file in photos.rglob("*.*") if file.is_file()))
    calls = [
        ["fit", str(photos), "--tiny", "--threads", "1", "--out", out],
        ["predict", f"{out}/bundle", picture],
        ["models"],
    ]
    more = [
        ["audit", str(photos)],
        ["split", str(photos), "--out", str(tmp_path / "split.json")],
        ["evaluate", f"{out}/bundle", str(photos)],
        ["report", out],
        ["verify", out],
        ["recipes"],
        ["sweep", str(photos), "--over", "train.lr=1e-4,1e-3", "--tiny", "--threads", "1", "--out", second],
    ]
    calls += more if all_of_them else []
    found = run_shut(shut, _CALLS, json.dumps(calls), cwd=tmp_path)
    assert "CODES" in found.stdout, found.stderr
    codes = json.loads(found.stdout.rpartition("CODES ")[2])
    assert codes == {words[0]: 0 for words in calls}, found.stderr
    assert not shut[1].exists(), shut[1].read_text(encoding="utf-8")
    assert (tmp_path / "probe" / "report.html").is_file()


@pytest.mark.parametrize(
    "name",
    ["resnet50", "tf_efficientnet_lite2", "convnext_tiny", "vit_tiny_patch16_224", "inception_v3", "mobilenetv2_100"],
)
def test_a_backbone_brings_the_preprocessing_of_its_own_weights(name: str) -> None:
    published = timm.get_pretrained_cfg(name)
    found = load_backbone(name, pretrained=False).preprocess
    assert found.mean == pytest.approx(published.mean)
    assert found.std == pytest.approx(published.std)
    assert found.size == published.input_size[-1]
    assert found.interpolation == published.interpolation
    assert found.crop_fraction == pytest.approx(published.crop_pct)
