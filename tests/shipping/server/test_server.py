"""The server under load and under clients of every kind: batches, limits, states, connections that hang."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from netwright.errors import DataError, ServingError
from netwright.shipping import Answering
from netwright.shipping.server.app import Application
from netwright.shipping.server.hosts import names_for, stranger_in
from netwright.shipping.server.limits import Limits
from netwright.shipping.server.listening import address_of, bound_socket
from netwright.shipping.server.protocol import GRACE_SECONDS

ZEROS = [[[0] * 8] * 8]


def requests_of(count: int) -> list[dict[str, Any]]:
    """Bodies of one digit each, no two alike."""
    generator = np.random.default_rng(1)
    return [{"inputs": [generator.integers(0, 17, (1, 8, 8)).tolist()]} for _ in range(count)]


def together(client: Any, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    """Sends all of them at one time."""

    async def work(opened: httpx.AsyncClient) -> Any:
        return await asyncio.gather(*(opened.post("/predict", json=body) for body in bodies))

    return client.run(work)


def counted(answering: Answering) -> tuple[Answering, list[int]]:
    """The same, and the sizes of the batches that went through."""
    sizes: list[int] = []

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes.append(len(raw))
        return answering.forward(raw)

    return replace(answering, forward=forward), sizes


def test_requests_of_one_time_share_batches_and_each_gets_its_own_answer(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    watched, sizes = counted(answerings["digits"])
    bodies = requests_of(50)
    opened = client(watched, Limits(wait_seconds=0.2))
    del sizes[:]
    answers = together(opened, bodies)
    assert sum(sizes) == 50
    assert len(sizes) <= 3  # the first alone, the others while it is answered
    raw = torch.tensor([body["inputs"][0] for body in bodies], dtype=torch.uint8)
    expected = answerings["digits"].forward(raw)[0]
    for answer, shares in zip(answers, expected, strict=True):
        record = answer.json()["predictions"][0]
        assert list(record["probabilities"].values()) == pytest.approx(shares.tolist(), abs=1e-6)


def test_one_by_one_where_that_is_asked(client: Callable[..., Any], answerings: dict[str, Answering]) -> None:
    watched, sizes = counted(answerings["digits"])
    opened = client(watched, Limits(batch=1))
    del sizes[:]
    assert [answer.status_code for answer in together(opened, requests_of(20))] == [200] * 20
    assert sizes == [1] * 20


def test_a_request_of_many_goes_in_several_batches(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    watched, sizes = counted(answerings["digits"])
    opened = client(watched, Limits(batch=16))
    del sizes[:]
    inputs = [body["inputs"][0] for body in requests_of(40)]
    answer = opened.inputs(*inputs)
    assert [record["input"] for record in answer.json()["predictions"]] == [str(n) for n in range(40)]
    assert sizes == [16, 16, 8]


def test_who_comes_alone_waits_for_nobody(client: Callable[..., Any]) -> None:
    opened = client("digits", Limits(wait_seconds=60))
    begun = time.monotonic()
    for _ in range(3):
        assert opened.inputs(ZEROS).status_code == 200
    assert time.monotonic() - begun < 30


def test_an_input_at_which_the_network_fails_is_refused_alone(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    fast = answerings["digits"]

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if bool((raw == 13).all((1, 2, 3)).any()):
            raise RuntimeError("an index out of range, say")
        return fast.forward(raw)

    opened = client(replace(fast, forward=forward), Limits(wait_seconds=0.2))
    bodies = [*requests_of(10), {"inputs": [[[[13] * 8] * 8]]}, *requests_of(10)]
    statuses = [answer.status_code for answer in together(opened, bodies)]
    assert statuses == [200] * 10 + [422] + [200] * 10


def test_a_full_queue_says_when_to_come_again(client: Callable[..., Any], slow: Any) -> None:
    opened = client(slow(0.2), Limits(batch=1, queue=3))
    answers = together(opened, requests_of(12))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 4, 503: 8}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "too many inputs" in refused.json()["detail"]
    assert opened.inputs(ZEROS).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(client: Callable[..., Any], slow: Any) -> None:
    opened = client(slow(0.3), Limits(answer_seconds=0.1, batch=1))
    answer = opened.inputs(ZEROS)
    assert (answer.status_code, "no answer within 0.1 seconds" in answer.text) == (503, True)


def test_states_of_a_server(answerings: dict[str, Answering], client: Callable[..., Any]) -> None:
    opened = client("digits")
    predicting = opened.application.predicting
    assert opened.get("/health").json() == {"status": "alive"}
    assert (opened.get("/ready").status_code, opened.get("/ready").json()) == (200, {"status": "ready"})
    predicting.ready = False
    assert (opened.get("/ready").status_code, opened.get("/health").status_code) == (503, 200)
    predicting.ready = predicting.closing = True
    assert opened.get("/ready").json() == {"detail": "the server is ending"}
    answer = opened.inputs(ZEROS)
    assert (answer.status_code, answer.headers["connection"]) == (503, "close")


def test_the_card_tells_what_a_client_may_know(client: Callable[..., Any]) -> None:
    card = client("table").get("/card").json()
    assert card["classes"] == ["no", "yes"]
    assert card["test"] == {"accuracy": 0.9, "interval": [0.88, 0.92], "loss": 0.3}
    assert [column["name"] for column in card["input"]["columns"]] == ["age", "fare", "trips", "port", "day"]
    assert card["input"]["columns"][3] == {
        "name": "port",
        "kind": "category",
        "categories": ["north", "south", "west"],
    }
    assert "secret" not in json.dumps(card)
    series = client("series").get("/card").json()
    assert series["output"] == "the next 3 rows of load, degrees, in their unit"


def test_what_is_counted(client: Callable[..., Any]) -> None:
    opened = client("digits")
    opened.inputs(ZEROS, ZEROS)
    opened.inputs("no")
    opened.get("/nowhere")
    text = opened.get("/metrics").text
    assert 'netwright_requests_total{method="POST",path="/predict",status="200"} 1.0' in text
    assert 'netwright_requests_total{method="POST",path="/predict",status="422"} 1.0' in text
    assert 'netwright_requests_total{method="GET",path="other",status="404"} 1.0' in text
    assert "netwright_inputs_total 2.0" in text
    assert 'netwright_batch_inputs_bucket{le="2.0"} 1.0' in text
    assert "netwright_predict_seconds_count 2.0" in text
    assert "netwright_queue_inputs 0.0" in text
    assert "netwright_ready 1.0" in text


def test_a_fault_of_ours_is_logged_and_said_plainly(
    client: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = client("digits")

    async def broken(request: Any) -> bytes:
        raise AssertionError("secret")

    monkeypatch.setattr(opened.application.predicting, "answer", broken)
    answer = opened.inputs(ZEROS)
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert "secret" in caplog.text


def test_the_examples_that_openapi_gives_are_answered(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    for kind in answerings:
        opened = client(kind)
        operation = opened.get("/openapi.json").json()["paths"]["/predict"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = opened.post(json=example)
        assert answer.status_code == 200, (kind, answer.text)


def test_every_answer_has_the_headers_of_a_careful_server(client: Callable[..., Any]) -> None:
    opened = client("digits")
    for path in ("/", "/docs", "/card", "/nowhere"):
        headers = opened.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    policy = opened.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


@pytest.mark.parametrize("host", ['"><script>alert(1)</script>', "[", "a b", "[::1", "", "evil.example"])
def test_the_host_header_is_no_way_into_a_page(host: str, port: Callable[..., int]) -> None:
    where = port("digits")
    opened = send(where, f"GET /docs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = ended(opened).decode()
    assert answer.startswith("HTTP/1.1 200 ") and "<script" not in answer
    assert f"http://{host if host == 'evil.example' else f'127.0.0.1:{where}'}/predict" in answer


def test_names_of_a_server() -> None:
    own = {"localhost", "127.0.0.1", "[::1]"}
    assert names_for("127.0.0.1", "127.0.0.1") == own
    assert names_for("::1", "::1", ["A.example"]) == {*own, "a.example"}
    assert names_for("box", "127.0.1.1") == {*own, "box", "127.0.1.1"}
    assert names_for("0.0.0.0", "0.0.0.0") is None
    assert names_for("0.0.0.0", "0.0.0.0", ["a.example"]) == {*own, "0.0.0.0", "a.example"}
    headers = [(b"host", b"a.example"), (b"host", b"evil.example")]
    assert stranger_in(headers, frozenset({"a.example"})) == "evil.example"
    assert stranger_in(headers, None) is stranger_in([], frozenset()) is None


def test_a_language_model_has_nothing_to_answer(answerings: dict[str, Answering]) -> None:
    preparation = answerings["text"].preparation
    model = type("Model", (), {"kind": "corpus", "prepared_shape": preparation.prepared_shape})()
    with pytest.raises(DataError, match="netwright write RUN"):
        Application(replace(answerings["text"], preparation=model))


# At a port


def send(port: int, content: bytes) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=30)
    opened.sendall(content)
    return opened


def ask(port: int) -> int:
    return httpx.post(f"http://127.0.0.1:{port}/predict", json={"inputs": [ZEROS]}, timeout=30).status_code


def ended(opened: socket.socket) -> bytes:
    """What came until the server closed the connection."""
    found = b""
    try:
        while more := opened.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    opened.close()
    return found


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


def test_clients_that_hang_are_closed_and_hold_nobody_up(port: Callable[..., int]) -> None:
    limits = Limits(head_seconds=1.0, body_seconds=1.0, keep_alive_seconds=1)
    where = port("digits", limits)
    silent, half, trickle = send(where, b""), send(where, HEAD[:40]), send(where, HEAD + b"{")
    idle = send(where, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ask(where) == 200
    for _ in range(3):
        time.sleep(0.2)
        with contextlib.suppress(OSError):  # on a slow machine it may be closed by now
            half.sendall(b"a")
            trickle.sendall(b" ")
    assert ended(silent) == b""
    assert ended(half) == b""
    answer = ended(trickle)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"did not come within 1 seconds" in answer
    assert b"alive" in ended(idle)
    assert ask(where) == 200


def test_more_silent_clients_than_connections_shut_nobody_out(port: Callable[..., int]) -> None:
    where = port("digits", Limits(connections=12))
    hanging = [send(where, b"" if n % 2 else HEAD) for n in range(20)]
    # Each that comes takes the place of the one that has been silent for longest, once that has had its second of grace.
    deadline = time.monotonic() + 20
    while [ask(where) for _ in range(5)] != [200] * 5:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for opened in hanging:
        opened.close()


def test_many_silent_clients_that_came_at_once_shut_nobody_out(port: Callable[..., int]) -> None:
    where = port("digits", Limits(connections=8))
    hanging = [send(where, b"" if n % 2 else HEAD) for n in range(40)]
    time.sleep(GRACE_SECONDS + 0.5)
    assert [ask(where) for _ in range(5)] == [200] * 5
    for opened in hanging:
        opened.close()


def test_a_client_that_goes_away_leaves_nothing_behind(port: Callable[..., int]) -> None:
    where = port("digits")
    for cut in (10, len(HEAD), len(HEAD) + 5):
        send(where, (HEAD + b" " * 500)[:cut]).close()
    whole = json.dumps({"inputs": [ZEROS]}).encode()
    head = HEAD.replace(b"1000", str(len(whole)).encode())
    send(where, head + whole).close()
    large = HEAD.replace(b"1000", b"1000000") + b" " * 200_000
    send(where, large).close()
    assert ask(where) == 200
    for _ in range(100):
        text = httpx.get(f"http://127.0.0.1:{where}/metrics").text
        if "netwright_held_bytes 0.0" in text and "netwright_queue_inputs 0.0" in text:
            break
        time.sleep(0.05)
    else:
        raise AssertionError(text)


def test_a_head_without_end_is_not_kept(port: Callable[..., int]) -> None:
    where = port("digits", Limits(head_bytes=5000))
    opened = send(where, b"GET /health HTTP/1.1\r\nHost: x\r\n")
    for _ in range(10):
        with contextlib.suppress(OSError):
            opened.sendall(b"X-A: " + b"a" * 1000 + b"\r\n")
            time.sleep(0.02)
    # The answer is lost where the client still writes while the server closes.
    answer = ended(opened)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert ask(where) == 200


def test_requests_in_one_piece_are_answered_in_their_order(port: Callable[..., int]) -> None:
    where = port("digits")
    opened = send(
        where,
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    answer = ended(opened)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"alive") < answer.index(b'"ready"')


def test_a_body_that_is_too_large_is_not_read_to_its_end(port: Callable[..., int]) -> None:
    where = port("digits", replace(Limits(), body_bytes=1000))
    stated = send(where, HEAD.replace(b"1000", b"1001"))
    assert ended(stated).startswith(b"HTTP/1.1 413 ")
    chunked = send(where, HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked"))
    chunked.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
    assert ended(chunked).startswith(b"HTTP/1.1 413 ")


@pytest.fixture
def hanging() -> Iterator[list[socket.socket]]:
    """Connections that stay open until the server has ended: asked for before `port`."""
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


def test_what_hangs_does_not_keep_the_server_from_ending(
    hanging: list[socket.socket], port: Callable[..., int]
) -> None:
    where = port("digits")
    hanging.append(send(where, b""))
    hanging.append(send(where, HEAD[:30]))
    assert ask(where) == 200  # the fixture `port` asserts that the server ends


@pytest.mark.parametrize("kind", ["digits", "photos", "table", "text", "sound", "series"])
def test_no_malformed_request_is_answered_by_a_5xx(
    kind: str, port: Callable[..., int], malformed: Any
) -> None:
    where = port(kind, Limits(body_seconds=5))
    schema = httpx.get(f"http://127.0.0.1:{where}/openapi.json").json()
    content = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    example = content["example"]["inputs"][0]
    statuses: Counter[int | None] = Counter()
    made = list(malformed.requests(example, seed=5, count=90))
    lock = threading.Lock()

    def work(part: list[tuple[bytes, float]]) -> None:
        for request, seconds in part:
            status = malformed.answered("127.0.0.1", where, request, seconds=seconds)
            with lock:
                statuses[status] += 1
                if status is not None and status >= 500:
                    wrong.append(request[:300])

    wrong: list[bytes] = []
    threads = [threading.Thread(target=work, args=(made[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert statuses.total() == 90
    assert statuses[400] and statuses[415] and statuses[422]
    answer = httpx.post(f"http://127.0.0.1:{where}/predict", json={"inputs": [example]}, timeout=30)
    assert answer.status_code == 200


def test_addresses() -> None:
    with bound_socket("127.0.0.1", 0) as bound:
        number = bound.getsockname()[1]
        assert address_of(bound) == f"http://127.0.0.1:{number}"
        with pytest.raises(ServingError, match=f"port {number} of 127.0.0.1 is in use.*\n.*--port 0"):
            bound_socket("127.0.0.1", number)
    with pytest.raises(ServingError, match="no address of this machine"):
        bound_socket("203.0.113.7", 0)
    with pytest.raises(ServingError, match="no address of this machine"):
        bound_socket("no such host", 0)
