"""How many inputs a second a served network answers, and how long each waits: one by one, in dynamic batches, and in a plain loop.

    python benchmarks/serving/load.py RUN [RUN ...] --seconds 5 --clients 1 50

Each server is a process of its own, the clients are threads of another one; what they send is one example of the run's own kind.
Beside what was seen there is what
the server's process took of the processors for an input: that changes little with what else the machine does. The plain loop calls the network with one example after the other in a process that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def main() -> None:
    asked = _arguments()
    if asked.part == "loop":
        print(json.dumps(plain_loop(asked.runs[0], asked.seconds)))
        return
    if asked.part == "clients":
        print(
            json.dumps(clients(asked.address, asked.clients[0], asked.seconds, Path(asked.body).read_bytes()))
        )
        return
    print(
        "| run | how | clients | inputs a second | p50 ms | p99 ms | ms of processor an input |\n|---|---|---|---|---|---|---|"
    )
    for run in asked.runs:
        compare(run, asked)


def compare(run: str, asked: argparse.Namespace) -> None:
    """Prints the rows of one run."""
    name = Path(run).name
    found = _part("loop", run, "--seconds", str(asked.seconds))
    _print(name, "plain loop", "-", found)
    rates: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(asked.rounds):
        for how, options in (
            ("one by one", ["--batch", "1"]),
            ("dynamic batching", ["--batch", str(asked.batch)]),
        ):
            with Served(run, options) as server:
                body = server.body(asked.input)
                for count in asked.clients:
                    before = server.processor_seconds()
                    found = _part("clients", run, "--address", server.address, "--clients", str(count),
                                  "--seconds", str(asked.seconds), "--body", str(body))  # fmt: skip
                    found["cost"] = 1000 * (server.processor_seconds() - before) / found["answered"]
                    rates.setdefault((how, count), []).append((found["rate"], found["cost"]))
                    _print(name, how, count, found)
    for count in asked.clients:
        pairs = list(zip(rates["dynamic batching", count], rates["one by one", count]))
        speed = [batched[0] / single[0] for batched, single in pairs]
        cost = [single[1] / batched[1] for batched, single in pairs]
        print(
            f"| {name} | dynamic over one by one | {count} | {statistics.median(speed):.2f} times ({min(speed):.2f} to {max(speed):.2f})"
            f" | | | {statistics.median(cost):.2f} times less ({min(cost):.2f} to {max(cost):.2f}) |",
            flush=True,
        )


def _print(name: str, how: str, clients: int | str, found: dict[str, float]) -> None:
    numbers = f"{found['rate']:,.0f} | {found['p50']:.2f} | {found['p99']:.2f} | {found['cost']:.2f}"
    print(f"| {name} | {how} | {clients} | {numbers} |", flush=True)


class Served:
    """`netwright serve` in a process of its own."""

    def __init__(self, run: str, options: list[str]) -> None:
        self.run, self.options = run, options

    def __enter__(self) -> Served:
        command = [sys.executable, "-m", "netwright", "serve", self.run, "--port", "0", *self.options]
        self.folder = TemporaryDirectory(prefix="netwright-load-")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def processor_seconds(self) -> float:
        """Returns what the server has taken of the processors up to now: what other programs take does not change that much."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def body(self, given: Path | None = None) -> Path:
        """Writes a request's body of one input, that of a JSON file or the example of the server's own OpenAPI; returns the file, which goes with the server."""
        import urllib.request

        with urllib.request.urlopen(f"{self.address}/openapi.json") as answer:
            operation = json.load(answer)["paths"]["/predict"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        if given is not None:
            example = {"inputs": [json.loads(given.read_text(encoding="utf-8"))]}
        file = Path(self.folder.name, "body.json")
        file.write_text(json.dumps(example))
        return file


def plain_loop(run: str, seconds: float) -> dict[str, float]:
    """Returns inputs a second of calling the network with one raw example after the other."""
    import torch

    from netwright.run import Run
    from netwright.shipping.server.intake import intake_of
    from netwright.shipping.server.limits import Limits

    answering = Run(run).answering
    raw = answering.preparation.together([intake_of(answering.preparation, Limits()).specimen()])
    times = []
    with torch.inference_mode():
        for _ in range(20):
            answering.forward(raw)
        start = time.process_time()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begun = time.perf_counter()
            answering.forward(raw)
            times.append(time.perf_counter() - begun)
    return {**_summary(times, sum(times)), "cost": 1000 * (time.process_time() - start) / len(times)}


def clients(address: str, count: int, seconds: float, body: bytes) -> dict[str, float]:
    """Returns inputs a second of so many clients, each of which asks again as soon as it is answered.

    One thread over plain sockets: a client library would take more of the two cores than the server.
    """
    import selectors

    host, port = address.removeprefix("http://").split(":")
    request = (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    chosen = selectors.DefaultSelector()
    begun: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytes] = {}
    for _ in range(count):
        opened = socket.create_connection((host, int(port)))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chosen.register(opened, selectors.EVENT_READ)
        _send(opened, request, begun, received)
    times: list[float] = []
    answered = 0
    start = time.perf_counter()
    warm, end = start + min(1.0, seconds / 4), start + seconds + min(1.0, seconds / 4)
    while (now := time.perf_counter()) < end:
        for key, _ in chosen.select(1.0):
            opened = key.fileobj  # type: ignore[assignment]
            received[opened] += opened.recv(1 << 20)
            if _whole(received[opened]):
                answered += 1
                if now > warm:
                    times.append(time.perf_counter() - begun[opened])
                _send(opened, request, begun, received)
    return {**_summary(times, seconds), "answered": answered}


def _send(opened: Any, request: bytes, begun: dict[Any, float], received: dict[Any, bytes]) -> None:
    received[opened] = b""
    begun[opened] = time.perf_counter()
    opened.sendall(request)


def _whole(answer: bytes) -> bool:
    head, found, content = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    assert head.startswith(b"HTTP/1.1 200"), answer[:300]
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(content) >= int(length.split(b":")[1])


def _summary(times: list[float], seconds: float) -> dict[str, float]:
    ordered = sorted(times)
    at = lambda share: 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return {"rate": len(times) / seconds, "p50": at(0.5), "p99": at(0.99)}


def _part(part: str, run: str, *options: str) -> Any:
    command = [sys.executable, __file__, run, "--part", part, *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--input", type=Path, help="a JSON file with the input to send")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--part", choices=["loop", "clients"])
    parser.add_argument("--address")
    parser.add_argument("--body")
    return parser.parse_args()


if __name__ == "__main__":
    main()
