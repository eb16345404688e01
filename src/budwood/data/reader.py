"""File names -> facts and reduced pictures, read by worker processes that may crash without harm.

Each worker process (`worker.py`) has a thread here that hands it names and takes its answers. A worker answers in
order, so when it dies, the first file without an answer is the suspect: it is tried once more, alone, in a fresh
worker, and is blamed only when it ends that one too. Nothing is decoded in this process, nothing is stored.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from budwood.data.facts import FACTS
from budwood.data.worker_answers import Batch, parsed
from budwood.data.worker_process import TOO_SLOW, WorkerProcess
from budwood.files import scratch_folder

PATIENCE = 60.0 if hasattr(signal, "setitimer") else 10.0  # seconds of silence after which a worker is killed from here
FILES_A_WORKER = 16  # fewer files are not worth another process: it takes a tenth of a second to start
GROUP = 16  # names handed over at once: looking at pictures in a row costs a sixth less than one after its decoding
GROUP_SECONDS = 0.02  # of work: groups of large pictures are smaller
# Names and answers must not fill both pipes at once; the smallest pipe there is (Windows) holds 4096 bytes.
GROUP_BYTES = 1900  # of names in one of two groups; a longer name travels alone
_BATCHES = 8  # that wait for the scan, so that memory stays bounded when the disk is slow


class Job(NamedTuple):
    """One file to read: its number in the scan, and its place, neither empty nor with a zero byte in it."""

    number: int
    name: bytes


_NOTHING = memoryview(b"")


def read_files(places: Iterable[Job], *, side: int, workers: int) -> Iterator[Batch]:
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
    answers: queue.Queue[Batch | Exception | None] = queue.Queue(_BATCHES * count)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        lanes = [_Lane(jobs, answers, folder=folder, side=side, number=number) for number in range(count)]
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
    """Files that are handed over together, and the bytes of their names."""

    jobs: list[Job]
    num_bytes: int = 1


class _Lane:
    """One worker process after another, and the thread that talks to the current one."""

    def __init__(
        self,
        jobs: deque[Job],
        answers: queue.Queue[Batch | Exception | None],
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
        self._given = [str(folder / "turn"), str(self._note), str(side)]
        self._again: deque[Job] = deque()  # taken over from a worker that died
        self._alone = 0  # so many of them are tried one by one
        self._sent: deque[_Group] = deque()  # groups without an answer
        self._pace = GROUP_SECONDS / 4  # seconds for one picture, as it was lately
        self._since = time.monotonic()
        self._silent_since: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"budwood-scan-{number}", daemon=True)

    def __enter__(self) -> _Lane:
        self._worker = WorkerProcess(self._given)
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
                if batch is not None:
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

    def _parsed(self, data: memoryview) -> Batch:
        group = self._sent.popleft()
        self._alone = max(0, self._alone - 1)
        now = time.monotonic()
        self._pace = max(1e-6, (now - self._since) / len(group.jobs))
        self._since = now
        return parsed(data, [job.number for job in group.jobs])

    def _died(self) -> Batch | None:
        """Blame a file or suspect it, and go on with a fresh worker."""
        if self._closed.is_set():
            return None
        ending, batch = self._worker.ending(), None
        group = self._sent.popleft()
        in_hands = group.jobs[self._noted()] if self._noted() < len(group.jobs) else None
        left = group.jobs
        if in_hands is None:
            self._alone = len(left)
        elif self._alone or ending == TOO_SLOW:
            batch = Batch([in_hands.number], np.zeros(0, FACTS), {}, _NOTHING, _NOTHING, ending)
            left.remove(in_hands)
            self._alone = max(0, self._alone - 1)
        else:
            left.remove(in_hands)
            left.insert(0, in_hands)
            self._alone = 1
        self._again.extendleft(reversed([*left, *(job for group in self._sent for job in group.jobs)]))
        self._sent.clear()
        self._worker.close()
        self._worker = WorkerProcess(self._given)
        if self._closed.is_set():  # the scan ended while the new worker started
            self._worker.kill()
        return batch

    def _noted(self) -> int:
        return self._note.read_bytes()[0]
