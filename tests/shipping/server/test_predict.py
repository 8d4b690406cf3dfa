"""POST /predict: what is answered to each kind of input, and what is refused, in which words."""

from __future__ import annotations

import gzip
import io
import json
import math
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.shipping import Answering
from netwright.shipping.server.limits import Limits

GENERATOR = np.random.default_rng(0)
DIGIT = GENERATOR.integers(0, 17, (1, 8, 8)).tolist()
ROW = {"age": 33, "fare": None, "trips": 1.25, "port": "south", "day": "2024-01-05"}
EXAMPLES: dict[str, Any] = {
    "digits": DIGIT,
    "photos": GENERATOR.integers(0, 256, (3, 16, 16)).tolist(),
    "rows": [1.0, -2, 0.5, 3e4],
    "table": ROW,
    "text": "a fine film",
    "sound": GENERATOR.normal(0, 0.1, 500).tolist(),
    "series": [[1.0, 2], [2, 3], [3, 4], [4, 5], [5, 6.5]],
}


def png(pixels: Any) -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(made, "PNG")
    return made.getvalue()


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "NONE"))
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return made.getvalue()


def same(found: Any, expected: Any) -> bool:
    """Whether records are alike: networks in batches of other sizes round otherwise."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else found == expected


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_input_is_answered_as_predict_answers_it(
    kind: str, client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    answering = answerings[kind]
    raw = answering.preparation.read(EXAMPLES[kind])
    answer = client(kind).inputs(EXAMPLES[kind], EXAMPLES[kind])
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    expected = list(answering.records([("0", raw), ("1", raw)]))
    assert same(answer.json()["predictions"], expected)
    assert [record["input"] for record in answer.json()["predictions"]] == ["0", "1"]


def test_the_probabilities_are_those_of_the_network(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    record = client("digits").inputs(DIGIT).json()["predictions"][0]
    preparation = answerings["digits"].preparation
    plain = (torch.tensor(DIGIT, dtype=torch.float32) / 16 - 0.3) / 0.4
    assert torch.allclose(preparation(torch.tensor([DIGIT], dtype=torch.uint8))[0], plain)
    raw = torch.tensor([DIGIT], dtype=torch.uint8)
    shares = answerings["digits"].forward(raw)[0][0].tolist()
    assert list(record["probabilities"].values()) == pytest.approx(shares)
    assert record["label"] == str(int(np.argmax(shares)))
    assert record["unlike_training"] is None


def test_shapes_that_predict_takes_are_taken(client: Callable[..., Any]) -> None:
    flat = [pixel for row in DIGIT[0] for pixel in row]
    records = client("digits").inputs(DIGIT, DIGIT[0], flat).json()["predictions"]
    assert records[0]["probabilities"] == records[1]["probabilities"] == records[2]["probabilities"]


def test_a_picture_file_is_read_as_predict_reads_it(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    pixels = GENERATOR.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    opened = client("photos")
    raw = answerings["photos"].preparation.read(png(pixels))
    expected = next(answerings["photos"].records([("body", raw)]))
    for media in ("image/png", "application/octet-stream"):
        answer = opened.post(content=png(pixels), headers={"Content-Type": media})
        assert same(answer.json()["predictions"], [expected])
    files = [
        ("files", ("a.png", png(pixels), "image/png")),
        ("files", ("b.png", png(pixels[::-1]), "image/png")),
    ]
    records = opened.post(files=files).json()["predictions"]
    assert [record["input"] for record in records] == ["a.png", "b.png"]
    assert same(records[0]["probabilities"], expected["probabilities"])
    assert not same(records[1]["probabilities"], expected["probabilities"])


def test_a_recording_is_read_as_predict_reads_it(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    samples = GENERATOR.normal(0, 0.1, 4000)
    raw = answerings["sound"].preparation.read(wav(samples, 16_000))
    expected = next(answerings["sound"].records([("body", raw)]))
    answer = client("sound").post(content=wav(samples, 16_000), headers={"Content-Type": "audio/wav"})
    assert same(answer.json()["predictions"], [expected])


def test_a_table_is_read_as_predict_reads_it(
    client: Callable[..., Any], answerings: dict[str, Answering], tmp_path: Path
) -> None:
    text = "age,fare,trips,port,day\n30,1.5,2,north,2024-01-02\n40,,1,?,2024-01-09\n"
    (tmp_path / "new.csv").write_text(text)
    read = list(answerings["table"].preparation.read_files([tmp_path / "new.csv"]))
    answer = client("table").post(content=text, headers={"Content-Type": "text/csv"})
    assert same(
        answer.json()["predictions"],
        list(answerings["table"].records([(f"body, row {n}", raw) for n, (_, raw) in enumerate(read, 1)])),
    )


def test_a_series_of_rows_by_name_and_as_a_table(client: Callable[..., Any]) -> None:
    opened = client("series")
    rows = [{"load": row[0], "degrees": row[1]} for row in EXAMPLES["series"]]
    by_name = opened.inputs(rows).json()["predictions"][0]
    assert by_name["value"] == opened.inputs(EXAMPLES["series"]).json()["predictions"][0]["value"]
    assert by_name["value"] == [[5.0, 6.5]] * 3
    text = "load,degrees\n" + "\n".join(f"{row['load']},{row['degrees']}" for row in rows)
    as_table = opened.post(content=text, headers={"Content-Type": "text/csv"}).json()["predictions"][0]
    assert as_table["value"] == by_name["value"]
    gap = opened.inputs([*EXAMPLES["series"], [None, 7]]).json()["predictions"][0]
    assert gap["value"] == [[5.0, 7.0]] * 3
    assert gap["remarks"] == ["load: 1 gaps are filled"]


JSON = "application/json"
# Kind, body, type, status, words of the answer.
REFUSED: list[tuple[str, bytes | str, str, int, str]] = [
    ("digits", "", JSON, 400, "not JSON"),
    ("digits", "[1, 2", JSON, 400, "line 1"),
    ("digits", b'{"inputs": ["\xff"]}', JSON, 400, "not UTF-8: byte 0xff"),
    ("digits", "{}", JSON, 422, '{"inputs": [...]}'),
    ("digits", "[1]", JSON, 422, '{"inputs": [...]}'),
    ("digits", '{"inputs": [], "x": 1}', JSON, 422, "nothing else"),
    ("digits", '{"inputs": []}', JSON, 422, "at least one"),
    ("digits", '{"inputs": [NaN]}', JSON, 400, "NaN"),
    ("digits", '{"inputs": [[-Infinity]]}', JSON, 400, "Infinity"),
    ("digits", '{"inputs": [1e400]}', JSON, 422, "no float holds"),
    ("digits", '{"inputs": [' + "7" * 400 + "]}", JSON, 422, "400 digits"),
    ("digits", '{"inputs": [' + "7" * 6000 + "]}", JSON, 422, "6,000 digits"),
    ("digits", '{"a": 1, "a": 2}', JSON, 400, "a key twice"),
    ("digits", "[" * 100_000, JSON, 400, "nested more than 32 deep"),
    ("digits", json.dumps({"inputs": [DIGIT, "/etc/passwd"]}), JSON, 422, "input 1: expected a picture file"),
    ("digits", json.dumps({"inputs": [[[[17] * 8] * 8]]}), JSON, 422, "from 0 to 16, came 17"),
    ("digits", json.dumps({"inputs": [[[[0.5] * 8] * 8]]}), JSON, 422, "whole numbers"),
    ("digits", json.dumps({"inputs": [[[["1"] * 8] * 8]]}), JSON, 422, "input 0: expected numbers"),
    ("digits", json.dumps({"inputs": [[[1, 2], [3]]]}), JSON, 422, "equal length"),
    ("digits", "inputs=1", "application/x-www-form-urlencoded", 415, "application/json"),
    ("digits", "x", "text/plain", 415, "came text/plain"),
    ("digits", b"\x89PNG\r\n", "image/png", 422, "expected a picture"),
    ("digits", b"\x80\x04\x95.", "application/octet-stream", 422, "expected a picture"),
    ("digits", "--B--", "multipart/form-data", 400, "no boundary"),
    ("digits", "--B\r\n\r\nx", "multipart/form-data; boundary=B", 400, "before its last boundary"),
    ("rows", '{"inputs": [[1, 2, 3]]}', JSON, 422, "expected 4 numbers, came 3"),
    ("rows", '{"inputs": [[1, 2, 3, 1e39]]}', JSON, 422, "float32"),
    ("rows", '{"inputs": [[1, 2, 3, null]]}', JSON, 422, "expected numbers"),
    ("rows", '{"inputs": [{"a": 1}]}', JSON, 422, "came an object"),
    ("rows", "1,2,3,4", "text/csv", 415, "application/json"),
    ("table", json.dumps({"inputs": [{**ROW, "age": "old"}]}), JSON, 422, "expected a number in 'age'"),
    ("table", json.dumps({"inputs": [{"age": 3}]}), JSON, 422, "without fare"),
    ("table", json.dumps({"inputs": [{**ROW, "age": 1e39}]}), JSON, 422, "float32"),
    ("table", json.dumps({"inputs": [{**ROW, "port": [1]}]}), JSON, 422, "one cell in column 'port'"),
    ("table", json.dumps({"inputs": ["/etc/passwd"]}), JSON, 422, "expected a row"),
    ("table", "age\n1\n", "text/csv", 422, "body: expected the columns of training"),
    ("table", "," * 20_000, "text/csv", 413, "10,000 columns"),
    ("text", '{"inputs": ["  "]}', JSON, 422, "came an empty one"),
    ("text", '{"inputs": ["\\ud800"]}', JSON, 422, "surrogate"),
    ("text", '{"inputs": [7]}', JSON, 422, "came a number"),
    ("text", b"\x00\x01", "text/plain", 422, "NUL"),
    ("sound", b"RIFF", "audio/wav", 422, "body: "),
    ("sound", '{"inputs": ["/etc/passwd"]}', JSON, 422, "expected a sound file"),
    ("sound", '{"inputs": [[]]}', JSON, 422, "input 0"),
    ("series", '{"inputs": [[[1, 2]]]}', JSON, 422, "at least 4 rows"),
    ("series", '{"inputs": ["/etc/passwd"]}', JSON, 422, "came a text"),
    ("series", '{"inputs": [[{"load": 1}]]}', JSON, 422, "without degrees"),
]


@pytest.mark.parametrize(("kind", "body", "media", "status", "words"), REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(
    kind: str, body: bytes | str, media: str, status: int, words: str, client: Callable[..., Any]
) -> None:
    answer = client(kind).post(content=body, headers={"Content-Type": media})
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"detail"}
    detail = answer.json()["detail"]
    assert words in detail
    assert "\n" not in detail and len(detail) < 600 and "/tmp" not in detail


def test_no_text_is_taken_for_a_path(client: Callable[..., Any], tmp_path: Path) -> None:
    """A file that is there, and a right one, is not read; a text that names it is that text."""
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(800)))
    (tmp_path / "a.csv").write_text("age,fare,trips,port,day\n30,1.5,2,north,2024-01-02\n")
    for kind, name in (
        ("photos", "a.png"),
        ("sound", "a.wav"),
        ("table", "a.csv"),
        ("series", "a.csv"),
        ("rows", "a.csv"),
    ):
        opened, path = client(kind), str(tmp_path / name)
        for value in (path, [path], [[path]], {"path": path}):
            assert opened.inputs(value).status_code == 422, (kind, value)
    (tmp_path / "a.txt").write_text("zzzz zzzz")
    opened = client("text")
    named = opened.inputs(str(tmp_path / "a.txt")).json()["predictions"][0]["probabilities"]
    assert named != opened.inputs("zzzz zzzz").json()["predictions"][0]["probabilities"]


def test_a_small_file_that_would_be_large_is_refused(client: Callable[..., Any], malformed: Any) -> None:
    opened = client("photos", replace(Limits(), pixels=1_000_000))
    answer = opened.post(content=malformed.png_header(5000, 5000), headers={"Content-Type": "image/png"})
    assert (answer.status_code, "5,000 x 5,000 pixels" in answer.text) == (413, True)
    strip = opened.post(content=png(np.zeros((900, 1, 3))), headers={"Content-Type": "image/png"})
    assert (strip.status_code, "too narrow" in strip.text) == (200, False)  # 16 x 14,400 pixels are no harm
    strip = opened.post(content=malformed.png_header(1, 60_000), headers={"Content-Type": "image/png"})
    assert (strip.status_code, "too narrow" in strip.text) == (422, True)
    long = client("sound", replace(Limits(), samples=10_000))
    answer = long.post(content=wav(np.zeros(20_000)), headers={"Content-Type": "audio/wav"})
    assert (answer.status_code, "expected at most 10,000 samples" in answer.text) == (413, True)
    # One second at 1 Hz would be 8,000 samples of the network's rate; so many at 1 kHz eight times as many.
    answer = long.post(content=wav(np.zeros(5000), 1000), headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 413
    answer = long.post(content=wav(np.zeros(50), 1), headers={"Content-Type": "audio/wav"})
    assert (answer.status_code, "at 1 Hz" in answer.text) == (422, True)


def test_more_than_is_taken_is_refused(client: Callable[..., Any]) -> None:
    opened = client("digits", replace(Limits(), inputs=3, body_bytes=2000, brackets=100))
    assert opened.inputs(*[DIGIT] * 3).status_code == 200
    answer = opened.inputs(*[[1]] * 4)
    assert (answer.status_code, "4 inputs: expected at most 3" in answer.text) == (413, True)
    files = [("f", (f"{n}.png", png(np.zeros((8, 8))), "image/png")) for n in range(4)]
    assert opened.post(files=files).status_code == 413
    assert opened.post(content="[]," * 101, headers={"Content-Type": JSON}).status_code == 413
    answer = opened.post(content=b"x" * 2001, headers={"Content-Type": JSON})
    assert (answer.status_code, "larger than 2,000 bytes" in answer.text) == (413, True)

    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * 1000

    answer = opened.post(content=chunks(), headers={"Content-Type": JSON})
    assert answer.status_code == 413
    assert client("text").inputs("a" * 200_001).status_code == 413


def test_a_body_that_is_packed_is_refused(client: Callable[..., Any]) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    answer = client("digits").post(content=gzip.compress(b"[" * 10_000_000), headers=headers)
    assert (answer.status_code, "Content-Encoding gzip" in answer.text) == (415, True)


def test_large_bodies_take_no_more_memory_than_they_may(client: Callable[..., Any]) -> None:
    opened = client("digits", replace(Limits(), held_bytes=100_000))
    answer = opened.post(content=b" " * 100_001, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert opened.application.predicting.bodies.held == 0
    assert opened.post(content=b" " * 99_000, headers={"Content-Type": JSON}).status_code == 400
    assert opened.application.predicting.bodies.held == 0


def test_an_answer_that_is_no_number_is_refused(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    fast = answerings["rows"]

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.where(raw[:, :1] > 1e4, math.nan, raw[:, :1]),)

    opened = client(replace(fast, forward=forward))
    answer = opened.inputs([1, 0, 0, 0], [2e4, 0, 0, 0])
    assert (answer.status_code, "input 1: the network's answer is no finite number" in answer.text) == (
        422,
        True,
    )
    assert opened.inputs([1, 0, 0, 0]).json()["predictions"][0]["value"] == 1.0


def test_what_is_unlike_training_is_flagged_and_counted(
    client: Callable[..., Any], answerings: dict[str, Answering]
) -> None:
    fast = answerings["rows"]
    guarded = replace(
        fast,
        card=replace(fast.card, strange_above=5.0),
        forward=lambda raw: (raw[:, :1], raw.abs().amax(1)),
    )
    opened = client(guarded)
    records = opened.inputs([1, 0, 0, 0], [9, 0, 0, 0]).json()["predictions"]
    assert [record["unlike_training"] for record in records] == [False, True]
    metrics = opened.get("/metrics").text
    assert "netwright_inputs_unlike_training_total 1.0" in metrics
    assert "netwright_inputs_total 2.0" in metrics
