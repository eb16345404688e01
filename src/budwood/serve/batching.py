"""Single pictures from many requests -> batches for the network, and a bounded queue before it.

A batch is begun when it is full, or 10 ms after its first picture came, or 100 ms where more are just being decoded: a
network that takes whole batches only needs as long for half of one. While it works the next ones gather.
Several batches may be under way, each in a thread of its own (a lane): two networks on one core each answer more than
one on two. What a picture is, and what is made of it, is the caller's matter.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

MAX_BATCH = 32
MAX_WAIT = 0.010  # seconds
_LONGEST_WAIT = 0.100  # seconds, while pictures are being decoded
_LONGEST_RETRY = 60  # seconds
_MEMORY = 0.8  # of the running mean of the seconds for a picture
T = TypeVar("T")
Row = NDArray[np.float32]


class Busy(Exception):
    """Too much waits, or the server is stopping; ``retry_after`` is in whole seconds, at least 1."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too much is waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(slots=True)
class _Asked(Generic[T]):
    item: T
    answer: asyncio.Future[Row]
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[T]):
    """A network, asked in batches from threads of its own."""

    def __init__(
        self,
        answer: Callable[[Sequence[T]], NDArray[np.float32]],
        *,
        max_waiting: int,
        max_batch: int = MAX_BATCH,
        max_wait: float = MAX_WAIT,
        lanes: int = 1,
    ) -> None:
        """``answer`` gives one row for each item; ``max_waiting`` is the number of places that `places` gives out.

        lanes: from how many threads ``answer`` is called at the same time.
        """
        self._answer = answer
        self._max_waiting, self._max_batch, self._max_wait = max_waiting, max_batch, max_wait
        self._queue: deque[_Asked[T]] = deque()
        self._came = asyncio.Event()
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="network")
        self._lanes = lanes
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._seconds = 0.0  # for one picture
        self._expected = 0
        self.waiting = 0
        self.num_batches = 0

    def start(self) -> None:
        """Begin to answer, in the event loop that runs."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()) for _ in range(self._lanes)]

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold places for ``count`` pictures while they are decoded and answered.

        Raises:
            Busy: there are not so many left.
        """
        if self._closing or self.waiting + count > self._max_waiting:
            raise Busy(self.retry_after())
        self.waiting += count
        try:
            yield
        finally:
            self.waiting -= count

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Around what makes an item that is then asked for at once: a batch that is not full waits for it a little."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._came.set()

    async def ask(self, item: T) -> Row:
        """The row for one item.

        Raises:
            Busy: the server stopped before its turn came.
        """
        if self._closing and not self._tasks:
            raise Busy(self.retry_after())
        asked = _Asked(item, asyncio.get_running_loop().create_future())
        self._queue.append(asked)
        self._came.set()
        return await asked.answer

    async def run_alone(self, work: Callable[[], Any]) -> Any:
        """Run something between two batches, in one of the network's own threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def retry_after(self) -> int:
        """Whole seconds until what waits now will be answered."""
        return min(_LONGEST_RETRY, max(1, math.ceil(self.waiting * self._seconds / self._lanes)))

    def refuse_new(self) -> None:
        """From now on nobody gets a place; those who have one are answered."""
        self._closing = True

    async def close(self) -> None:
        """Stop at once; whoever still waits is told to come back."""
        self.refuse_new()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for asked in self._queue:
            if not asked.answer.done():
                asked.answer.set_exception(Busy(self.retry_after()))
        self._queue.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            await self._gathered()
            batch = [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
            batch = [asked for asked in batch if not asked.answer.done()]  # whoever asked may have gone
            if batch:
                await self._answer_all(batch)

    async def _gathered(self) -> None:
        """Wait for a full batch, or until the first one has waited long enough; another lane may take them first."""
        while not self._queue:
            self._came.clear()
            await self._came.wait()
        while 0 < len(self._queue) < self._max_batch:
            longest = max(self._max_wait, _LONGEST_WAIT) if self._expected else self._max_wait
            left = self._queue[0].since + longest - time.monotonic()
            if left <= 0:
                return
            self._came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), left)

    async def _answer_all(self, batch: list[_Asked[T]]) -> None:
        begun = time.monotonic()
        items = [asked.item for asked in batch]
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, items)
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(batch))  # `close` tells them
            raise
        except Exception as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        each = (time.monotonic() - begun) / len(batch)
        self._seconds = each if not self.num_batches else _MEMORY * self._seconds + (1 - _MEMORY) * each
        self.num_batches += 1
        for asked, row in zip(batch, rows, strict=True):
            if not asked.answer.done():
                asked.answer.set_result(row)
