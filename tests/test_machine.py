"""Probes of the computer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from budwood import machine
from budwood.machine import probe, versions


@pytest.mark.parametrize("threads", [1, 2])
def test_given_number_of_threads_is_set_and_told(threads: int) -> None:
    found = probe(threads=threads)
    assert torch.get_num_threads() == found.threads == found.threads_tried == threads
    assert found.thread_speedup is None
    assert found.cores >= 1
    assert found.bf16 == (found.bf16_speedup >= 1.3)


@pytest.mark.parametrize(("speedup", "chosen"), [(0.4, 1), (1.0, 1), (1.8, 2)])
def test_more_threads_are_used_only_where_they_are_faster(
    monkeypatch: pytest.MonkeyPatch, speedup: float, chosen: int
) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(machine, "_thread_speedup", lambda cores: speedup)
    found = probe()
    assert torch.get_num_threads() == found.threads == chosen
    assert (found.cores, found.threads_tried, found.thread_speedup) == (2, 2, speedup)


def test_measured_speedup_is_a_positive_ratio() -> None:
    assert 0.01 < machine._thread_speedup(2) < 20


def test_probe_is_json() -> None:
    found = probe(threads=1, tuned_allocator=True)
    assert json.loads(json.dumps(found.to_dict()))["tuned_allocator"] is True


def test_allocator_can_be_tuned_twice_and_imports_no_torch() -> None:
    code = (
        "import sys; from budwood.machine import tune_allocator; "
        "first, second = tune_allocator(), tune_allocator(); "
        "assert first == second; assert 'torch' not in sys.modules; assert bytearray(1 << 28); print(first)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() in ("True", "False")


def test_allocator_is_left_alone_off_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert machine.tune_allocator() is False


def test_versions_name_what_the_numbers_depend_on() -> None:
    found = versions()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "budwood", "timm", "numpy", "pillow"} <= found.keys()
