"""SIGTERM and Ctrl-C end a run within seconds, whatever it is doing.

Both raise KeyboardInterrupt in the main thread. Python does that between two of its own instructions only, and the
backward pass of a large network is one instruction that may take a minute: so a thread of its own waits for the signal,
and ends the process if the main thread has not reacted in time. What is on the disk by then is what a resume takes up.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 3.5
_STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable(last_words: Callable[[], None], *, exit_code: int) -> Iterator[Callable[[], None]]:
    """Within this context both signals stop the process in time; yields what to call once the stop is dealt with.

    Args:
        last_words: called by the waiting thread before it ends the process; must be quick.
        exit_code: what the process ends with then.

    Outside of the main thread signals are the caller's matter, and nothing is changed.
    """

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield lambda: None
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    old_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    dealt_with = threading.Event()

    def watch() -> None:
        while data := reader.recv(64):
            if 0 in data:
                return
            if any(number in data for number in _STOPPING) and not dealt_with.wait(PATIENCE_SECONDS):
                last_words()
                os._exit(exit_code)

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield dealt_with.set
    finally:
        dealt_with.set()
        signal.set_wakeup_fd(old_wakeup)
        signal.signal(signal.SIGTERM, before)
        writer.send(b"\0")
        watcher.join()
        reader.close()
        writer.close()
