"""Thousands of requests that no client should send, to a served network: none may be answered by a 5xx, none may end the server.

    python benchmarks/serving/malformed.py RUN --count 10000 --seed 0

Each request is bytes on a socket of its own: broken JSON, broken HTTP, broken pictures, recordings and forms, numbers that no
float holds, texts that name files of this machine, and what is nearly right with one thing changed.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import socket
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**64, -(2**70), 10**300, 1e308, -1e-308, "", " ", "0", "\x00", "\ud800", "é", "\u202e",
    "/etc/passwd", "file:///etc/passwd", "../../etc/passwd", "C:\\", "~", "http://127.0.0.1/", "{{7*7}}", "${jndi:ldap://x}",
    "'; DROP TABLE x; --", "<script>", "A" * 10_000, [], {}, [[]], [{}], {"": None}, [None], ["1"], {"inputs": []},
    {"__class__": "x"}, {"py/object": "os.system"}, {"py/reduce": ["os.system", "id"]},
]  # fmt: skip
RAW = [
    b"", b"\x00", b"null", b"NaN", b"Infinity", b"[", b"]", b"{", b"{}", b"[]", b'"', b"1e400", b"-", b"01", b"[1,]", b'{"inputs"}',
    b'{"inputs":[1e400]}', b'{"inputs":[NaN]}', b'{"inputs":[-Infinity]}', b'{"inputs":["\\ud800"]}', b'{"inputs":"\xff"}',
    b'{"inputs":[' + b"9" * 5000 + b"]}", b'{"inputs":' + b"[" * 100_000, b'{"inputs":' + b"[" * 50 + b"]" * 50 + b"}",
    b'{"inputs":' + b'{"a":' * 20_000, b'{"inputs":[[1]],"inputs":[[2]]}', b'{"inputs":[[1]],"more":1}', b"\xef\xbb\xbf{}",
    b"\xff\xfe[\x00]\x00", b'{"inputs":[' + b"[]," * 200_000 + b"[]]}", b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR.", b"PK\x03\x04",
    b"\x1f\x8b\x08\x00", b"a,b\n1,2\n", b"a;b\n", b",,,,\n,,,,\n", b"," * 20_000 + b"\n1", b'"unclosed\n', b"\x93NUMPY\x01\x00",
]  # fmt: skip
MEDIA = [
    "application/json", "application/json; charset=utf-16", "image/png", "image/jpeg", "image/svg+xml", "audio/wav", "audio/flac",
    "text/plain", "text/csv", "text/tab-separated-values", "application/octet-stream", "application/x-www-form-urlencoded",
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=B", "application/pickle", "", "/", "\xff",
]  # fmt: skip


def requests(example: Any, *, seed: int, count: int) -> Iterator[tuple[bytes, float]]:
    """Yields requests as bytes, and for how many seconds an answer is waited for; `example` is one input that is right.

    What is no HTTP may promise more than comes; a server waits for that, and a client soon hangs up.
    """
    draw = random.Random(seed)
    makers = [_nearly, _nearly, _nearly, _odd_body, _odd_body, _picture, _recording, _form, _broken_http]
    for _ in range(count):
        maker = draw.choice(makers)
        yield maker(draw, example), 0.25 if maker is _broken_http else 30.0


def _request(
    body: bytes, media: str, *, method: str = "POST", path: str = "/predict", more: str = ""
) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    return head.encode("latin-1") + body


def _nearly(draw: random.Random, example: Any) -> bytes:
    """A right request with one value in it changed."""
    changed = _changed(draw, example)
    whole: Any = {"inputs": draw.choice([[changed], [example, changed], changed])}
    return _request(json.dumps(whole).encode("utf-8", "surrogatepass"), "application/json")


def _changed(draw: random.Random, value: Any) -> Any:
    if draw.random() < 0.3 or not isinstance(value, list | dict) or not value:
        return draw.choice(ODD)
    if isinstance(value, dict):
        name = draw.choice(list(value))
        if draw.random() < 0.2:
            return {key: one for key, one in value.items() if key != name}
        return {**value, name: _changed(draw, value[name])}
    at = draw.randrange(len(value))
    if draw.random() < 0.2:
        return value[:at] if draw.random() < 0.5 else value + value[at:]
    return [*value[:at], _changed(draw, value[at]), *value[at + 1 :]]


def _odd_body(draw: random.Random, example: Any) -> bytes:
    body = draw.choice(RAW) if draw.random() < 0.6 else draw.randbytes(draw.choice([1, 10, 100, 5000]))
    return _request(body, draw.choice(MEDIA))


def _picture(draw: random.Random, example: Any) -> bytes:
    from PIL import Image

    kind = draw.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "bomb", "strip"])
    if kind in ("bomb", "strip"):
        body = png_header(*((50_000, 50_000) if kind == "bomb" else (1, 60_000)))
    else:
        made = io.BytesIO()
        Image.frombytes("L", (16, 16), draw.randbytes(256)).convert("RGB").save(made, kind)
        body = _damaged(draw, made.getvalue())
    return _request(body, draw.choice(["image/png", "image/*", "application/octet-stream", "text/plain"]))


def png_header(width: int, height: int) -> bytes:
    """Returns a PNG of 200 bytes that says it has so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def _damaged(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([0, 1, 5, 50])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed[: draw.randrange(len(changed))] if draw.random() < 0.4 else changed)


def _recording(draw: random.Random, example: Any) -> bytes:
    rate = draw.choice([0, 1, 8000, 44_100, 2**31 - 1, 2**32 - 1])
    size = draw.choice([0, 1, 2000, 2**31, 2**32 - 1])
    channels, bits = draw.choice([0, 1, 2, 65_535]), draw.choice([0, 8, 16, 24, 64])
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, draw.choice([1, 3, 85]), channels, rate,
                       (rate * 2) % 2**32, 2, bits, b"data", size)  # fmt: skip
    return _request(
        head + draw.randbytes(draw.choice([0, 1, 2000])),
        draw.choice(["audio/wav", "audio/mpeg", "application/octet-stream"]),
    )


def _form(draw: random.Random, example: Any) -> bytes:
    names = ["x.png", "../../etc/passwd", "\x00", 'a"b', "", "é" * 300, "con"]
    parts = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\nContent-Type: %s\r\n\r\n%s\r\n'
        % (draw.choice(names).encode(), draw.choice(MEDIA).encode("latin-1"), draw.choice(RAW[:30]))
        for _ in range(draw.choice([0, 1, 3, 1500]))
    )
    ending = draw.choice([b"--B--\r\n", b"", b"--B", b"--C--\r\n"])
    return _request(
        parts + ending, "multipart/form-data; boundary=" + draw.choice(["B", "B", "B", "C", "B" * 500])
    )


def _broken_http(draw: random.Random, example: Any) -> bytes:
    whole = _request(json.dumps({"inputs": [example]}).encode(), "application/json")
    kind = draw.randrange(10)
    if kind == 0:
        return draw.randbytes(200)
    if kind == 1:  # what is promised does not come
        return whole[: draw.randrange(len(whole))]
    if kind == 2:
        return whole.replace(
            b"Content-Length: ",
            draw.choice([b"Content-Length: -", b"Content-Length: 9", b"Content-Length: x"]),
        )
    if kind == 3:
        return whole.replace(b"HTTP/1.1", draw.choice([b"HTTP/9.9", b"HTTP/0.9", b"FTP/1.1", b""]))
    if kind == 4:
        sizes = [b"5\r\nabc", b"FFFFFFFFFFFFFFFF\r\n", b"-1\r\n\r\n", b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"]
        return (
            b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            + draw.choice(sizes)
        )
    if kind == 5:
        return whole.replace(
            b"Host: 127.0.0.1", b"Host: 127.0.0.1\r\nX-A: " + b"a" * draw.choice([1000, 100_000])
        )
    if kind == 6:
        return _request(b"", "application/json", more="Expect: 100-continue\r\n")
    if kind == 7:
        method = draw.choice(["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "BREW", "post"])
        return _request(
            b"", "application/json", method=method, path=draw.choice(["/predict", "/", "/metrics"])
        )
    if kind == 8:
        paths = [
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "//",
            "/predict/",
            "/predict?x=%00",
            "/%ff",
            "/docs/..",
            "*",
            "/" + "a" * 9000,
        ]
        return _request(
            b"{}", "application/json", method=draw.choice(["GET", "POST"]), path=draw.choice(paths)
        )
    return whole.replace(b"\r\n", b"\n")


def answered(host: str, port: int, request: bytes, *, seconds: float = 30) -> int | None:
    """Sends a request and returns the status of the answer; None where the server closes, or none comes in this time."""
    with socket.create_connection((host, port), timeout=seconds) as opened:
        try:
            opened.sendall(request)
            answer = b""
            while b"\r\n" not in answer[:64] and (more := opened.recv(65536)):
                answer += more
            # "100 Continue" comes before the answer.
            while answer.startswith(b"HTTP/1.1 100") and (more := opened.recv(65536)):
                answer = (answer + more).partition(b"\r\n\r\n")[2]
        except (ConnectionError, TimeoutError):
            return None
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from load import Served
    from memory import resident

    with Served(asked.run, []) as server:
        host, port = server.address.removeprefix("http://").split(":")
        example = json.loads(server.body().read_bytes())["inputs"][0]
        before = resident(server.process.pid)
        counted: Counter[int | None] = Counter()
        for number, (request, seconds) in enumerate(requests(example, seed=asked.seed, count=asked.count)):
            status = answered(host, int(port), request, seconds=seconds)
            counted[status] += 1
            if status is not None and status >= 500:
                print(f"request {number}: {status}: {request[:300]!r}")
        alive = answered(
            host, int(port), _request(json.dumps({"inputs": [example]}).encode(), "application/json")
        )
        said = ", ".join(
            f"{status or 'closed'}: {count:,}" for status, count in sorted(counted.items(), key=str)
        )
        print(f"{Path(asked.run).name}, {asked.count:,} requests: {said}; the right one after them: {alive}")
        print(f"resident: {before:.0f} MiB before, {resident(server.process.pid):.0f} MiB after")


if __name__ == "__main__":
    main()
