"""Pictures of many callers are answered together, in a bounded queue; stopping loses nobody without a word."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from budwood.serve.batching import Batcher, Busy


class Network:
    """Answers a number with itself; notes the batches; waits for ``go``."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, items: Sequence[int]) -> np.ndarray:
        self.go.wait(20)
        self.batches.append(len(items))
        if -1 in items:
            raise ValueError("a broken item")
        return np.array([[item] for item in items], np.float32)


def test_what_comes_together_is_answered_together_and_goes_to_whoever_asked() -> None:
    network = Network()

    async def use() -> list[float]:
        batcher = Batcher(network, max_waiting=100, max_wait=0.05)
        batcher.start()
        rows = await asyncio.gather(*(batcher.ask(i) for i in range(70)))
        await batcher.close()
        return [float(row[0]) for row in rows]

    assert asyncio.run(use()) == list(range(70))
    assert network.batches == [32, 32, 6]


def test_lanes_answer_at_the_same_time_and_nothing_twice() -> None:
    together = threading.Barrier(3, timeout=20)  # breaks unless three batches are under way at once

    def answer(items: Sequence[int]) -> np.ndarray:
        together.wait()
        return np.array([[item] for item in items], np.float32)

    async def use() -> list[float]:
        batcher = Batcher(answer, max_waiting=100, max_batch=4, max_wait=0.0, lanes=3)
        batcher.start()
        rows = await asyncio.gather(*(batcher.ask(i) for i in range(24)))
        assert batcher.num_batches == 6
        await batcher.close()
        return [float(row[0]) for row in rows]

    assert asyncio.run(use()) == list(range(24))


def test_a_batch_waits_for_what_is_just_being_made() -> None:
    network = Network()

    async def late(batcher: Batcher[int], item: int) -> None:
        with batcher.expected():
            await asyncio.sleep(0.02 * item)
        await batcher.ask(item)

    async def use() -> None:
        batcher = Batcher(network, max_waiting=10, max_wait=0.0)
        batcher.start()
        await asyncio.gather(late(batcher, 0), late(batcher, 1), late(batcher, 2))
        await batcher.close()

    asyncio.run(use())
    assert network.batches == [3]


def test_the_queue_is_bounded_and_places_come_back() -> None:
    async def use() -> None:
        batcher = Batcher(Network(), max_waiting=3)
        with batcher.places(2):
            with pytest.raises(Busy) as caught, batcher.places(2):
                pass
            assert caught.value.retry_after >= 1
            with batcher.places(1):
                assert batcher.waiting == 3
        assert batcher.waiting == 0

    asyncio.run(use())


def test_a_failing_batch_fails_its_own_callers_only() -> None:
    async def use() -> None:
        batcher = Batcher(Network(), max_waiting=10, max_wait=0.0)
        batcher.start()
        with pytest.raises(ValueError, match="broken"):
            await batcher.ask(-1)
        assert (await batcher.ask(5))[0] == 5
        await batcher.close()

    asyncio.run(use())


def test_closing_tells_whoever_waits_and_refuses_new_ones() -> None:
    network = Network()
    network.go.clear()

    async def use() -> None:
        batcher = Batcher(network, max_waiting=10, max_batch=1, max_wait=0.0)
        batcher.start()
        asked = [asyncio.ensure_future(batcher.ask(i)) for i in range(3)]
        await asyncio.sleep(0.05)
        batcher.refuse_new()
        with pytest.raises(Busy), batcher.places(1):
            pass
        await batcher.close()
        network.go.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in found] == [Busy, Busy, Busy]

    asyncio.run(use())
