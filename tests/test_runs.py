"""The run folder: locked while it is written, a state however it ends, and nothing of the user's removed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from budwood.errors import DataError, IntegrityError, Interrupted, OutputError
from budwood.files import write_json
from budwood.opening import Journal, command_line, new_run_path, opened_run
from budwood.runs import RunDir, StepTime


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder that stands for the photos."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def open_it(path: Path, pictures: Path, *, overwrite: bool = False, command: str = "budwood fit pictures") -> object:
    return opened_run(path, photos=pictures, overwrite=overwrite, command=command)


def state(path: Path) -> tuple[str, str]:
    status = json.loads((path / "status.json").read_text())
    return status["state"], status["step"]


def test_a_run_is_running_while_it_is_open_and_notes_its_steps(tmp_path: Path, pictures: Path) -> None:
    with open_it(tmp_path / "run", pictures) as (run, journal):
        assert state(run.path) == ("running", "start")
        journal.finished(StepTime(name="scan", seconds=1.5, note="3 pictures"))
        assert state(run.path) == ("running", "scan")
        assert run.read_status()["process"] == os.getpid()
        assert run.read_status()["go_on"] == f"budwood fit pictures --out {run.path} --resume"
        journal.write("done", step="report")
    assert state(tmp_path / "run") == ("done", "report")
    assert run.read_status()["go_on"] == ""
    assert run.read_status()["steps"] == [{"name": "scan", "seconds": 1.5, "note": "3 pictures"}]
    assert run.command.read_text() == "budwood fit pictures\n"


@pytest.mark.parametrize(
    ("raised", "expected", "stored", "reason"),
    [
        pytest.param(DataError("no pictures"), DataError, "failed", "no pictures", id="an error of the user's"),
        pytest.param(ZeroDivisionError("0"), ZeroDivisionError, "failed", "ZeroDivisionError: 0", id="a fault"),
        pytest.param(KeyboardInterrupt(), Interrupted, "interrupted", "stopped", id="Ctrl-C"),
    ],
)
def test_the_state_says_how_a_run_ended(
    raised: BaseException, expected: type[BaseException], stored: str, reason: str, tmp_path: Path, pictures: Path
) -> None:
    def end_early() -> None:
        with open_it(tmp_path / "run", pictures) as (_, journal):
            journal.finished(StepTime(name="scan", seconds=0))
            raise raised

    with pytest.raises(expected):
        end_early()
    assert state(tmp_path / "run") == (stored, "scan")
    assert reason in RunDir(tmp_path / "run").read_status()["reason"]
    assert not (tmp_path / "run" / ".lock").exists()


def test_sigterm_interrupts_and_the_old_handler_comes_back(tmp_path: Path, pictures: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def be_stopped() -> None:
        with open_it(tmp_path / "run", pictures):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Interrupted, match=r"Go on with: budwood fit pictures --out .* --resume"):
        be_stopped()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("budwood fit p", "budwood fit p --out {} --resume", id="fit"),
        pytest.param("budwood fit p --overwrite", "budwood fit p --out {} --resume", id="fit that replaced"),
        pytest.param("budwood fit p -o {} --resume", "budwood fit p -o {} --resume", id="fit that resumed"),
        pytest.param("budwood fit 'my p' --out={}", "budwood fit 'my p' --out={} --resume", id="a name with a space"),
        pytest.param("budwood demo", "budwood demo", id="a command without that option"),
        pytest.param("script.py", "budwood.fit(..., out='{}', resume=True)", id="from Python"),
    ],
)
def test_how_to_go_on_is_a_command_that_exists(command: str, expected: str, tmp_path: Path) -> None:
    journal = Journal(RunDir(tmp_path), command=command.format(tmp_path))
    assert journal.go_on() == expected.format(tmp_path)


def test_a_run_in_use_is_refused_even_with_overwrite(tmp_path: Path, pictures: Path) -> None:
    with open_it(tmp_path / "run", pictures):
        with pytest.raises(OutputError, match="under way"), open_it(tmp_path / "run", pictures):
            pass
        with pytest.raises(OutputError, match="in use by another"):
            open_it(tmp_path / "run", pictures, overwrite=True).__enter__()
        assert state(tmp_path / "run")[0] == "running"


@pytest.mark.parametrize("process", [0, -1, 1, 10**30, "x", None], ids=str)
def test_a_killed_run_is_known_whatever_its_process_number_says(
    process: object, tmp_path: Path, pictures: Path
) -> None:
    write_json(tmp_path / "run" / "status.json", {"state": "running", "step": "head", "process": process, "go_on": "X"})
    with pytest.raises(OutputError, match=r"killed after the step head \(go on with: X\)"):  # noqa: SIM117
        with open_it(tmp_path / "run", pictures):
            pass


@pytest.mark.parametrize("content", ["", "[]", "{"], ids=["empty", "a list", "cut"])
def test_a_status_that_cannot_be_read_is_said_so(content: str, tmp_path: Path, pictures: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "status.json").write_text(content)
    with pytest.raises(OutputError, match="whose status cannot be read"), open_it(run, pictures):
        pass
    with pytest.raises(IntegrityError):
        RunDir(run).read_status()


def test_overwriting_removes_all_of_an_old_run_and_nothing_else(tmp_path: Path, pictures: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    with open_it(run, pictures):
        (run / "predictions").mkdir()
        (run / "predictions" / "test.csv").touch()
        (run / "bundle").symlink_to(outside)
        (run / ".metrics.json.abc.tmp").touch()
    with open_it(run, pictures, overwrite=True):
        assert sorted(p.name for p in run.iterdir()) == [".lock", "command.txt", "status.json"]
    assert (outside / "kept").exists()


def test_a_run_around_the_photos_is_never_cleared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    inner = run / "predictions"
    with open_it(run, tmp_path / "elsewhere"):
        inner.mkdir()
        (inner / "a.jpg").touch()
    with pytest.raises(OutputError, match="is not replaced"), open_it(run, inner, overwrite=True):
        pass
    assert (inner / "a.jpg").exists()


@pytest.mark.parametrize("left", [".probe-1a2b", ".status.json.host-1.x.tmp"])
def test_what_a_kill_leaves_before_there_is_a_status_can_be_gone_on_with(
    left: str, tmp_path: Path, pictures: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / left).write_text("half")
    with opened_run(tmp_path / "run", photos=pictures, overwrite=False, command="budwood fit x", resume=True):
        assert not (tmp_path / "run" / left).exists()


@pytest.mark.parametrize("killed_at", ["budwood.opening.shutil.rmtree", "budwood.opening.write_text"])
def test_a_run_that_is_killed_while_it_takes_its_folder_is_no_finished_one(
    killed_at: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_it(tmp_path / "run", pictures) as (run, journal):
        (run.path / "bundle").mkdir()
        journal.write("done", step="report")

    def killed(*_: object, **__: object) -> None:
        raise SystemError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(killed_at, killed)
        with pytest.raises(SystemError), open_it(tmp_path / "run", pictures, overwrite=True):
            pass
    assert state(tmp_path / "run") == ("running", "start")
    with opened_run(tmp_path / "run", photos=pictures, overwrite=False, command="budwood fit x", resume=True):
        assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize("name", ["probe", "../../up", "a/b", "ü ö", "x" * 300, ""], ids=range(6))
def test_a_new_run_lies_below_runs_whatever_its_recipe_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = new_run_path(name)
    assert first.parent == Path("runs")
    assert re.match(r"\d{8}-\d{6}-", first.name)
    first.mkdir(parents=True)
    assert new_run_path(name) != first


def test_warnings_survive_a_cut_last_line(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.read_warnings() == ()
    run.warn("first ü")
    run.warn("second")
    with run.warnings.open("a") as file:
        file.write('{"warn')
    assert run.read_warnings() == ("first ü", "second")


@pytest.mark.parametrize("program", ["/x/bin/budwood", "/x/budwood/cli/main.py", "/x/budwood/__main__.py"])
def test_the_command_is_stored_as_it_can_be_typed(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [program, "fit", "my photos", "--set", "a=[1, 2]"])
    assert command_line() == "budwood fit 'my photos' --set 'a=[1, 2]'"
