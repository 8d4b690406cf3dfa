"""The server against its own OpenAPI description, by schemathesis: what it allows and what it forbids is answered as it says, and by no 5xx."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Not positive_data_acceptance and negative_data_rejection: JSON Schema cannot say what a picture is, and 413 rejects as well.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["digits", "table", "text"])
def test_every_answer_is_as_the_schema_says(kind: str, port: Callable[..., int], tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{port(kind)}/openapi.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", address, "--checks", ",".join(CHECKS)]
    options = ["--max-examples", "20", "--generation-deterministic", "--no-color"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # GET /, /card, /docs, /health, /metrics and /ready, and POST /predict.
    assert "Tested: 7" in done.stdout
