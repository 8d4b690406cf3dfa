"""Downloads, against servers on loopback that behave as badly as real ones."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from netwright.data import mirrors
from netwright.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)
BLOCK = 8192  # what may be lost of a connection that is cut
FILE = "train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def small_file(monkeypatch):
    known = {FILE: (len(CONTENT), hashlib.md5(CONTENT).hexdigest())}
    monkeypatch.setattr(mirrors, "CHECKSUMS", {"mnist": known})
    monkeypatch.setattr(mirrors, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def serve(mirror, monkeypatch):
    def start(*plans):
        started = [mirror(CONTENT) for _ in plans]
        for server, plan in zip(started, plans, strict=True):
            server.plan = plan.split()
        monkeypatch.setattr(mirrors, "MIRRORS", {"mnist": tuple(server.url for server in started)})
        return started

    return start


def final(tmp_path: Path) -> Path:
    return tmp_path / "netwright-home" / "data" / "mnist" / FILE


def test_a_good_download_is_told_checked_and_kept(serve, tmp_path, capsys):
    (server,) = serve("")
    path = mirrors.fetch("mnist", FILE)
    assert path == final(tmp_path) and path.read_bytes() == CONTENT
    out, err = capsys.readouterr()
    assert out == "" and f"fetching {server.url}{FILE} (0.3 MB) to {path}" in err
    mirrors.fetch("mnist", FILE)
    assert len(server.ranges) == 1, "the second time it is in the cache"
    assert not path.with_name(f"{FILE}.part").exists()


def test_a_cut_download_goes_on_where_it_ended(serve, tmp_path):
    (server,) = serve("cut cut good")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT
    first, second = (int(asked.removeprefix("bytes=")[:-1]) for asked in server.ranges[1:])
    assert 150_000 - BLOCK < first <= 150_000 and 225_000 - BLOCK < second <= 225_000


def test_a_later_run_goes_on_too(serve, tmp_path):
    (server,) = serve("cut 404")
    with pytest.raises(DataError, match="HTTP 404"):
        mirrors.fetch("mnist", FILE)
    assert not final(tmp_path).exists()
    came = final(tmp_path).with_name(f"{FILE}.part").read_bytes()
    assert len(came) > 150_000 - BLOCK and CONTENT.startswith(came)
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(came)}-"


def test_a_server_without_ranges_is_read_from_the_start(serve):
    serve("cut no-range")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT


def test_a_stalled_download_is_given_up_and_taken_up_again(serve, monkeypatch):
    monkeypatch.setattr(mirrors, "SILENCE_SECONDS", 1.0)
    (server,) = serve("stall good")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT
    assert server.ranges[0] is None and server.ranges[1].startswith("bytes=1")


def test_a_server_that_stays_silent_is_named(serve, monkeypatch, tmp_path):
    monkeypatch.setattr(mirrors, "SILENCE_SECONDS", 0.3)
    (server,) = serve("stall " * 30)
    # Half of the one byte that is missing is none: every try ends without progress.
    part = final(tmp_path).with_name(f"{FILE}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError) as caught:
        mirrors.fetch("mnist", FILE)
    assert "no answer in time after 299,999 of 300,000 bytes" in str(caught.value)
    assert server.url in str(caught.value)
    assert len(server.ranges) <= mirrors.TRIES and not final(tmp_path).exists()


def test_a_wrong_checksum_is_thrown_away_and_both_sums_are_named(serve, tmp_path):
    serve("wrong")
    with pytest.raises(DataError) as caught:
        mirrors.fetch("mnist", FILE)
    text = str(caught.value)
    assert f"expected 300,000 bytes, md5 {hashlib.md5(CONTENT).hexdigest()}" in text
    assert f"wrong checksum {hashlib.md5(bytes(len(CONTENT))).hexdigest()}" in text
    assert len(text.splitlines()) <= 4
    assert [entry.name for entry in final(tmp_path).parent.iterdir()] == [f".{FILE}.lock"]


def test_a_spoiled_part_is_begun_again(serve, tmp_path):
    part = final(tmp_path).with_name(f"{FILE}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    (server,) = serve("good good")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_part_of_full_length_that_is_spoiled_is_begun_again(serve, tmp_path):
    part = final(tmp_path).with_name(f"{FILE}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(CONTENT) + 5))
    serve("good")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT


def test_more_bytes_than_expected_are_refused(serve, tmp_path):
    serve("long")
    with pytest.raises(DataError, match="more than the 300,000 bytes expected"):
        mirrors.fetch("mnist", FILE)
    assert not final(tmp_path).exists()


def test_the_second_mirror_is_asked_when_the_first_is_down(serve):
    first, second = serve("404", "")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT
    assert (len(first.ranges), len(second.ranges)) == (1, 1)


def test_a_mirror_in_trouble_is_tried_again(serve):
    (server,) = serve("503 503 good")
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_when_every_mirror_fails_each_answer_is_told(serve, mirror, monkeypatch):
    first, second = serve("404", "403")
    with pytest.raises(DataError) as caught:
        mirrors.fetch("mnist", FILE)
    text = str(caught.value)
    assert f"{first.url}{FILE}: HTTP 404" in text and f"{second.url}{FILE}: HTTP 403" in text
    assert "$NETWRIGHT_DATA/mnist/" in text and len(text.splitlines()) <= 4


def test_no_connection_at_all(monkeypatch, mirror):
    server = mirror(CONTENT)
    monkeypatch.setattr(mirrors, "MIRRORS", {"mnist": (server.url,)})
    server.server.socket.close()
    with pytest.raises(DataError, match="no connection after 0 of 300,000 bytes"):
        mirrors.fetch("mnist", FILE)


def test_a_damaged_file_in_the_cache_is_fetched_again(serve, tmp_path):
    serve("good")
    final(tmp_path).parent.mkdir(parents=True)
    final(tmp_path).write_bytes(CONTENT[:1000])
    assert mirrors.fetch("mnist", FILE).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path, serve):
    serve("good")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written"):
        mirrors.fetch("mnist", FILE)


def test_the_real_files_have_the_checksums_that_are_checked(real, monkeypatch):
    monkeypatch.undo()
    kept = [
        (real / name / file, known)
        for name, files in mirrors.CHECKSUMS.items()
        for file, known in files.items()
        if name != "cifar10" or (real / name).is_dir()  # of CIFAR-10 there may be the JPEG copy alone
    ]
    assert len(kept) >= 8
    for path, known in kept:
        content = path.read_bytes()
        assert (len(content), hashlib.md5(content).hexdigest()) == known
