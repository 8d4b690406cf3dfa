"""Whether a served network's memory grows over many good requests.

    python benchmarks/serving/memory.py RUN --count 100000

Prints the resident memory of the server's process after each tenth of them.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import threading
from pathlib import Path


def resident(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def ask(address: str, body: bytes, count: int) -> None:
    """Sends so many requests, one after the other, over one connection."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    for _ in range(count):
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from load import Served

    with Served(asked.run, []) as server:
        body = server.body().read_bytes()
        print(f"{Path(asked.run).name}: {resident(server.process.pid):.1f} MiB at the start", flush=True)
        for tenth in range(1, 11):
            each = asked.count // (10 * asked.clients)
            threads = [
                threading.Thread(target=ask, args=(server.address, body, each)) for _ in range(asked.clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            done = tenth * each * asked.clients
            print(f"{done:,} requests: {resident(server.process.pid):.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
