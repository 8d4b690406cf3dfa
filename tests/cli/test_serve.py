"""`netwright serve` as a person and a service manager use it: its first line, its errors, its end."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

ZEROS = [[[0] * 8] * 8]


def started(netwright: Any, *arguments: Any) -> tuple[Any, str]:
    """The process, and the address that it printed."""
    process = netwright.start("serve", *arguments)
    process.until(lambda: process.printed("stdout").endswith("\n"))
    lines = process.printed("stdout").splitlines()
    assert lines, process.printed("stderr")
    assert len(lines) == 1
    return process, lines[0]


def ask(address: str, inputs: Any) -> Any:
    body = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_it_answers_as_predict_does_and_ends_on_sigterm(run: Path, folder: Path, netwright: Any) -> None:
    process, address = started(netwright, "run", "--port", 0)
    assert address.startswith("http://127.0.0.1:")
    rows = [[[pixel % 17 for pixel in range(row, row + 8)] for row in range(8)], ZEROS[0]]
    answered = ask(address, rows)
    predicted = netwright("predict", "run", "-", "--json", stdin=json.dumps(rows)).json
    assert [record["label"] for record in answered] == [record["label"] for record in predicted]
    for record, other in zip(answered, predicted, strict=True):
        assert record["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    process.send(signal.SIGTERM)
    ended = process.end(60)
    assert ended.code == 143
    assert ended.stdout == f"{address}\n"
    assert ended.stderr.startswith("digits · mlp: a page to try it")
    assert "Traceback" not in ended.stderr


def test_ctrl_c_ends_it(run: Path, netwright: Any) -> None:
    process, _ = started(netwright, "run", "--port", 0)
    process.send(signal.SIGINT)
    ended = process.end(60)
    assert (ended.code, "Traceback" in ended.stderr) == (130, False)


def test_sigterm_finishes_what_is_in_flight(run: Path, netwright: Any) -> None:
    """Half of a body is there when the signal comes; the other half comes after it, and is answered."""
    process, address = started(netwright, "run", "--port", 0)
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps({"inputs": [ZEROS] * 300}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as opened:
        opened.sendall(head.encode() + body[:100])
        time.sleep(0.5)
        process.send(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(OSError):
            socket.create_connection((host, int(port)), timeout=5).close()
        opened.sendall(body[100:])
        answer = b""
        while more := opened.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]) == 300
    assert process.end(60).code == 143


def test_limits_on_the_command_line(run: Path, netwright: Any) -> None:
    process, address = started(netwright, "run", "--port", 0, "--max-bytes", 500, "--batch", 1, "--wait", 0)
    assert len(ask(address, [ZEROS])) == 1
    with pytest.raises(urllib.error.HTTPError, match="413"):
        ask(address, [ZEROS] * 20)
    process.send(signal.SIGTERM)
    process.end(60)


def test_a_page_elsewhere_cannot_ask_by_a_name_of_its_own(run: Path, netwright: Any) -> None:
    """DNS rebinding: the browser takes evil.example for the page's own server, and names it in the Host header."""
    process, address = started(netwright, "run", "--port", 0, "--allow-host", "Models.example.org")
    port = address.rpartition(":")[2]

    def asked_as(host: str) -> tuple[int, str]:
        request = urllib.request.Request(f"{address}/health", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    for host in (f"127.0.0.1:{port}", "localhost", "LOCALHOST.:1", "[::1]:80", f"models.example.org:{port}"):
        assert asked_as(host)[0] == 200, host
    for host in (f"evil.example:{port}", "127.0.0.1.evil.example", "localhost@evil.example", "[", "x" * 5000):
        status, said = asked_as(host)
        assert status == 400 and "is no name of this server (serve --allow-host NAME adds one)" in said
        assert len(said) < 300
    process.send(signal.SIGTERM)
    process.end(60)


def test_damaged_pictures_leave_nothing_in_the_log(run: Path, netwright: Any) -> None:
    process, address = started(netwright, "run", "--port", 0)
    for tag in (256, 257, 258):
        # A TIFF with one entry, whose data would lie behind the end of the file.
        body = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", tag, 4, 1000, 9999) + bytes(4)
        request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "image/tiff"})
        with pytest.raises(urllib.error.HTTPError, match="422"):
            urllib.request.urlopen(request, timeout=60)
    process.send(signal.SIGTERM)
    assert len(process.end(60).stderr.splitlines()) == 1


def test_a_port_in_use(run: Path, netwright: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        ended = netwright("serve", "run", "--port", number, code=2)
    assert ended.stdout == ""
    assert ended.stderr == (
        f"netwright: port {number} of 127.0.0.1 is in use by another program.\n"
        "Give another one, or --port 0 for any that is free.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere is not a run: it does not exist."),
        (["run", "--port", "70000"], "--port is a whole number from 0 to 65535"),
        (["run", "--port", "x"], "--port is a whole number"),
        (["run", "--batch", "0"], "--batch is a whole number of at least 1"),
        (["run", "--max-bytes", "-1"], "--max-bytes is a whole number of at least 1"),
        (
            ["run", "--allow-host", "example.org:80"],
            "--allow-host is a name such as example.org, without a port",
        ),
        (["run", "--host", "203.0.113.7", "--port", "0"], "--host 203.0.113.7: no address of this machine"),
    ],
)
def test_misuse(arguments: list[str], words: str, run: Path, netwright: Any) -> None:
    ended = netwright("serve", *arguments, code=2)
    assert words in ended.stderr
    assert ended.stdout == ""


def test_a_run_that_is_not_finished(run: Path, netwright: Any) -> None:
    (run / "result.json").unlink()
    ended = netwright("serve", "run", "--port", 0, code=2)
    assert ended.stderr == (
        "netwright: run is not finished, so that it was never tested.\nGo on with: netwright resume run\n"
    )


def test_a_missing_package_is_named_with_its_extra(run: Path, folder: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from netwright.cli import run; sys.exit(run(['serve', 'run', '--port', '0']))"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr
        == "netwright: serving needs uvicorn, which is not installed: pip install 'netwright[serve]'\n"
    )


def test_many_clients_at_once_are_all_answered(run: Path, netwright: Any) -> None:
    process, address = started(netwright, "run", "--port", 0)
    found: list[int] = []

    def work() -> None:
        for _ in range(5):
            found.append(len(ask(address, [ZEROS])))

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 60
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    assert 'netwright_requests_total{method="POST",path="/predict",status="200"} 60.0' in text
    process.send(signal.SIGTERM)
    process.end(60)


def test_an_artefact_is_served_as_its_run_is(run: Path, folder: Path, netwright: Any) -> None:
    netwright("export", "run", "--to", "onnx", "--out", "digits.onnx")
    rows = [[[(7 * row + pixel) % 17 for pixel in range(8)] for row in range(8)]] * 3
    answers = []
    for source in ("run", "digits.onnx"):
        process, address = started(netwright, source, "--port", 0)
        answers.append(ask(address, [rows[0]]))
        process.send(signal.SIGTERM)
        assert process.end(60).code == 143
    assert answers[0][0]["probabilities"] == pytest.approx(answers[1][0]["probabilities"], abs=1e-5)
    content = bytearray((folder / "digits.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "digits.onnx").write_bytes(content)
    ended = netwright("serve", "digits.onnx", "--port", 0, code=2)
    assert "digits.onnx" in ended.stderr and "Traceback" not in ended.stderr
