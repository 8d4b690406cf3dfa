"""Each format for each kind of network: written, opened again in its own runtime, and compared with PyTorch."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.data.preparation import FeaturePreparation
from netwright.errors import ExportError
from netwright.shipping.artefacts import open_artefact, write_artefact
from netwright.shipping.certificate import EXACT, INT8, Examples, certify
from netwright.shipping.formats import Work, formats


def exported(ready: Any, to: str, path: Path, **options: Any) -> dict[str, Any]:
    """The sidecar of an artefact whose certificate on all raw examples passed."""
    batch = options.pop("batch", formats[to].batch)
    work = Work(ready.shipped, ready.card, ready.raw, batch, **options)
    sidecar = write_artefact(to, work, path)
    certificate = certify(
        ready.answering,
        open_artefact(path, unproven=True),
        [Examples(ready.raw, targets(ready))],
        tolerance=INT8 if options.get("calibration") is not None else EXACT,
        score_before=None,
        size=sidecar["bytes"],
        runtime=formats[to].runs,
    )
    if options.get("calibration") is None:
        assert certificate["passed"], certificate
    else:  # untrained networks sit on the fence: decisions say little, answers do
        assert certificate["max_difference"] < 0.1, certificate
    return sidecar


def targets(ready: Any) -> Tensor:
    with torch.no_grad():
        answers = ready.shipped(ready.raw)[0]
    return answers if ready.card.classes is None else torch.zeros(len(answers), dtype=torch.int64)


def test_onnx(make: Any, kind: str, tmp_path: Path) -> None:
    import onnxruntime

    ready = make(kind)
    sidecar = exported(ready, "onnx", tmp_path / "model.onnx")
    # As a stranger runs it: onnxruntime and the raw numbers, no netwright.
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (port,), want = sidecar["inputs"], ready.shipped(ready.raw)[0].detach()
    assert [entry.name for entry in session.get_outputs()] == [one["name"] for one in sidecar["outputs"]]
    sides = ["batch" if place == 0 else "length" for place, side in enumerate(port["shape"]) if side is None]
    assert [side for side in session.get_inputs()[0].shape if isinstance(side, str)] == sides
    for count in (1, 7):
        raw = ready.raw[:count].numpy().astype(port["dtype"])
        found = session.run(None, {port["name"]: raw})[0]
        scale = max(1.0, float(want.double().std()))
        np.testing.assert_allclose(
            found.reshape(want[:count].shape), want[:count].numpy(), rtol=0, atol=1e-5 * scale
        )
    assert json.loads(session.get_modelmeta().custom_metadata_map["netwright"]) == ready.card.to_dict()


def test_pt2(make: Any, family: str, tmp_path: Path) -> None:
    ready = make(family)
    exported(ready, "pt2", tmp_path / "model.pt2")
    kept = {"netwright.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=kept)
    assert json.loads(kept["netwright.json"]) == ready.card.to_dict()
    raw = open_artefact(tmp_path / "model.pt2", unproven=True).forward(ready.raw[:1])[0]
    torch.testing.assert_close(program.module()(ready.raw[:1])[0].reshape(raw.shape), raw)


def test_safetensors(make: Any, family: str, tmp_path: Path) -> None:
    sidecar = exported(make(family), "safetensors", tmp_path / "model.safetensors")
    assert sidecar["beside"] == {} and any("by its recipe" in note for note in sidecar["notes"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fmt", "package"),
    [("tflite", "litert_torch"), ("executorch", "executorch")],
    ids=["tflite", "executorch"],
)
def test_on_devices(make: Any, family: str, fmt: str, package: str, tmp_path: Path) -> None:
    if find_spec(package) is None:
        missing = f"{package} is not installed: pip install --no-deps -r requirements/devices.txt"
        # CI installs it: there a format that nobody tests is a failure.
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    sidecar = exported(make(family), fmt, tmp_path / "model.bin")
    assert sidecar["inputs"][0]["shape"][0] == 1
    if fmt == "tflite":
        assert not sidecar["inputs"][0]["dtype"].endswith("64")


@pytest.mark.slow
def test_aoti(make: Any, family: str, tmp_path: Path) -> None:
    exported(make(family), "aoti", tmp_path / "model.aoti.pt2")


@pytest.mark.parametrize("chosen", ["cnn", "lstm", "transformer", "sound"])
def test_int8(make: Any, chosen: str, tmp_path: Path) -> None:
    import onnx

    ready = make(chosen)
    sidecar = exported(ready, "onnx", tmp_path / "model.onnx", calibration=ready.raw)
    held = onnx.load(tmp_path / "model.onnx").graph.initializer
    bytes_ = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert any(tensor.data_type in bytes_ and np.prod(tensor.dims) > 8 for tensor in held)
    assert any("int8" in note for note in sidecar["notes"])


def test_a_fixed_number_of_examples(make: Any, tmp_path: Path) -> None:
    import onnxruntime

    ready = make("cnn")
    sidecar = exported(ready, "onnx", tmp_path / "model.onnx", batch=3)
    assert sidecar["inputs"][0]["shape"] == [3, 3, 16, 16] and sidecar["outputs"][0]["shape"] == [3, 3]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_inputs()[0].shape == [3, 3, 16, 16]


class Uneven(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], torch.digamma(x[:, 1].abs() + 1)], 1)


class Holder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Chooses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x[:, :2]
        return -x[:, :2]


class Counts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :2] + torch.ones(len(x), 1)


@pytest.mark.parametrize(
    "inner, fmt, said",
    [
        (Uneven(), "onnx", r"ONNX has no operation for digamma \(in the layer inner\)"),
        (Chooses(), "onnx", "what it does depends on the values of an example"),
        (Chooses(), "pt2", "what it does depends on the values of an example"),
        (Counts(), "onnx", "computes with a fixed number of examples"),
    ],
)
def test_what_a_format_cannot_hold(
    shipped_as: Any, tmp_path: Path, inner: nn.Module, fmt: str, said: str
) -> None:
    raw = torch.randn(4, 5)
    ready = shipped_as(Holder(inner).eval(), FeaturePreparation((5,)), raw, 2, False, {})
    with pytest.raises(ExportError, match=said):
        write_artefact(fmt, Work(ready.shipped, ready.card, raw), tmp_path / "model")
    assert list(tmp_path.iterdir()) == [], "nothing is left of what failed"


def test_counting_examples_goes_with_a_fixed_number(shipped_as: Any, tmp_path: Path) -> None:
    raw = torch.randn(7, 5)
    ready = shipped_as(Holder(Counts()).eval(), FeaturePreparation((5,)), raw, 2, False, {})
    exported(ready, "onnx", tmp_path / "model.onnx", batch=2)


def test_a_second_output_travels_too(make: Any, tmp_path: Path) -> None:
    """As a guard adds one: how strange an example is."""
    from netwright.shipping import Shipped

    class Guarded(Shipped):
        output_names = ("probabilities", "strangeness")  # type: ignore[assignment]

        def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
            prepared = self.preparation(raw)
            return self.answer(self.network(prepared).float()), prepared.flatten(1).square().sum(1)

    from dataclasses import replace

    ready = make("mlp")
    guarded = Guarded(ready.shipped.preparation, ready.shipped.network, meaning="logits").eval()
    ready = replace(ready, shipped=guarded, card=replace(ready.card, strange_above=100.0))
    for fmt in ("onnx", "pt2"):
        sidecar = exported(ready, fmt, tmp_path / f"model.{fmt}")
        assert [one["name"] for one in sidecar["outputs"]] == ["probabilities", "strangeness"]
        assert sidecar["outputs"][1]["shape"] == [None]
        found = open_artefact(tmp_path / f"model.{fmt}", unproven=True).predict(ready.raw)
        want = (ready.shipped(ready.raw)[1] > 100).tolist()
        assert [one["unlike_training"] for one in found] == want


def test_tensorflow_is_a_command() -> None:
    with pytest.raises(ExportError, match=r"onnx2tf -i model\.onnx"):
        formats["tensorflow"].load().write(None, Path("x"))  # type: ignore[arg-type]
