"""Dynamic batching: what several clients ask at one time goes through the network together, in one thread."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from netwright.data.epochs import at_once
from netwright.shipping.answers import Answering
from netwright.shipping.server.limits import Limits, Refusal

Examples = list[tuple[str, Any]]
Records = list[dict[str, Any]]
logger = logging.getLogger("netwright.serve")


@dataclass(eq=False)
class _Asked:
    """Examples of one request, and the future that gets their records."""

    examples: Examples
    answer: asyncio.Future[Records]


class Batches:
    """Collects examples and answers them in batches of at most `limits.batch`.

    Who comes alone is answered at once. Where the last batch held several requests, the next one waits until as many have come
    again, or its first has waited for `limits.wait_seconds`. `on_batch(examples)` is called with the size of each batch.
    """

    def __init__(self, answering: Answering, limits: Limits, *, on_batch: Callable[[int], None]) -> None:
        self.answering, self.limits, self.on_batch = answering, limits, on_batch
        self.most = at_once(answering.preparation.prepared_shape, most=limits.batch)
        self.waiting = 0
        self._asked: deque[_Asked] = deque()
        self._expected, self._running = 1, False
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")

    async def answer(self, examples: Examples) -> Records:
        """Returns the records of examples; many of them in several batches, between which others have their turn.

        Raises Refusal: the queue is full (503), or the network's answer is no number (422).
        """
        records: Records = []
        for start in range(0, len(examples), self.most):
            records += await self._ask(examples[start : start + self.most])
        return records

    def close(self) -> None:
        """Ends the thread once it has done what it is at."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _ask(self, examples: Examples) -> asyncio.Future[Records]:
        if self.waiting + len(examples) > self.limits.queue:
            raise Refusal(503, "too many inputs are waiting for the network: try again in a second")
        asked = _Asked(examples, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self.waiting += len(examples)
        self._consider()
        return asked.answer

    def _consider(self) -> None:
        """Sends a batch if it is time for one, or sees to it that it is later."""
        if self._running or not self._asked:
            return
        if len(self._asked) >= self._expected or self.waiting >= self.most:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.limits.wait_seconds, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        taken = self._take()
        if not taken:
            return
        self._running, self._expected = True, len(taken)
        loop = asyncio.get_running_loop()
        done = self._thread.submit(self._compute, taken)
        done.add_done_callback(lambda future: loop.call_soon_threadsafe(self._deliver, taken, future))

    def _take(self) -> list[_Asked]:
        taken: list[_Asked] = []
        count = 0
        while self._asked and count + len(self._asked[0].examples) <= self.most:
            asked = self._asked.popleft()
            self.waiting -= len(asked.examples)
            if not asked.answer.done():  # who asked has not given up
                taken.append(asked)
                count += len(asked.examples)
        return taken

    def _deliver(self, taken: list[_Asked], future: Any) -> None:
        self._running = False
        for asked, result in zip(taken, future.result(), strict=True):
            if asked.answer.done():
                continue
            if isinstance(result, Exception):
                asked.answer.set_exception(result)
            else:
                asked.answer.set_result(result)
        self._consider()

    # In the network's thread

    def _compute(self, taken: list[_Asked]) -> list[Records | Exception]:
        """Returns the records of each request, or why it has none."""
        together = [example for asked in taken for example in asked.examples]
        self.on_batch(len(together))
        try:
            records = list(self.answering.together(together))
        except Exception as error:
            if len(taken) > 1:  # one of them cannot be answered, which is no fault of the others
                return [result for asked in taken for result in self._compute([asked])]
            logger.exception("the network failed at an input that could be read")
            return [_unanswered(error)]
        found: list[Records | Exception] = []
        start = 0
        for asked in taken:
            own = records[start : start + len(asked.examples)]
            start += len(own)
            found.append(_checked(own))
        return found


def _checked(records: Records) -> Records | Exception:
    for record in records:
        if not _is_finite(record):
            return Refusal(
                422,
                f"{_named(record)}: the network's answer is no finite number: its values are far from all in training",
            )
    return records


def _named(record: dict[str, Any]) -> str:
    name = str(record["input"])
    return f"input {name}" if name.isdecimal() else name


def _is_finite(record: dict[str, Any]) -> bool:
    shares = record.get("probabilities")
    if shares is not None:
        return math.isfinite(sum(shares.values()))
    return _all_finite(record["value"])


def _all_finite(value: Any) -> bool:
    return all(map(_all_finite, value)) if isinstance(value, list) else math.isfinite(value)


def _unanswered(error: Exception) -> Refusal:
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return Refusal(503, "there is not enough memory for this at the moment: try again in a second")
    return Refusal(422, f"the network cannot answer this input ({type(error).__name__})")
