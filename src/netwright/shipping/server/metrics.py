"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters, gauges and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "netwright_requests",
            "Requests by path, method and status.",
            ["path", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "netwright_predict_seconds",
            "From the head of a POST /predict to its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "netwright_batch_inputs",
            "Inputs that went through the network together.",
            buckets=SIZES,
            registry=self.registry,
        )
        self._answered = Counter("netwright_inputs", "Inputs that were answered.", registry=self.registry)
        self._flagged = Counter(
            "netwright_inputs_unlike_training",
            "Answered inputs that are unlike all in training.",
            registry=self.registry,
        )

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Adds a value that is asked for whenever the metrics are read."""
        Gauge(f"netwright_{name}", about, registry=self.registry).set_function(value)

    def count_request(self, path: str, method: str, status: int) -> None:
        self._requests.labels(path, method, str(status)).inc()

    def observe_predict(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def observe_batch(self, size: int) -> None:
        self._batches.observe(size)

    def count_answers(self, records: Iterable[dict[str, Any]]) -> None:
        flags = [bool(record["unlike_training"]) for record in records]
        self._answered.inc(len(flags))
        self._flagged.inc(sum(flags))

    def text(self) -> bytes:
        """Returns everything in Prometheus' text format, `MEDIA_TYPE`."""
        return generate_latest(self.registry)
