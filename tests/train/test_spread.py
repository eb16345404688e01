"""Several processes that share each batch come to what one process comes to, decide alike, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from budwood.errors import BudwoodError, UsageError
from budwood.events import StepAdvanced, Warned
from budwood.train.device import Device, refuse_unfit
from budwood.train.loop import fine_tune
from budwood.train.outcomes import outcome_of
from budwood.train.parcel import ArrayFile, Parcel
from budwood.train.spread import spread
from budwood.train.team import Team

COMPARED = ("a last batch of three", "mixed pictures", "averaged weights", "a frozen backbone with BatchNorm")


@pytest.fixture(scope="module")
def cases() -> Iterator[Any]:
    """The trainings, as a module that started processes can import too."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(Path(__file__).parent))
    import team_cases

    yield team_cases
    patch.undo()


@pytest.fixture(scope="module")
def answers(cases: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every training by one team of two processes, which takes most of its time to start."""
    folder, heard = tmp_path_factory.mktemp("team"), []
    torch.set_num_threads(1)
    found: dict[str, Any] = spread(cases.all_cases, folder, device=Device(devices=2), folder=folder, hear=heard.append)
    assert heard == ["all trained"]
    return found


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_come_to_the_weights_of_one(name: str, cases: Any, answers: dict[str, Any]) -> None:
    fitted = fine_tune(cases.network(cases.CASES[name]), cases.stage_input(cases.CASES[name]))
    alone, both = outcome_of(fitted), answers[name].outcome
    state = fitted.model.state_dict()
    for key, value in answers[name].weights.items():
        np.testing.assert_allclose(value, state[key].numpy(), rtol=0, atol=1e-5, err_msg=key)
    for one, other in zip(alone.rows, both.rows, strict=True):
        assert (one.accuracy, one.val_accuracy, one.lr) == (other.accuracy, other.val_accuracy, other.lr)
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-5)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
    start = cases.network(cases.CASES[name]).state_dict()
    assert any(np.abs(value - start[key].numpy()).max() > 1e-3 for key, value in answers[name].weights.items())


def test_both_processes_hold_the_same_bits_after_every_training(answers: dict[str, Any]) -> None:
    for name, answer in answers.items():
        assert len(answer.sums) == 2
        assert (answer.sums[0] == answer.sums[1]).all(), name


def test_batch_norm_keeps_the_mean_of_all_processes_statistics(cases: Any, answers: dict[str, Any]) -> None:
    alone = fine_tune(cases.network(cases.BATCH_NORM), cases.stage_input(cases.BATCH_NORM)).model.state_dict()
    both = answers["BatchNorm"].weights
    means = [key for key in both if key.endswith("bn1.running_mean")]
    assert means
    first = "backbone.bn1.running_mean" if "backbone.bn1.running_mean" in both else means[0]
    # the first layer sees the same pictures, so but for the weights' own change its means are those of one process
    assert np.abs(both[first] - alone[first].numpy()).max() < 0.05 * np.abs(alone[first].numpy()).max()


def test_a_nan_in_one_process_rolls_back_both(answers: dict[str, Any]) -> None:
    found = answers["NaN in one process"]
    (note,) = found.outcome.notes
    assert "in epoch 1 the loss became nan" in note
    assert [row.epoch for row in found.outcome.rows] == [1, 2]
    assert all(np.isfinite(value).all() for value in found.weights.values())


def test_little_memory_in_one_process_changes_the_pieces_but_not_the_weights(answers: dict[str, Any]) -> None:
    found, plain = answers["little memory in one process"], answers["a last batch of three"]
    assert "batches of 9 pass in pieces of 2" in found.outcome.notes[-1]
    for key, value in plain.weights.items():
        np.testing.assert_allclose(found.weights[key], value, rtol=0, atol=1e-5)


def test_a_stopped_team_goes_on_to_the_same_bits(answers: dict[str, Any]) -> None:
    resumed, whole = answers["resumed"], answers["averaged weights"]
    assert [row.loss for row in resumed.outcome.rows] == [row.loss for row in whole.outcome.rows]
    assert all((resumed.weights[key] == value).all() for key, value in whole.weights.items())


@pytest.mark.slow
def test_processes_end_when_the_caller_stops(cases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def note(*arguments: Any, **options: Any) -> Any:
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr("budwood.train.spread.subprocess.Popen", note)
    heard: list[object] = []

    def stop(event: object) -> None:
        heard.append(event)
        if isinstance(event, StepAdvanced) and event.count:
            raise KeyboardInterrupt

    case = cases.CASES["a last batch of three"]
    data = replace(cases.stage_input(case, devices=2), shorten=lambda model: pytest.fail("nothing is kept"))
    with pytest.raises(KeyboardInterrupt):
        fine_tune(cases.network(case), data, listen=stop)
    assert [process.poll() is not None for process in started] == [True, True]
    assert "activations are not kept" in next(event.text for event in heard if isinstance(event, Warned))


def test_a_process_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(BudwoodError, match=r"(?s)a process of the training failed: it ended with code 1: .*worrk"):
        spread_broken(tmp_path)


def spread_broken(folder: Path) -> object:
    patch = pytest.MonkeyPatch()
    patch.setattr("budwood.train.spread._START", "import worrk")
    try:
        return spread(outcome_of, 1, device=Device(devices=2), folder=folder, hear=print)
    finally:
        patch.undo()


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be handed to other processes"):
        spread(outcome_of, lambda: 1, device=Device(devices=2), folder=tmp_path, hear=print)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("count", range(12))
def test_shares_cover_a_batch_once_and_none_is_a_single_picture(count: int, size: int) -> None:
    shares = [Team(fabric=None, rank=rank, size=size).rows(count) for rank in range(size)]
    covered = [i for rows in shares for i in range(count)[rows]]
    lengths = [len(range(count)[rows]) for rows in shares]
    assert covered == list(range(count))
    assert 1 not in lengths or count == 1
    assert max(lengths) - min((length for length in lengths if length), default=0) <= 1 or size == 1


def test_a_parcel_holds_the_network_and_the_pictures(cases: Any, tmp_path: Path) -> None:
    case = cases.BATCH_NORM
    model, data = cases.network(case), cases.stage_input(case)
    model.register_buffer("unsaved", torch.arange(3.0), persistent=False)
    model.backbone.twice = nn.Linear(2, 2)
    model.backbone.again = model.backbone.twice
    parcel = Parcel.packed(model, data, folder=tmp_path)
    assert all(value.is_meta for value in parcel.skeleton.parameters())
    opened, again = parcel.opened()
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), opened.parameters(), strict=True))
    assert torch.equal(opened.unsaved, model.unsaved)
    assert opened.backbone.twice.weight is opened.backbone.again.weight
    np.testing.assert_array_equal(again.train.part.pixels, data.train.part.pixels)
    np.testing.assert_array_equal(again.val.part.pixels, data.val.part.pixels)


def test_pixels_that_lie_in_a_file_are_not_copied(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    assert ArrayFile.of(mapped, otherwise=tmp_path / "none").path == tmp_path / "pixels.npy"
    assert not (tmp_path / "none").exists()
    for array in (mapped, mapped[2:], mapped[:, ::-1], pixels):
        np.testing.assert_array_equal(ArrayFile.of(array, otherwise=tmp_path / "copy").mapped(), array)


def test_hosts_that_do_not_know_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.setenv("NODE_RANK", "0")
    with pytest.raises(UsageError, match="missing here: MASTER_ADDR, MASTER_PORT"):
        refuse_unfit(Device(nodes=2))


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="this host has 1 CUDA device"):
        refuse_unfit(Device(devices=2))
    refuse_unfit(Device(devices=1))


def test_systems_that_cannot_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budwood.train.device.os", SimpleNamespace(name="nt", environ={}))
    with pytest.raises(UsageError, match=f"this is {sys.platform}"):
        refuse_unfit(Device(devices=2))
    with pytest.raises(UsageError, match="Apple's GPU is one device"):
        monkeypatch.undo() or refuse_unfit(Device(devices=2, accelerator="mps"))
