"""Fixtures for all tests: small drawn pictures, a cache of the test's own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from budwood.herbarium import SPECIES, draw_herbarium

_SAVEFIG = Figure.savefig
# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep every test out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("BUDWOOD_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def empty_plots() -> Iterator[None]:
    """Plots take half of a short run's time, so that most tests draw empty ones; see `real_plots`."""

    def savefig(figure: Figure, out: Any, *, format: str = "png", **options: Any) -> None:
        if format == "svg":
            out.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"></svg>')
        else:
            _SAVEFIG(figure, out, format=format, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture(scope="module")
def real_plots() -> Iterator[None]:
    """Plots as users see them, for tests that look at them: ``pytest.mark.usefixtures("real_plots")``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _SAVEFIG)
        yield


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests share a busy machine, where more threads are slower; a test may change the number for itself."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


# Imports all that a run needs, which takes seconds, and then forks a process for each call.
FORKING = """
import json, os, signal, sys
import budwood.pipeline, budwood.scoring, budwood.page
from budwood.cli.main import main

def call(order):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    out = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["budwood", *order["arguments"]]
    main()

signal.signal(signal.SIGINT, signal.SIG_IGN)
for line in sys.stdin:
    order = json.loads(line)
    if "arguments" in order:
        pid = os.fork()
        if not pid:
            call(order)
        print(pid, flush=True)
    else:
        pid, status = os.waitpid(order["pid"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Life:
    """A ``budwood`` command in a process of its own. said: file of what it prints."""

    server: subprocess.Popen[str]
    pid: int
    said: Path
    code: int | None = None
    asked: bool = False

    def kill(self, sent: int = signal.SIGKILL) -> None:
        """Send it a signal, if it has not ended."""
        if self.code is None:
            os.kill(self.pid, sent)

    def ended(self, *, within: float) -> int | None:
        """Its exit code, minus the signal that ended it; None where it still runs after so many seconds."""
        if self.code is None and not self.asked:
            self.asked = True
            print(json.dumps({"pid": self.pid}), file=self.server.stdin, flush=True)
        if self.code is None and select.select([self.server.stdout], [], [], within)[0]:
            self.code = int(self.server.stdout.readline())
        return self.code


@pytest.fixture(scope="session")
def budwood_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Life]]:
    """Start ``budwood ARGUMENTS`` in a new process, without the seconds that a new interpreter takes to import torch.

    One at a time: the next may be started when the last one has ended.
    """
    folder = tmp_path_factory.mktemp("said")
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", FORKING], stdin=pipe, stdout=pipe, text=True, env=own) as server:
        lives: list[Life] = []

        def start(*arguments: object, cwd: Path, **environment: Any) -> Life:
            assert all(life.code is not None for life in lives)
            said = folder / f"{len(lives)}.txt"
            values = {name: str(value) for name, value in environment.items()}
            order = {"arguments": [*map(str, arguments)], "folder": str(cwd), "environment": values, "said": str(said)}
            print(json.dumps(order), file=server.stdin, flush=True)
            lives.append(Life(server, int(server.stdout.readline()), said))
            return lives[-1]

        yield start
        server.stdin.close()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three species, eight pictures each, 32 px, without faults."""
    folder = tmp_path_factory.mktemp("photos")
    return draw_herbarium(folder, seed=3, num_pictures=24, size=32, species=SPECIES[:3], faults=False).photos
