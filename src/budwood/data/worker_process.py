"""One worker process as the scan sees it: started, handed names, read from, and how it ended.

It is a fresh interpreter and no fork: a fork of a process with threads can hang, and multiprocessing's other ways would
run the user's own script once more. It inherits the environment, so a changed Pillow is the same one there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from typing import IO, Any, cast

import numpy as np

from budwood.data.worker import LENGTH, READY, SECONDS
from budwood.errors import BudwoodError

PIPE_BYTES = 1 << 20  # the largest that an ordinary user gets on Linux
MOST_BYTES = 2**29  # of answers to one group: a dozen of the longest strips that are allowed
TOO_SLOW = f"took longer than {SECONDS} s to decode; the next scan tries it again"

# SIGINT goes to the whole terminal; the parent alone answers it. The parent's own path is used, without the
# current folder that -c would put first.
_BEGIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = sys.argv[4:]; "
    "from budwood.data.worker import main; main(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# For glibc: memory of a group of small pictures is kept for the next one. Given back and asked for anew, its pages cost
# a fifth of the decoding.
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**25), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


class WorkerProcess:
    """One process: its pipes, and what of its last answer has come."""

    def __init__(self, given: list[str]) -> None:
        self.overdue = False  # killed from outside for being slow
        self._ready = False
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        path = [entry for entry in sys.path if isinstance(entry, str)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BEGIN, *given, *path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                env={**_KEEP_MEMORY, **os.environ, **_ONE_THREAD},
            )
        except OSError as error:
            self._errors.close()
            raise BudwoodError(f"cannot start {sys.executable} to decode pictures ({error.strerror})") from error
        self._source = cast(Any, self._process.stdout)  # unbuffered, so raw files, which the types do not say
        self._sink = cast(Any, self._process.stdin)
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self._source.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def send(self, data: bytes) -> None:
        """Hand over names; when the worker is dead, `receive` will tell."""
        with contextlib.suppress(OSError):
            self._sink.write(data)

    def receive(self) -> memoryview:
        """The answers to one group, waiting for them; empty when the worker has ended."""
        if not self._ready:
            said = b""
            while not said.endswith(READY):  # before it, whatever the start of Python printed
                if not (more := self._source.read(1)):
                    return memoryview(b"")
                said = said[-len(READY) :] + more
            self._ready = True
        head = self._exactly(LENGTH.size)
        length = LENGTH.unpack(head)[0] if head else 0
        if length > MOST_BYTES:  # a worker that lost its mind
            self.kill()
            length = 0
        return self._exactly(length)

    def _exactly(self, count: int) -> memoryview:
        data = left = np.empty(count, np.uint8).data  # not bytearray, which would first fill it with zeros
        while left:
            try:
                done = self._source.readinto(left)
            except OSError:
                done = 0
            if not done:
                return memoryview(b"")
            left = left[done:]
        return data

    def ending(self) -> str:
        """Why a dead worker died, as a reason for the file that it had in hands.

        Raises:
            BudwoodError: it never began to work, so that no file is to blame.
        """
        code = self._process.wait()
        if not self._ready:
            self._errors.seek(0)
            words = self._errors.read().decode(errors="replace").strip().splitlines()
            why = words[-1] if words else f"exit code {code}"
            raise BudwoodError(f"the process that decodes pictures cannot start: {why}")
        if self.overdue or code == -getattr(signal, "SIGALRM", 0):
            return TOO_SLOW
        if code >= 0:
            return f"the decoder ended on it (exit code {code})"
        with contextlib.suppress(ValueError):
            return f"the decoder crashed on it (signal {-code}, {signal.Signals(-code).name})"
        return f"the decoder crashed on it (signal {-code})"

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Release all that is held of an ended or killed process."""
        for pipe in (self._source, self._sink):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()
        self._errors.close()
