"""A headless Chromium spoken to over a pipe: no driver and no WebSocket library is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")


class Browser:
    """One page of a browser, as a context manager; Chrome DevTools Protocol, `--remote-debugging-pipe`."""

    def __enter__(self) -> Browser:
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_commands, self._write = os.pipe()
        self._read, write_answers = os.pipe()
        options = (
            "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage"
        )
        command = (
            f"exec {CHROMIUM} {options} --user-data-dir={shlex.quote(self._home.name)} "
            f"3<&{read_commands} 4>&{write_answers}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._home.name},
        )
        os.close(read_commands)
        os.close(write_answers)
        self._buffer, self._number, self._session = b"", 0, None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._home.cleanup()

    def open(self, page: Path, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Loads a file at a width, and waits until it is there."""
        self.requests.clear()
        self.complaints.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.send("Page.navigate", url=page.resolve().as_uri())
        self._message("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Returns what a JavaScript expression gives, as plain values."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, file: Path, *, top: int = 0, height: int | None = None) -> None:
        """Writes a PNG of the page, of all of it if no height is given."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"] - top, "scale": 1}
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(answer["data"]))

    def send(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        self._number += 1
        call: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._write, json.dumps(call).encode() + b"\0")
        answer = self._message(self._number)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _message(self, wanted: int | str, seconds: float = 30) -> dict[str, Any]:
        """Returns the answer with this number, or the next event of this name."""
        until = time.monotonic() + seconds
        while True:
            while b"\0" not in self._buffer:
                left = until - time.monotonic()
                ready = select.select([self._read], [], [], max(left, 0))[0]
                chunk = os.read(self._read, 1 << 20) if ready else b""
                if not chunk:
                    raise TimeoutError(f"chromium did not answer {wanted} within {seconds} s")
                self._buffer += chunk
            line, self._buffer = self._buffer.split(b"\0", 1)
            message = json.loads(line)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("method") == "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            if wanted in (message.get("id"), message.get("method")):
                return message
