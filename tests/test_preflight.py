"""The look at one batch before a run, and the examiner that runs along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import netwright as nw
from netwright.errors import FaultFound
from netwright.preflight import preflight
from netwright.training.loop import begin

QUICK: dict[str, Any] = {"epochs": 2, "quiet": True, "device": "cpu"}


def look(network: torch.nn.Module, data: Any) -> Any:
    return preflight(lambda copy: begin(copy, data.train, device="cpu"), network, data, batch=64)


def test_a_healthy_network_learns_one_batch_and_no_fault_is_found() -> None:
    torch.manual_seed(0)
    data = nw.load("digits")
    seen = look(nw.network("mlp", data), data)
    assert not seen.errors and len(seen.losses) == 30 and seen.losses[-1] < 0.7 * seen.losses[0]
    assert seen.chance == pytest.approx(2.302585)
    assert seen.lines()[0].startswith("first loss") and "no less" not in seen.lines()[0]


def test_a_schedule_of_few_steps_ends_the_trial() -> None:
    torch.manual_seed(0)
    data = nw.load("digits", limit=100)
    options = {"schedule": "one-cycle", "epochs": 2, "batch": 16, "device": "cpu"}
    seen = preflight(lambda copy: begin(copy, data.train, **options), nw.network("mlp", data), data, batch=16)
    assert len(seen.losses) == 14, "two epochs of 7 steps"


@pytest.mark.parametrize(
    ("seconds", "run_steps", "taken"),
    [
        (0.01, 3, 30),  # a second is always there
        (0.25, 1_000_000, 22),  # 5 s after the first step
        (0.25, 40, 11),  # a tenth of 10 s; but ten steps
        (0.25, 150, 17),  # a tenth of 37.5 s
        (0.25, 1, 11),
        (1.0, 1, 7),  # 5 s are the end of it
        (20.0, 1, 2),
    ],
)
def test_the_trial_is_a_share_of_a_short_run(
    seconds: float, run_steps: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    data = nw.load("digits")
    network = nw.network("mlp", data)
    now = [0.0]
    monkeypatch.setattr("netwright.preflight.time.monotonic", lambda: now[0])

    class Slow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            now[0] += seconds
            return self.inner(x)  # type: ignore[no-any-return]

    seen = preflight(
        lambda copy: begin(copy, data.train, device="cpu"), Slow(), data, batch=64, run_steps=run_steps
    )
    assert len(seen.losses) == taken


def test_the_trial_leaves_network_and_generators_as_they_were() -> None:
    torch.manual_seed(0)
    data = nw.load("digits")
    network = nw.network("mlp", data, dropout=0.5, batch_norm=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    look(network, data)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters()) and network.training


def test_an_error_stops_the_run_before_it_has_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FaultFound, match="NW104") as caught:
        nw.fit("mlp", "digits", output_activation="relu", out=tmp_path / "run", **QUICK)
    assert "--force" in str(caught.value) and len(str(caught.value).splitlines()) <= 4
    assert "NW104" in [finding["code"] for finding in caught.value.findings]
    assert not (tmp_path / "run").exists()


def test_force_trains_all_the_same_and_the_finding_stays(tmp_path: Path) -> None:
    run = nw.fit("mlp", "digits", output_activation="relu", out=tmp_path / "run", force=True, **QUICK)
    found = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert [finding["code"] for finding in found["findings"]].count("NW104") == 1
    assert run.result is not None and run.result["findings"] == found["findings"]
    assert "NW104" in (tmp_path / "run" / "report.html").read_text()


def test_examining_changes_no_bit_of_the_run(tmp_path: Path) -> None:
    options = {"dropout": 0.3, "batch_norm": True, **QUICK}
    watched = nw.fit("mlp", "digits", out=tmp_path / "a", **options)
    alone = nw.fit("mlp", "digits", out=tmp_path / "b", examine=False, **options)
    assert watched.result is not None and alone.result is not None
    assert watched.result["weights_sha256"] == alone.result["weights_sha256"]
    assert "not examined" in (tmp_path / "b" / "findings.json").read_text()


def test_a_network_that_cannot_learn_one_batch_is_said() -> None:
    data = nw.load("digits")

    class Stuck(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :10] + self.bias * 0

    assert "does not even learn one batch" in look(Stuck(), data).lines()[0]


def test_copies_of_training_examples_in_the_test_part_are_counted() -> None:
    x = torch.randn(40, 5)
    y = torch.arange(40) % 2
    data = nw.load(x, y, test=(torch.cat([x[:7], torch.randn(5, 5)]), torch.arange(12) % 2), validation=0)
    seen = look(nw.network("mlp", data), data)
    assert seen.shared == 7 and "7 test examples are also training examples" in seen.lines()
