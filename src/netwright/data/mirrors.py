"""Files of the named sets: from the cache, or fetched from their public mirrors, checksummed and resumable."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netwright.errors import DataError

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",),
}

# (bytes, md5): the md5 sums that torchvision checks, torchvision/datasets/mnist.py; for CIFAR-10 the one on its
# authors' page, https://www.cs.toronto.edu/~kriz/cifar.html.
CHECKSUMS: dict[str, dict[str, tuple[int, str]]] = {
    "mnist": {
        "train-images-idx3-ubyte.gz": (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train-labels-idx1-ubyte.gz": (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        "t10k-images-idx3-ubyte.gz": (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        "t10k-labels-idx1-ubyte.gz": (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte.gz": (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte.gz": (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte.gz": (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    },
    "cifar10": {"cifar-10-binary.tar.gz": (170_052_171, "c32a1d4ab5d03f1284b67883e8d87530")},
}

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
TRIES = 3  # without a byte of progress
PAUSE_SECONDS = 1.0


def cache_folder() -> Path:
    """Returns $NETWRIGHT_HOME, or the user's cache folder."""
    given = os.environ.get("NETWRIGHT_HOME")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("netwright"))


def fetch(name: str, file: str) -> Path:
    """Returns the path of one file of a named set, in the cache, fetching it if it is not there or not good.

    What is fetched is told on stderr. A download that was cut is taken up where it ended; a file is put in
    its place only when its checksum holds. Raises DataError naming the mirrors and what each answered.
    """
    folder = cache_folder() / "data" / name
    size, md5 = CHECKSUMS[name][file]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{file}.lock"):
            return _from_mirrors(name, folder, file, size, md5)
    except OSError as error:
        raise DataError(
            f"{folder / file}: cannot be written ({error.strerror or error}).\n"
            "NETWRIGHT_HOME names another cache folder; NETWRIGHT_DATA a folder that has the files."
        ) from None


def _from_mirrors(name: str, folder: Path, file: str, size: int, md5: str) -> Path:
    import pooch

    path, part = folder / file, folder / f"{file}.part"
    if path.exists() and pooch.file_hash(str(path), alg="md5") == md5:
        return path
    answers = []
    for mirror in MIRRORS[name]:
        url = mirror + file
        print(f"fetching {url} ({size / 1e6:.1f} MB) to {path}", file=sys.stderr, flush=True)
        for _ in range(2):
            resumed = part.exists()
            try:
                with _quiet(pooch.get_logger()):
                    pooch.retrieve(
                        url, f"md5:{md5}", fname=file, path=folder, downloader=ResumingDownloader(part, size)
                    )
                return path
            except ValueError as error:  # DownloadError, or pooch's word on a wrong checksum
                answers.append(f"{url}: {_answer(error, md5)}")
            if not resumed or part.exists():
                break  # only a download that went on from an older part is worth a second try from nothing
    raise DataError(
        f"{name}: {file} could not be fetched (expected {size:,} bytes, md5 {md5}).\n"
        + "\n".join(answers[-2:])
        + f"\nPut the file into $NETWRIGHT_DATA/{name}/ yourself, or try again: what has come is kept."
    )


def _answer(error: ValueError, md5: str) -> str:
    if isinstance(error, DownloadError):
        return str(error)
    came = str(error).partition("but got ")[2].partition(".")[0]
    return f"wrong checksum {came or '(' + str(error) + ')'}, thrown away"


class DownloadError(ValueError):
    """A mirror that did not give the file."""


class ResumingDownloader:
    """A downloader for pooch that goes on where an earlier download ended (HTTP Range, RFC 9110 section 14).

    The bytes are kept in `part`, across failures and across runs, until all `size` of them are there.
    """

    def __init__(self, part: Path, size: int) -> None:
        self.part, self.size = part, size

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        import requests

        failures = 0
        while (have := self._have()) < self.size:
            try:
                self._continue(url, have)
                problem = f"ended after {self._have():,} of {self.size:,} bytes"
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                problem = f"{_reason(error)} after {self._have():,} of {self.size:,} bytes"
            except (
                requests.RequestException
            ) as error:  # a wrong address, endless redirects: no use in trying again
                raise DownloadError(f"{type(error).__name__}: {error}") from None
            if self._have() >= self.size:
                break
            failures = 0 if self._have() > have else failures + 1
            if failures >= TRIES:
                raise DownloadError(problem)
            if failures:
                time.sleep(PAUSE_SECONDS * failures)
        os.replace(self.part, output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, url: str, have: int) -> None:
        import requests

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        timeouts = (CONNECT_SECONDS, SILENCE_SECONDS)
        with requests.get(url, headers=headers, stream=True, timeout=timeouts) as response:
            if response.status_code >= 500:
                raise requests.ConnectionError(f"HTTP {response.status_code}")
            if response.status_code == 416:
                self.part.unlink()
                return
            if response.status_code not in (200, 206):
                raise DownloadError(f"HTTP {response.status_code} {response.reason}")
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            goes_on = response.status_code == 206 and begins
            if response.status_code == 206 and not goes_on:
                raise DownloadError("answered with another range than was asked for")
            with open(self.part, "ab" if goes_on else "wb") as part:
                for piece in response.iter_content(1 << 13):
                    part.write(piece)
                    if part.tell() > self.size:
                        break
        if self._have() > self.size:
            came = self._have()
            self.part.unlink()
            raise DownloadError(
                f"more than the {self.size:,} bytes expected (came {came:,} and more), thrown away"
            )


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "no answer in time"
    if str(error).startswith("HTTP "):
        return str(error)
    if isinstance(error, requests.exceptions.ChunkedEncodingError) or "IncompleteRead" in str(error):
        return "connection cut"
    return "no connection"


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Lets one process at a time fetch a file: the others wait, and find it there."""
    try:
        import fcntl
    except ImportError:  # Windows: the checksum still keeps a mixed-up file out
        yield
        return
    with open(lock, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
