"""A signal ends the process within seconds, even in the middle of one long instruction."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from budwood.stopping import PATIENCE_SECONDS, stoppable

# Hashing is one call that lets other threads run, as a backward pass is: no Python code runs in the main thread in it.
CHILD = """
import hashlib, sys
from pathlib import Path
from budwood.stopping import stoppable
with stoppable(lambda: Path(sys.argv[1]).write_text("last words"), exit_code=4) as dealt_with:
    print("ready", flush=True)
    try:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", int(sys.argv[2]))
    except KeyboardInterrupt:
        dealt_with()
        Path(sys.argv[1]).write_text("dealt with")
        sys.exit(7)
"""
FOR_MINUTES = 1_000_000_000


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_long_instruction_is_cut_off_with_last_words(sent: signal.Signals, tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-c", CHILD, str(said), str(FOR_MINUTES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(sent)
        assert process.wait(timeout=60) == 4
    assert said.read_text() == "last words"
    assert PATIENCE_SECONDS < 5


def test_a_main_thread_that_reacts_ends_by_itself_and_gives_the_handlers_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    spoke: list[str] = []
    with stoppable(lambda: spoke.append("too soon"), exit_code=4) as dealt_with:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        dealt_with()
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert spoke == []
    assert not any(thread.name == "stop" for thread in threading.enumerate())


def test_outside_of_the_main_thread_nothing_is_changed() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stoppable(lambda: None, exit_code=4) as dealt_with:
            seen.append(signal.getsignal(signal.SIGTERM))
            dealt_with()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
