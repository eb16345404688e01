"""File names -> facts and reduced pictures, read by worker processes that may crash without harm.

Each worker process (`worker.py`) has a thread here that hands it names and takes its answers. A worker answers in
order, so when it dies, the first file without an answer is the suspect: it is tried once more, alone, in a fresh
worker, and is blamed only when it ends that one too. Nothing is decoded in this process, nothing is stored.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from budwood.data.facts import PACKED
from budwood.data.worker import HEAD, READY, SECONDS
from budwood.errors import BudwoodError

PATIENCE = 60.0 if hasattr(signal, "setitimer") else 10.0  # seconds of silence after which a worker is killed from here
FILES_A_WORKER = 16  # fewer files are not worth another process: it takes a tenth of a second to start
GROUP = 16  # names handed over at once: looking at pictures in a row costs a sixth less than one after its decoding
GROUP_SECONDS = 0.02  # of work: groups of large pictures are smaller
# Names and answers must not fill both pipes at once; the smallest pipe there is (Windows) holds 4096 bytes.
GROUP_BYTES = 1900  # of names in one of two groups; a longer name travels alone
PIPE_BYTES = 1 << 20  # the largest that an ordinary user gets on Linux
_BATCHES = 8  # that wait for the scan, so that memory stays bounded when the disk is slow

# SIGINT goes to the whole terminal; the parent alone answers it. The parent's own path is used, without the
# current folder that -c would put first.
_BEGIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = sys.argv[4:]; "
    "from budwood.data.worker import main; main(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TOO_SLOW = f"took longer than {SECONDS} s to decode; the next scan tries it again"


class Job(NamedTuple):
    """One file to read: its number in the scan, and its place, neither empty nor with a zero byte in it."""

    number: int
    name: bytes


class Answer(NamedTuple):
    """What a worker says. ``facts`` is empty when the file ended the worker; then ``reason`` tells how.

    ``picture`` and ``plane`` are views of memory that many answers share: copy what is to be kept.
    """

    number: int
    facts: bytes
    reason: str
    picture: memoryview
    plane: memoryview


_NOTHING = memoryview(b"")


def read_files(places: Iterable[Job], *, side: int, workers: int) -> Iterator[list[Answer]]:
    """Read files in worker processes; answers come in batches, in any order, one for each job.

    Args:
        places: what to read.
        side: of the stored pictures, see `worker.main`; 0: facts only.
        workers: processes at most.

    Raises:
        BudwoodError: a worker cannot be started.
    """
    jobs = deque(places)
    if not jobs:
        return
    count = max(1, min(workers, len(jobs) // FILES_A_WORKER))
    answers: queue.Queue[list[Answer] | Exception | None] = queue.Queue(_BATCHES * count)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="budwood-", ignore_cleanup_errors=True))
        lanes = [_Lane(jobs, answers, folder=Path(folder), side=side, number=number) for number in range(count)]
        for lane in lanes:
            stack.enter_context(lane)
        running = count
        while running:
            try:
                batch = answers.get(timeout=1.0)
            except queue.Empty:
                for lane in lanes:
                    lane.check()
                continue
            if isinstance(batch, Exception):
                raise batch
            if batch is None:
                running -= 1
            else:
                yield batch


@dataclass(slots=True)
class _Group:
    """Files that are handed over together, the bytes of their names, and how many have an answer."""

    jobs: list[Job]
    num_bytes: int = 1
    answered: int = 0


class _Lane:
    """One worker process after another, and the thread that talks to the current one."""

    def __init__(
        self,
        jobs: deque[Job],
        answers: queue.Queue[list[Answer] | Exception | None],
        *,
        folder: Path,
        side: int,
        number: int,
    ) -> None:
        self._jobs = jobs  # shared by all lanes
        self._answers = answers
        self._note = folder / f"note{number}"
        self._note.write_bytes(b"\0")
        (folder / "turn").touch()
        path = [entry for entry in sys.path if isinstance(entry, str)]
        given = [str(folder / "turn"), str(self._note), str(side)]
        self._command = [sys.executable, "-P", "-c", _BEGIN, *given, *path]
        self._again: deque[Job] = deque()  # taken over from a worker that died
        self._alone = 0  # so many of them are tried one by one
        self._sent: deque[_Group] = deque()  # groups without an answer
        self._pace = GROUP_SECONDS / 4  # seconds for one picture, as it was lately
        self._since = time.monotonic()
        self._silent_since: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"budwood-scan-{number}", daemon=True)

    def __enter__(self) -> _Lane:
        self._worker = _Worker(self._command)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()
        self._worker.kill()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._answers.get_nowait()
            self._thread.join(0.01)
        self._worker.close()

    def check(self) -> None:
        """Kill the worker when it has been silent for too long; its thread then notices."""
        since = self._silent_since
        if since is not None and time.monotonic() - since > PATIENCE:
            self._worker.overdue = True
            self._worker.kill()

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._send()
                if not self._sent:
                    break
                self._silent_since = time.monotonic()
                data = self._worker.receive()
                self._silent_since = None
                batch = self._parsed(data) if data else self._died()
                if batch:
                    self._answers.put(batch)
            self._answers.put(None)
        except Exception as error:
            self._answers.put(error)

    def _send(self) -> None:
        """Keep one group before the worker while it has another in hands."""
        while len(self._sent) < (1 if self._alone else 2) and (group := self._next_group()):
            if self._sent and max(group.num_bytes, self._sent[0].num_bytes) > GROUP_BYTES:
                self._again.extendleft(reversed(group.jobs))
                break
            self._sent.append(group)
            self._worker.send(b"\0".join([*(job.name for job in group.jobs), b"", b""]))

    def _next_group(self) -> _Group | None:
        """Few names towards the end, so that all workers end together, and one where a suspect is tried."""
        most = 1 if self._alone else max(1, min(GROUP, int(GROUP_SECONDS / self._pace), len(self._jobs) // 4))
        group = _Group([])
        while len(group.jobs) < most:
            try:
                job = (self._again or self._jobs).popleft()
            except IndexError:
                break
            if group.jobs and group.num_bytes + len(job.name) > GROUP_BYTES:
                self._again.appendleft(job)
                break
            group.jobs.append(job)
            group.num_bytes += len(job.name) + 1
        return group if group.jobs else None

    def _parsed(self, data: bytes) -> list[Answer]:
        batch = []
        for facts, reason, picture, plane in self._worker.answers(data):
            group = self._sent[0]
            batch.append(Answer(group.jobs[group.answered].number, facts, reason, picture, plane))
            group.answered += 1
            if group.answered == len(group.jobs):
                self._sent.popleft()
                self._alone = max(0, self._alone - 1)
                now = time.monotonic()
                self._pace = max(1e-6, (now - self._since) / len(group.jobs))
                self._since = now
        return batch

    def _died(self) -> list[Answer]:
        """Blame a file or suspect it, and go on with a fresh worker."""
        if self._closed.is_set():
            return []
        ending, batch = self._worker.ending(), []
        group = self._sent.popleft()
        in_hands = group.jobs[self._noted()] if self._noted() < len(group.jobs) else None
        left = group.jobs[group.answered :]
        if in_hands is None:
            self._alone = len(left)
        elif self._alone or ending == TOO_SLOW:
            batch = [Answer(in_hands.number, b"", ending, _NOTHING, _NOTHING)]
            left.remove(in_hands)
            self._alone = max(0, self._alone - 1)
        else:
            left.remove(in_hands)
            left.insert(0, in_hands)
            self._alone = 1
        self._again.extendleft(reversed([*left, *(job for group in self._sent for job in group.jobs)]))
        self._sent.clear()
        self._worker.close()
        self._worker = _Worker(self._command)
        if self._closed.is_set():  # the scan ended while the new worker started
            self._worker.kill()
        return batch

    def _noted(self) -> int:
        return self._note.read_bytes()[0]


class _Worker:
    """One process: its pipes, and what of its last answer has come."""

    def __init__(self, command: list[str]) -> None:
        self.overdue = False
        self._ready = False
        self._rest = b""
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                env={**os.environ, **_ONE_THREAD},
            )
        except OSError as error:
            self._errors.close()
            raise BudwoodError(f"cannot start {command[0]} to decode pictures ({error.strerror})") from error
        self._source, self._sink = self._process.stdout, self._process.stdin
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def _fd(self) -> int:
        assert self._source is not None
        return self._source.fileno()

    def send(self, data: bytes) -> None:
        """Hand over names; when the worker is dead, `receive` will tell."""
        assert self._sink is not None
        with contextlib.suppress(OSError):
            self._sink.write(data)

    def receive(self) -> bytes:
        """The next bytes, waiting for them; empty when the worker has ended."""
        try:
            return os.read(self._fd, PIPE_BYTES)
        except OSError:
            return b""

    def answers(self, data: bytes) -> Iterator[tuple[bytes, str, memoryview, memoryview]]:
        """The complete answers in what was received: facts, reason, picture, plane."""
        data = self._rest + data
        at = 0
        if not self._ready:
            begin = data.find(READY)  # behind whatever the start of Python printed
            self._ready = begin >= 0
            at = begin + len(READY) if self._ready else len(data)
        view = memoryview(data)
        fixed = HEAD.size + PACKED.size
        while self._ready and len(data) - at >= fixed:
            words, picture, plane = HEAD.unpack_from(data, at)
            body = at + fixed
            end = body + words + picture + plane
            if end > len(data):
                break
            reason = data[body : body + words].decode() if words else ""
            yield (
                data[at + HEAD.size : body],
                reason,
                view[end - plane - picture : end - plane],
                view[end - plane : end],
            )
            at = end
        self._rest = data[at:] if self._ready else data

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
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()
        self._errors.close()
