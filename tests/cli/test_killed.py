"""A run that is killed, or told to stop, says how far it came and how to go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TINY = ("--tiny", "--threads", "1")
# Fine-tuning without end: what stops it is a signal.
ENDLESS = {
    "model.backbone": "test_efficientnet",
    "model.pretrained": "false",
    "model.size": "32",
    "train.stages": '[{ trains = "head" }, { trains = "all", epochs = 1000000 }]',
    "train.patience": "1000000",
    "head.penalties": "[0.01, 0.1]",
    "head.folds": "2",
}


@pytest.fixture
def endless_run(photos: Path, tmp_path: Path, budwood_process: Callable[..., Any]) -> Iterator[Any]:
    """A ``budwood fit`` into ``run`` in its own process, in the middle of fine-tuning."""
    settings = [part for key, value in ENDLESS.items() for part in ("--set", f"{key}={value}")]
    out = tmp_path / "run"
    process = budwood_process("fit", photos, "--out", out, "--threads", "1", *settings, cwd=tmp_path)
    try:
        until = time.monotonic() + 100
        while not reached(out, "head"):
            assert time.monotonic() < until, f"the run did not come to fine-tuning: {process.said.read_text()}"
            time.sleep(0.05)
        time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.ended(within=60)


def reached(out: Path, step: str) -> bool:
    status = out / "status.json"
    return status.is_file() and json.loads(status.read_text())["step"] == step


def test_a_killed_run_says_so_and_can_be_done_again(
    photos: Path, tmp_path: Path, call: Callable, endless_run: Any
) -> None:
    out = tmp_path / "run"
    call("fit", photos, *TINY, "--out", out).refused(2, "under way", "another --out")
    call("fit", photos, *TINY, "--out", out, "--overwrite").refused(2, "in use by another", "another --out")
    assert endless_run.ended(within=0) is None
    endless_run.kill()
    assert endless_run.ended(within=60) == -signal.SIGKILL
    status = json.loads((out / "status.json").read_text())
    assert (status["state"], status["step"]) == ("running", "head")
    assert status["go_on"].startswith("budwood fit ")
    call("fit", photos, *TINY, "--out", out).refused(2, "killed after the step head", "go on with", "--overwrite")
    call("verify", out).refused(1, "running", "never sealed")
    call("report", out).refused(2, "running", "not done")
    call("predict", out, photos).refused(2, "no bundle")
    assert call("fit", photos, *TINY, "--out", out, "--overwrite").code == 0
    assert json.loads((out / "status.json").read_text())["state"] == "done"
    assert call("verify", out).code == 0


@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_stopped_run_ends_with_4_and_says_how_to_go_on(
    sent: signal.Signals, photos: Path, tmp_path: Path, call: Callable, endless_run: Any
) -> None:
    out = tmp_path / "run"
    endless_run.kill(sent)
    code, err = endless_run.ended(within=60), " ".join(endless_run.said.read_text().split())
    assert code == 4, err
    assert "Traceback" not in err
    assert "stopped after the step head" in err
    assert f"Go on with: budwood fit {photos}" in err
    assert "--resume" in err
    status = json.loads((out / "status.json").read_text())
    assert (status["state"], status["step"]) == ("interrupted", "head")
    call("fit", photos, *TINY, "--out", out).refused(2, "interrupted after the step head", "--overwrite")


def test_an_interrupt_inside_an_eval_ends_with_the_code_too(tmp_path: Path) -> None:
    lines = [
        "import budwood.cli.main as m",
        "def stop():",
        "    raise KeyboardInterrupt",
        "def run(arguments):",
        "    try:",
        "        eval('stop()')",
        "    except KeyboardInterrupt:",
        "        return 4",
        "m.run = run",
        "m.main()",
    ]
    (tmp_path / "interrupted.py").write_text("\n".join(lines))
    ended = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False)
    assert ended.returncode == 4
