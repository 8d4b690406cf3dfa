"""Which precision `auto` means, that a run keeps it, and that accuracy does not depend on it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import netwright as nw
from netwright.errors import UnknownNameError
from netwright.training import precision
from netwright.training.precision import autocast, choose_precision, make_scaler

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False])
def bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """A processor with or without arithmetic in bfloat16."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    choose_precision.cache_clear()
    yield request.param
    choose_precision.cache_clear()


def test_auto_is_bfloat16_where_the_device_computes_in_it(bfloat16: bool) -> None:
    assert precision.computes_in_bfloat16(CPU) is bfloat16
    assert choose_precision("auto", CPU) == ("bf16-mixed" if bfloat16 else "32")
    assert make_scaler("auto", CPU) is None
    with autocast("auto", CPU):
        assert torch.is_autocast_enabled("cpu") is bfloat16


def test_a_device_of_another_kind_is_not_taken_to_have_it() -> None:
    assert not precision.computes_in_bfloat16(torch.device("meta"))
    assert not precision.computes_in_bfloat16(torch.device("mps"))


def test_an_older_torch_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not precision.computes_in_bfloat16(CPU)


def test_what_is_asked_for_is_taken(bfloat16: bool) -> None:
    for name in ("32", "bf16-mixed", "fp16-mixed"):
        assert choose_precision(name, CPU) == name
    with pytest.raises(UnknownNameError, match="auto"):
        choose_precision("bf16", CPU)


def test_a_run_says_and_keeps_what_was_chosen(
    bfloat16: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {
        "precision": "auto",
        "epochs": 1,
        "hidden": [8],
        "recipe": {"data.limit": 200},
        "device": "cpu",
    }
    run = nw.fit("mlp", "digits", out=tmp_path / "run", **entries)
    chosen = "bf16-mixed" if bfloat16 else "32"
    assert run.recipe.train.precision == chosen
    has = "computes" if bfloat16 else "does not compute"
    assert f"precision {chosen}: this cpu device {has} in bfloat16" in capsys.readouterr().err
    # The same command goes on with the same run, and so it does where `auto` would mean something else.
    choose_precision.cache_clear()
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not bfloat16)
    again = nw.fit("mlp", "digits", out=tmp_path / "run", resume=True, **entries)
    assert again.recipe.train.precision == chosen
    assert again.result["weights_sha256"] == run.result["weights_sha256"]


def test_the_loop_takes_auto(bfloat16: bool) -> None:
    data = nw.load("digits", limit=64)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    step = next(iter(nw.train(network, data.train, precision="auto", device="cpu")))
    assert step.outputs.dtype == (torch.bfloat16 if bfloat16 else torch.float32)


def test_accuracy_does_not_depend_on_it(tmp_path: Path) -> None:
    def scores(name: str) -> list[float]:
        runs = [
            nw.fit(
                "mlp", "digits", out=tmp_path / f"{name}-{seed}", precision=name, seed=seed, epochs=12, quiet=True,
                examine=False, device="cpu",
            )
            for seed in range(5)
        ]  # fmt: skip
        return [run.result["test"]["accuracy"] for run in runs]

    full, half = scores("32"), scores("bf16-mixed")
    differences = [one - other for one, other in zip(half, full, strict=True)]
    # 359 test images: a standard error of 0.9 % each, the same images on both sides.
    assert abs(statistics.mean(differences)) < 0.01
    assert min(full + half) > 0.9
