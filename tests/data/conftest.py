import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test has a cache of its own, and no test reaches further than 127.0.0.1."""
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path / "netwright-home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    from netwright.data import mirrors

    monkeypatch.setattr(mirrors, "MIRRORS", dict.fromkeys(mirrors.MIRRORS, ()))


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Path:
    """The folder of real data sets."""
    given = os.environ.get("NETWRIGHT_DATA")
    if not given:
        pytest.skip("NETWRIGHT_DATA is not set")
    return Path(given)


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a picture of random pixels and returns its path."""

    def write(
        path: Path, *, mode: str = "L", size: tuple[int, int] = (16, 16), seed: int = 0, **options: object
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
        pixels = rng.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def photos(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """A folder of two classes, ten grey 16 x 16 pictures each, all different."""
    for label, name in enumerate(("cat", "dog")):
        for index in range(10):
            picture(tmp_path / "photos" / name / f"{index}.png", seed=100 * label + index)
    return tmp_path / "photos"


class Mirror:
    """A web server on loopback that misbehaves as told: `plan` has one word for each request, then "good"."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.plan: list[str] = []
        self.ranges: list[str | None] = []
        self.stop = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        word = self.plan.pop(0) if self.plan else "good"
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if word.isdigit():
            request.send_error(int(word))
            return
        body = {"wrong": bytes(len(self.content)), "long": self.content + b"more"}.get(word, self.content)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and word != "no-range" else 0
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - begin))
        request.end_headers()
        rest = body[begin:]
        if word == "cut":
            rest = rest[: len(rest) // 2]
        request.wfile.write(rest[: len(rest) // 2])
        request.wfile.flush()
        if word == "stall":
            self.stop.wait(5)
            return
        request.wfile.write(rest[len(rest) // 2 :])


@pytest.fixture
def mirror() -> Iterator[Callable[[bytes], Mirror]]:
    """Starts mirrors on loopback and stops them after the test."""
    running: list[Mirror] = []

    def start(content: bytes) -> Mirror:
        running.append(Mirror(content))
        return running[-1]

    yield start
    for server in running:
        server.close()
