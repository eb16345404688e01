"""``budwood fit --devices 2`` from end to end, and what is refused before any picture is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from budwood.files import read_json

Call = Callable[..., Any]


@pytest.mark.slow
def test_two_processes_fit_evaluate_and_report(call: Call, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    done = call("fit", photos, "--recipe", "transfer", "--tiny", "--threads", "1", "--devices", "2", "--out", out)
    assert done.code == 0, done.text
    found = read_json(out / "environment.json")
    assert (found["devices"], found["nodes"]) == (2, 1)
    assert found["machine"]["device"] in ("cpu", "cuda", "mps")
    assert read_json(out / "training.json")["best_epochs"] == [1]
    assert (out / "history.csv").read_text(encoding="utf-8").count("\n") >= 2
    assert (out / "report.html").is_file()
    assert call("verify", out).code == 0


def test_hosts_without_addresses_are_refused(
    call: Call, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    found = call("fit", photos, "--recipe", "transfer", "--tiny", "--nodes", "2", "--out", tmp_path / "run")
    found.refused(2, "--nodes 2 needs the environment variables", "MASTER_ADDR", "leave --nodes at 1")


def test_a_run_goes_on_with_as_many_processes_as_it_began_with(
    call: Call, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("budwood.training.Trainer.train", stop)
    words = ("fit", photos, "--recipe", "transfer", "--tiny", "--threads", "1", "--out", tmp_path / "run")
    assert call(*words).code == 4
    call(*words, "--resume", "--devices", "2").refused(2, "begun with --devices 1 and cannot go on with 2")
