"""Runs `python -m netwright` as a person does, in a process of its own and a folder of its own.

A fresh interpreter spends four to six seconds on importing PyTorch, scikit-learn and matplotlib for a fit that
takes a tenth of a second, so most tests use a process forked from one that has imported them and nothing else
(0.3 s). The contract's main paths use fresh interpreters; NETWRIGHT_TEST_FRESH=1 makes every test do so.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOADED = (
    *(
        "torch",
        "torch._dynamo",
        "sklearn.datasets",
        "sklearn.metrics",
        "sklearn.model_selection",
        "scipy.stats",
    ),
    *("matplotlib.figure", "matplotlib.pyplot", "PIL.Image", "pydantic", "rich.console", "rich.progress"),
    *("yaml", "safetensors.torch", "typer", "jinja2", "pooch"),
)


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What `--json` printed: one value on standard output and nothing else there."""
        assert self.stdout.endswith("\n") and self.stdout.count("\n") == 1, self.stdout
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Started:
    """A process that runs; `end` waits for it."""

    pid: int
    streams: Path
    poll: Callable[[], int | None]

    def end(self, seconds: float = 300) -> Ended:
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                raise AssertionError(f"still running after {seconds} s:\n{self.printed('stderr')[-2000:]}")
            time.sleep(0.005)
        return Ended(code, self.printed("stdout"), self.printed("stderr"))

    def printed(self, stream: str) -> str:
        return (self.streams / stream).read_text(encoding="utf-8")

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def until(self, happened: Callable[[], Any], seconds: float = 240) -> None:
        """Waits until `happened()` or the end; looks often, because a checkpoint takes a millisecond to write."""
        deadline = time.monotonic() + seconds
        while not happened() and self.poll() is None:
            assert time.monotonic() < deadline, (
                f"nothing after {seconds} s:\n{self.printed('stderr')[-2000:]}"
            )
            time.sleep(0.0005)


class Fresh:
    """Starts interpreters."""

    def __init__(self, *, blocked: str = "") -> None:
        self.blocked = blocked

    def start(
        self, arguments: list[str], *, cwd: Path, env: dict[str, str], streams: Path, limit: int
    ) -> Started:
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(open(streams / n, "rb" if n == "stdin" else "wb")) for n in STREAMS]
            command = [sys.executable, "-m", "netwright", *arguments]
            if self.blocked:
                command = [
                    sys.executable,
                    "-c",
                    f"{BLOCK}block({self.blocked!r}); run(sys.argv[1])",
                    *arguments,
                ]
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                if limit
                else None,
            )
        return Started(process.pid, streams, process.poll)

    def close(self) -> None:
        pass


class Forked:
    """Starts forks of one process that has imported PyTorch."""

    def __init__(self, *, threads: int = 1, blocked: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, blocked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )

    def start(
        self, arguments: list[str], *, cwd: Path, env: dict[str, str], streams: Path, limit: int
    ) -> Started:
        request = {
            "arguments": arguments,
            "cwd": str(cwd),
            "env": env,
            "streams": str(streams),
            "limit": limit,
        }
        pid = self.ask(request)
        return Started(pid, streams, lambda: self.ask({"poll": pid}))

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


STREAMS = ("stdin", "stdout", "stderr")
BLOCK = """
import runpy, sys
class Absent:
    def __init__(self, name):
        self.name = name
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
def block(name):
    sys.meta_path.insert(0, Absent(name))
def run(path):
    sys.argv = sys.argv[1:]
    runpy.run_path(path, run_name="__main__")
"""


def weights_sha256(tensors: Mapping[str, Any]) -> str:
    """The contract's words: sorted keys, each in UTF-8 and then its tensor's contiguous little-endian bytes."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Person:
    """Types commands in one folder."""

    def __init__(self, folder: Path, starter: Any, *, threads: int = 1) -> None:
        self.folder = folder
        self.starter = starter
        self.threads = threads

    def start(
        self,
        *arguments: Any,
        cwd: Path | None = None,
        stdin: str | bytes = "",
        env: dict[str, str] | None = None,
        limit: int = 0,
    ) -> Started:
        """Starts `netwright ARGUMENTS`; `limit` is the most bytes that one file may have."""
        streams = Path(tempfile.mkdtemp(prefix="streams-", dir=self.folder.parent))
        (streams / "stdin").write_bytes(stdin.encode() if isinstance(stdin, str) else stdin)
        for name in STREAMS[1:]:
            (streams / name).touch()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV", "COLUMNS"))}
        environment |= {
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": str(self.threads),
            "NETWRIGHT_HOME": str(streams / "home"),
        }
        environment |= env or {}
        return self.starter.start(
            [str(a) for a in arguments], cwd=cwd or self.folder, env=environment, streams=streams, limit=limit
        )

    def __call__(self, *arguments: Any, code: int | None = 0, **options: Any) -> Ended:
        """Runs it to its end, which must be exit code `code` (None: any)."""
        ended = self.start(*arguments, **options).end()
        said = f"netwright {' '.join(map(str, arguments))}\nexit {ended.code}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        assert code is None or ended.code == code, said
        return ended


def serve(blocked: str) -> None:
    """Reads requests, one a line: forks, and says how forks ended."""
    exec(BLOCK, globals())
    if blocked:
        globals()["block"](blocked)
    for name in PRELOADED:
        importlib.import_module(name)
    codes: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            answer: int | None = codes.get(request["poll"])
            if answer is None:
                pid, status = os.waitpid(request["poll"], os.WNOHANG)
                answer = codes[pid] = os.waitstatus_to_exitcode(status) if pid else None  # type: ignore[assignment]
                codes.pop(0, None)
        else:
            answer = os.fork()
            if not answer:
                become(blocked=bool(blocked), **request)
        print(json.dumps(answer), flush=True)


def become(
    *, blocked: bool, arguments: list[str], cwd: str, env: dict[str, str], streams: str, limit: int
) -> None:
    """Turns this fork into the process that was asked for; never returns."""
    code = 1
    try:
        for number, name in enumerate(STREAMS):
            opened = os.open(
                Path(streams, name), os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_APPEND
            )
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(n, "rb" if n == 0 else "wb"), write_through=n == 2, encoding="utf-8")
            for n in range(3)
        )
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if blocked:
            sys.argv = arguments
            sys.path[0] = str(Path(arguments[0]).parent)
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            sys.argv = ["netwright", *arguments]
            sys.path[0] = cwd
            runpy.run_module("netwright", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
