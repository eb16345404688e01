"""From the bytes of picture files to answers: decoded in worker threads, answered in batches, decided upon.

It knows nothing of HTTP. Every file gets an answer of its own, or the reason why it has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import decode
from budwood.errors import UnreadableImage, UsageError
from budwood.evaluation.deciding import Decision, decide, threshold_for
from budwood.serve.batching import Batcher, Busy
from budwood.serve.engines import Engine
from budwood.serve.limits import Limits

_DECODERS = 2  # pictures decoded at once: one of 50 megapixels takes 300 MB
_MOST_MAPS = 4  # that wait to be drawn: each is a pass of its own, forward and back
_DRAIN_SECONDS = 4.0
DEFAULT_RISK = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One file's answer: probabilities ``[K]``, and what is decided upon them (None: no calibration), or the reason."""

    probs: NDArray[np.float32] | None = None
    decision: Decision | None = None
    reason: str = ""


class Answerer:
    """An engine with its queue; `start` and `stop` belong to the event loop that asks."""

    def __init__(self, engine: Engine, *, limits: Limits, risk: float | None = None) -> None:
        """See `decided_risk` for ``risk``.

        Raises:
            UsageError: the bundle cannot keep to this risk.
        """
        self.engine = engine
        self.limits = limits
        self.risk = decided_risk(engine, risk)
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._batcher: Batcher[Any] | None = None
        self._maps = 0

    def start(self) -> None:
        """Begin to answer."""
        engine = self.engine
        self._batcher = Batcher(
            engine.answer, max_waiting=self.limits.max_waiting, max_batch=engine.batch, lanes=engine.lanes
        )
        self._batcher.start()

    def refuse_new(self) -> None:
        """Answer what is queued, refuse what comes; from any thread that runs the loop."""
        if self._batcher:
            self._batcher.refuse_new()
            asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._give_up)

    async def stop(self) -> None:
        """Stop; whoever still waits is told to come back."""
        if self._batcher:
            await self._batcher.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def waiting(self) -> int:
        """Pictures under way."""
        return self._batcher.waiting if self._batcher else 0

    async def answer(self, files: Sequence[bytes]) -> list[Answer]:
        """One answer for each file.

        Raises:
            Busy: too much waits, or it took too long.
        """
        batcher = self._running()
        try:
            with batcher.places(len(files)):
                async with asyncio.timeout(self.limits.answer_seconds):
                    return list(await asyncio.gather(*(self._one(batcher, data) for data in files)))
        except TimeoutError as error:
            raise Busy(batcher.retry_after()) from error

    async def explain(self, data: bytes, label: str) -> bytes:
        """A JPEG that shows where the evidence for a class lies.

        Raises:
            UnreadableImage: the file is no picture. UsageError: there is no map of this. Busy: too many are asked for.
        """
        if self.engine.no_maps:
            raise UsageError(self.engine.no_maps)
        if label not in self.engine.classes:
            raise UsageError("the model does not know this class")
        batcher = self._running()
        if self._maps >= _MOST_MAPS:
            raise Busy(batcher.retry_after())
        self._maps += 1
        try:
            with batcher.places(1):
                image = await self._in_decoder(lambda: decode(data, max_pixels=self.limits.max_pixels).image)
                drawn: bytes = await batcher.run_alone(lambda: self.engine.explain(image, label))
                return drawn
        finally:
            self._maps -= 1

    async def _one(self, batcher: Batcher[Any], data: bytes) -> Answer:
        try:
            with batcher.expected():
                prepared = await self._in_decoder(lambda: self._prepared(data))
        except UnreadableImage as error:
            return Answer(reason=str(error))
        probs = await batcher.ask(prepared)
        return Answer(probs=probs, decision=self._decision(probs))

    def _prepared(self, data: bytes) -> Any:
        return self.engine.prepare(decode(data, max_pixels=self.limits.max_pixels).image)

    async def _in_decoder(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)

    def _decision(self, probs: NDArray[np.float32]) -> Decision | None:
        known = self.engine.calibration
        if self.risk is None or known is None:
            return None
        return decide(probs[None], classes=self.engine.classes, calibration=known, risk=self.risk)[0]

    def _running(self) -> Batcher[Any]:
        if self._batcher is None:
            raise RuntimeError("the answerer was not started")
        return self._batcher

    def _give_up(self) -> None:
        if self._batcher:
            self._closing = asyncio.get_running_loop().create_task(self._batcher.close())


def decided_risk(engine: Engine, risk: float | None) -> float | None:
    """The risk at which the engine says "I do not know"; None where it cannot tell, having no calibration.

    Args:
        risk: the share of answers that may be wrong; None takes 5 %, or nothing where the bundle cannot keep to it.

    Raises:
        UsageError: ``risk`` was asked for and there is no threshold for it, or no calibration.
    """
    known = engine.calibration
    if known is None or known.conformal is None:
        if risk is None:
            return None
        raise UsageError("this bundle carries no calibration, so it cannot tell when to abstain: leave --risk out")
    try:
        return threshold_for(known, DEFAULT_RISK if risk is None else risk).risk
    except UsageError:
        if risk is None:
            return None
        raise
