"""How a run's folder is taken and ended: lock, state, the way to go on, and what may be replaced.

The names of the files in it are `runs.RunDir`'s.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from budwood.errors import BudwoodError, IntegrityError, Interrupted, OutputError
from budwood.files import MANIFEST_NAME, ensure_writable, refuse_inside, write_json, write_text
from budwood.runs import LOCK_NAME, RunDir, RunState, StepTime
from budwood.stopping import stoppable

_STOPPED = "stopped by the user or the system"


class Journal:
    """Keeps ``status.json`` of a running run up to date: state, step, finished steps, how to go on."""

    def __init__(self, run: RunDir, *, command: str) -> None:
        self.run = run
        self.command = command
        self.started = datetime.now().astimezone().isoformat(timespec="seconds")
        self.clock = time.perf_counter()
        self.steps: list[StepTime] = []
        self.write("running", step="start")

    def write(self, state: RunState, *, step: str, reason: str = "") -> None:
        """Replace ``status.json``."""
        write_json(
            self.run.status,
            {
                "state": state,
                "step": step,
                "reason": reason,
                "started": self.started,
                "seconds": round(time.perf_counter() - self.clock, 3),
                "process": os.getpid(),
                "steps": [asdict(s) for s in self.steps],
                "go_on": "" if state == "done" else self.go_on(),
            },
        )

    def go_on(self) -> str:
        """The command that goes on where this run stopped."""
        if not self.command.startswith("budwood "):
            return f"budwood.fit(..., out={str(self.run.path)!r}, resume=True)"
        if not self.command.startswith("budwood fit "):
            return self.command  # the demo begins again
        words = [word for word in shlex.split(self.command) if word not in ("--overwrite", "--resume")]
        if not any(word in ("--out", "-o") or word.startswith("--out=") for word in words):
            words += ["--out", str(self.run.path)]
        return shlex.join([*words, "--resume"])

    def finished(self, step: StepTime) -> None:
        """Note a finished step."""
        self.steps.append(step)
        self.write("running", step=step.name)


def new_run_path(recipe: str) -> Path:
    """``runs/<time>-<recipe>`` in the working folder, not yet there."""
    # a recipe's name is free text; here it must stay one folder name
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{re.sub(r'[^-.@+0-9A-Za-z]+', '_', recipe)[:80]}"
    for number in range(1, 1000):
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        if not path.exists():
            return path
    raise OutputError(f"runs/ already holds 999 runs called {stem}; give a folder with --out")


@contextmanager
def opened_run(
    path: Path, *, photos: Path, overwrite: bool, command: str, resume: bool = False
) -> Iterator[tuple[RunDir, Journal]]:
    """Create and lock a run folder; at the end its state says how it ended.

    With ``resume`` the checkpoints and members' runs of an earlier run that did not end are left for this one to go on
    from; all else is made again, mostly from caches.

    Raises:
        OutputError: the folder cannot be written, is in use, holds something, or it or the photos hold the other.
        Interrupted: Ctrl-C or SIGTERM came; the state is ``interrupted``.
    """
    refuse_inside(path, photos)
    if os.path.exists(path) and not path.is_dir():
        raise OutputError(f"{path} is a file; give a folder with --out")
    if not resume and path.is_dir() and any(path.iterdir()) and not overwrite and not _failed(path):
        raise OutputError(f"{path} already holds {_what_is(path)}; choose another --out, or add --overwrite")
    if photos.resolve().is_relative_to(path.resolve()) and overwrite:
        raise OutputError(f"{path} holds {photos}, so it is not replaced; give a folder elsewhere with --out")
    ensure_writable(path)
    lock = FileLock(path / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"{path} is in use by another Budwood process; wait for it or choose another --out"
        ) from error
    try:
        run = RunDir(path)
        old = _replaceable(path, keep={run.checkpoints.name, run.members.name} if resume else set())
        # First of all: by its status the folder is known as that of a run under way, if this is killed from here on.
        journal = Journal(run, command=command)
        for entry in old:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        write_text(run.command, command + "\n")
        with _ending(journal):
            yield run, journal
    finally:
        lock.release()
        (path / LOCK_NAME).unlink(missing_ok=True)


@contextmanager
def _ending(journal: Journal) -> Iterator[None]:
    """Write how the run ended, whatever happens."""

    def note(state: RunState, reason: str) -> str:
        at = journal.steps[-1].name if journal.steps else "start"
        journal.write(state, step=at, reason=reason)
        return at

    def last_words() -> None:
        note("interrupted", _STOPPED)
        print(f"stopped: {journal.run.path} keeps what was done. Go on with: {journal.go_on()}", file=sys.stderr)

    with stoppable(last_words, exit_code=Interrupted.exit_code) as dealt_with:
        try:
            yield
        except KeyboardInterrupt as error:
            dealt_with()
            at = note("interrupted", _STOPPED)
            raise Interrupted(
                f"stopped after the step {at}; {journal.run.path} keeps what was done. Go on with: {journal.go_on()}"
            ) from error
        except BaseException as error:
            note("failed", str(error) if isinstance(error, BudwoodError) else f"{type(error).__name__}: {error}")
            raise


def _failed(path: Path) -> bool:
    """Whether the folder holds a run that ended with an error: it is replaced without asking, for it made nothing."""
    run = RunDir(path)
    try:
        return run.status.is_file() and run.read_status().get("state") == "failed" and not run.metrics.exists()
    except IntegrityError:
        return False


def _what_is(path: Path) -> str:
    """What a taken folder holds, and for a run that was killed, how to go on."""
    run = RunDir(path)
    if not run.status.is_file():
        return "files"
    try:
        status = run.read_status()
    except IntegrityError:
        return "a run whose status cannot be read"
    state, go_on = status.get("state"), f"after the step {status.get('step')} (go on with: {status.get('go_on')})"
    if state == "interrupted":
        return f"a run that was interrupted {go_on}"
    if state == "running":
        return "a run that is under way" if _in_use(path) else f"a run that was killed {go_on}"
    return f"a run ({state})"


def _in_use(path: Path) -> bool:
    """Whether a living process holds the run's lock; a process number could be another program's by now."""
    try:
        with FileLock(path / LOCK_NAME).acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _replaceable(path: Path, *, keep: set[str]) -> list[Path]:
    """What an earlier run left but its status and ``keep``; an error where something is no run's."""
    entries = [entry for entry in path.iterdir() if entry.name not in {LOCK_NAME, *keep}]
    status = RunDir(path).status
    if not status.is_file() and not all(_is_leftover(entry.name) for entry in entries):
        raise OutputError(f"{path} holds files that are no run; --overwrite replaces only runs. Choose another --out")
    foreign = sorted(entry.name for entry in entries if not _is_own(entry.name))
    if foreign:
        raise OutputError(f"{path} also holds {foreign[0]}, which is no run's; move it away, or choose another --out")
    return [entry for entry in entries if entry.name != status.name]


def _is_own(name: str) -> bool:
    """Whether a run writes an entry of this name: a property of `RunDir`, or what a killed atomic write left."""
    run = RunDir(Path())
    own = {getattr(run, key).name for key, value in vars(RunDir).items() if isinstance(value, property)}
    return _is_leftover(name) or name in {*own, "predictions", MANIFEST_NAME}


def _is_leftover(name: str) -> bool:
    """Whether a process that was killed left it, before it had its name."""
    return name.startswith(".probe-") or (name.startswith(".") and name.endswith(".tmp"))


def command_line() -> str:
    """The command as it was typed, for the record."""
    name = Path(sys.argv[0]).name
    return shlex.join(["budwood" if name in ("budwood", "__main__.py", "main.py") else name, *sys.argv[1:]])
