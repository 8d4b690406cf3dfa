"""One request of POST /predict: its body read, its inputs decoded, its examples answered in batches with those of others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from netwright.shipping.answers import Answering
from netwright.shipping.server.batching import Batches, Examples, Records
from netwright.shipping.server.body import Bodies
from netwright.shipping.server.intake import intake_of, told
from netwright.shipping.server.json_body import read_json
from netwright.shipping.server.limits import Limits, Refusal, too_large, unreadable
from netwright.shipping.server.metrics import Metrics
from netwright.shipping.server.multipart import read_parts

# JSON of so many bytes is read in the event loop: giving it to a thread and back would take longer.
AT_ONCE_BYTES = 8 * 1024
# An answer of so many numbers is written there.
AT_ONCE_NUMBERS = 2000
Result = TypeVar("Result")


class Predicting:
    """Answers the requests of one server. `closing` is True from the signal to end on."""

    def __init__(self, answering: Answering, limits: Limits) -> None:
        self.answering, self.limits = answering, limits
        self.intake = intake_of(answering.preparation, limits)
        self.metrics = Metrics()
        self.bodies = Bodies(limits)
        self.batches = Batches(answering, limits, on_batch=self.metrics.observe_batch)
        self.ready = self.closing = False
        self._readers = ThreadPoolExecutor(limits.readers, thread_name_prefix="reader")
        self._being_read = 0
        self._add_gauges()

    def _add_gauges(self) -> None:
        add = self.metrics.gauge
        add("queue_inputs", "Inputs that wait for the network.", lambda: self.batches.waiting)
        add("being_read", "Bodies that wait to be decoded or are.", lambda: self._being_read)
        add("held_bytes", "Bytes of large bodies in memory.", lambda: self.bodies.held)
        add("ready", "1 while inputs are answered.", lambda: float(self.ready and not self.closing))

    def warm_up(self) -> None:
        """Sends an example that means nothing through the network, alone and with others; raises what is raised."""
        specimen = self.intake.specimen()
        for count in (1, 2):
            list(self.answering.together([("specimen", specimen)] * count))
        self.ready = True

    def close(self) -> None:
        """Ends the threads."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.batches.close()

    async def answer(self, request: Any) -> bytes:
        """Returns the JSON of the answer to a request; raises Refusal, or Gone where the client is."""
        packed = request.headers.get("content-encoding", "identity")
        if packed != "identity":
            raise Refusal(
                415, f"expected a body as it is, came one with Content-Encoding {packed[:40]}", close=True
            )
        body, taken = await self.bodies.receive(request)
        try:
            media = request.headers.get("content-type", "")
            examples = await self._read(body, media)
        finally:
            self.bodies.release(taken)
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                records = await self.batches.answer(examples)
        except TimeoutError:
            raise Refusal(
                503, f"no answer within {self.limits.answer_seconds:g} seconds: try again later"
            ) from None
        self.metrics.count_answers(records)
        if len(records) * self.answering.card.num_outputs <= AT_ONCE_NUMBERS:
            return _written(records)
        return await self._in_thread(_written, records)

    async def _read(self, body: bytes, content_type: str) -> Examples:
        media = content_type.partition(";")[0].strip().lower()
        if media in ("application/json", "") and len(body) <= AT_ONCE_BYTES:
            return self.examples_of(body, media, content_type)
        if self._being_read >= self.limits.waiting_to_be_read:
            raise Refusal(503, "too many inputs are waiting to be decoded: try again in a second")
        return await self._in_thread(self.examples_of, body, media, content_type)

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        self._being_read += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, function, *arguments)
        finally:
            self._being_read -= 1

    def examples_of(self, body: bytes, media: str, content_type: str) -> Examples:
        """Returns (name, raw example) of each input in a body of this media type; raises Refusal."""
        if media == "application/json":
            examples = self._of_json(body)
        elif media == "multipart/form-data":
            examples = self._of_form(body, content_type)
        elif self.intake.takes(media):
            with told("body"):
                examples = self.intake.from_file(body, "body", media)
        else:
            raise Refusal(415, f"expected {self.media_in_words()}, came {media[:80] or 'no Content-Type'}")
        if len(examples) > self.limits.inputs:
            raise too_large(f"{len(examples):,} inputs: expected at most {self.limits.inputs:,} in a request")
        return examples

    def media_in_words(self) -> str:
        """Returns which Content-Types are taken."""
        files = self.intake.media_in_words
        return f"application/json{f', multipart/form-data or {files}' if files else ''}"

    def _of_json(self, body: bytes) -> Examples:
        value = read_json(body, self.limits)
        inputs = value.get("inputs") if isinstance(value, dict) else None
        if not isinstance(inputs, list) or len(value) > 1:
            raise unreadable(
                'expected {"inputs": [...]}, a list with an entry for each input, and nothing else'
            )
        if not inputs:
            raise unreadable("inputs: expected at least one, came none")
        if len(inputs) > self.limits.inputs:
            raise too_large(f"{len(inputs):,} inputs: expected at most {self.limits.inputs:,} in a request")
        examples: Examples = []
        for index, one in enumerate(inputs):
            with told(f"input {index}"):
                found = self.intake.from_json(one, f"input {index}")
            several = len(found) > 1
            examples += [
                (f"{index}, series {number}" if several else str(index), example)
                for number, example in enumerate(found)
            ]
        return examples

    def _of_form(self, body: bytes, content_type: str) -> Examples:
        examples: Examples = []
        parts = read_parts(body, content_type, self.limits)
        if not parts:
            raise unreadable("the form has no files")
        for part in parts:
            media = part.media or self.intake.media[0] if self.intake.media else part.media
            if not self.intake.takes(media):
                expected = self.intake.media_in_words or "no files, but JSON"
                raise Refusal(415, f"{part.name}: expected {expected}, came {media[:80] or 'no type'}")
            with told(part.name):
                examples += self.intake.from_file(part.content, part.name, media)
        return examples


def _written(records: Records) -> bytes:
    # In ASCII: half of a surrogate pair, which a client may have sent as a name, has no UTF-8.
    return json.dumps({"predictions": records}, allow_nan=False).encode()
