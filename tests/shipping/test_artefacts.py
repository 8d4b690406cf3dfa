"""Artefacts that were tampered with, cut off, mixed up or never proven are named and refused."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from netwright.errors import ArtefactError
from netwright.shipping.artefacts import (
    open_artefact,
    read_sidecar,
    sidecar_of,
    write_artefact,
    write_sidecar,
)
from netwright.shipping.formats import Work, formats


@pytest.fixture(scope="module", params=["onnx", "pt2", "safetensors"])
def whole(request: Any, make: Any, tmp_path_factory: Any) -> Path:
    return proven(make("mlp"), request.param, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def artefact(whole: Path, tmp_path: Path) -> Path:
    """A proven artefact of a small network, to do with as one likes."""
    for file in whole.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / whole.name


def proven(ready: Any, fmt: str, folder: Path, **certificate: Any) -> Path:
    path = folder / f"model{formats[fmt].suffix}"
    sidecar = write_artefact(fmt, Work(ready.shipped, ready.card, ready.raw), path)
    write_sidecar(path, {**sidecar, "certificate": {"passed": True, **certificate}})
    return path


def test_it_answers_as_the_network(artefact: Path, make: Any) -> None:
    ready = make("mlp")
    found = open_artefact(artefact).predict(ready.raw)
    want = ready.answering.predict(ready.raw)
    assert [one["label"] for one in found] == [one["label"] for one in want]
    for one, other in zip(found, want, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_byte_that_was_changed(artefact: Path) -> None:
    content = bytearray(artefact.read_bytes())
    content[len(content) // 2] ^= 1
    artefact.write_bytes(content)
    with pytest.raises(ArtefactError, match="its checksum is not the one"):
        open_artefact(artefact)


def test_cut_off_and_empty(artefact: Path) -> None:
    content = artefact.read_bytes()
    for kept in (content[:-7], b""):
        artefact.write_bytes(kept)
        with pytest.raises(ArtefactError, match="the file is cut off or another one"):
            open_artefact(artefact)


def test_a_sidecar_that_was_changed(artefact: Path) -> None:
    sidecar = json.loads(sidecar_of(artefact).read_text())
    sidecar["card"]["classes"] = ["b", "a", "c"]
    sidecar_of(artefact).write_text(json.dumps(sidecar))
    with pytest.raises(ArtefactError, match="its seal does not hold"):
        open_artefact(artefact)


def test_a_sidecar_that_is_missing_or_none(artefact: Path) -> None:
    kept = sidecar_of(artefact)
    for text, said in (
        ("{", "cannot be read"),
        ("[" * 10_000, "cannot be read"),
        ("[]", "came 'list'"),
        ('{"version": 99}', "of version 1, came 99"),
        ('{"version": 1}', "without format, artefact"),
    ):
        kept.write_text(text)
        with pytest.raises(ArtefactError, match=said):
            open_artefact(artefact)
    kept.unlink()
    with pytest.raises(ArtefactError, match=f"expected {kept.name} beside it"):
        open_artefact(artefact)
    artefact.unlink()
    with pytest.raises(ArtefactError, match="no such file"):
        open_artefact(artefact)


def test_a_card_that_is_not_the_one_inside(artefact: Path) -> None:
    """Sealed again, as a careful hand does it: the card in the file itself still tells."""
    sidecar = read_sidecar(artefact)
    sidecar["card"]["classes"] = ["b", "a", "c"]
    write_sidecar(artefact, sidecar)
    with pytest.raises(ArtefactError, match="the card inside it is not the one"):
        open_artefact(artefact)


def test_a_certificate_that_failed_or_was_never_made(artefact: Path) -> None:
    sidecar = read_sidecar(artefact)
    write_sidecar(
        artefact, {**sidecar, "certificate": {"passed": False, "why": ["9 of 10 decisions differ"]}}
    )
    with pytest.raises(ArtefactError, match=r"its certificate failed .9 of 10 decisions differ"):
        open_artefact(artefact)
    write_sidecar(artefact, {**sidecar, "certificate": None})
    with pytest.raises(ArtefactError, match="never proven"):
        open_artefact(artefact)
    assert open_artefact(artefact, unproven=True).card.classes == ("a", "b", "c")


def test_another_kind_of_file(artefact: Path) -> None:
    """With the checksum of what lies there now: the runtime itself refuses it, and says so in words."""
    import hashlib

    content = b"\x00" * 64
    artefact.write_bytes(content)
    sidecar = read_sidecar(artefact) | {"bytes": 64, "sha256": hashlib.sha256(content).hexdigest()}
    write_sidecar(artefact, sidecar)
    with pytest.raises(ArtefactError, match=artefact.name):
        open_artefact(artefact)


def test_a_sidecar_of_another_form_is_named(make: Any, tmp_path: Path) -> None:
    """Sealed, as by somebody who knows how: nothing in it is relied on before it is looked at."""
    path = proven(make("mlp"), "safetensors", tmp_path)
    sidecar = read_sidecar(path)
    card, (port,) = sidecar["card"], sidecar["inputs"]
    preparation = card["preparation"]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"format": ["onnx"]}, "format: Input should be a valid string"),
        ({"format": "onx"}, "format 'onx' is not known"),
        ({"bytes": "many"}, "bytes: Input should be a valid integer"),
        ({"beside": {"..": "x"}}, "beside"),
        ({"beside": {"../../etc/passwd": "x"}}, "beside"),
        ({"beside": {"": "x"}}, "beside"),
        ({"certificate": "yes"}, "certificate"),
        ({"certificate": {"passed": False, "why": [1]}}, "certificate.why.0"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{**port, "dtype": "complex64"}]}, "inputs.0.dtype"),
        *(({"inputs": [{**port, "shape": [n, 1, 8, 8]}]}, "inputs.0.shape") for n in (0, -1, 10**18, 10**9, "x")),
        ({"inputs": [{**port, "shape": [None, 10**9, 8, 8]}]}, "expected an input uint8"),
        ({"inputs": [{**port, "shape": [None, 1, 8, 8], "dtype": "int64"}]}, "expected an input uint8"),
        ({"card": None}, "card: Input should be a valid dictionary"),
        ({"card": {**card, "classes": 3}}, "card.classes"),
        ({"card": {**card, "classes": ["a"]}}, "1 classes, but 3 outputs"),
        ({"card": {**card, "rule": [99, 0.5]}}, "card.rule: expected a class from 0 to 2"),
        ({"card": {**card, "strange_above": "x"}}, "card.strange_above"),
        ({"card": {**card, "preparation": {**preparation, "kind": ["x"]}}}, "cannot be read back"),
        ({"card": {**card, "preparation": {**preparation, "shape": [10**9] * 3}}}, "cannot be read back|expected an input"),
    ]  # fmt: skip
    for changes, said in wrong:
        write_sidecar(path, {**sidecar, **changes})
        with pytest.raises(ArtefactError, match=said) as raised:
            open_artefact(path)
        assert str(raised.value).startswith(str(sidecar_of(path))), changes


def resealed(path: Path, **changes: Any) -> None:
    """Writes the sidecar anew for what lies there now."""
    import hashlib

    content = path.read_bytes()
    now = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_sidecar(path, read_sidecar(path) | now | changes)


def test_weights_whose_facts_are_nonsense(make: Any, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load, save

    path = proven(make("mlp"), "safetensors", tmp_path)
    weights, card = load(path.read_bytes()), read_sidecar(path)["card"]
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["netwright"])
    no_recipe = {**card, "recipe": {"network": None}}
    for changes, said in (
        ({"temperature": 0}, "a temperature above 0"),
        ({"temperature": float("nan")}, "a temperature above 0"),
        ({"meaning": "votes"}, "came 'votes'"),
        ({"card": no_recipe}, "its network cannot be built again"),
    ):
        path.write_bytes(save(weights, metadata={"netwright": json.dumps({**told, **changes})}))
        resealed(path, card=changes.get("card", card))
        with pytest.raises(ArtefactError, match=said):
            open_artefact(path)
    # A header that says it takes 2 GB.
    path.write_bytes((2 << 30).to_bytes(8, "little") + path.read_bytes()[8:])
    resealed(path, card=card)
    with pytest.raises(ArtefactError, match="no weights with netwright's card"):
        open_artefact(path)


def test_onnx_that_reads_other_files_or_has_a_broken_card(make: Any, tmp_path: Path) -> None:
    import onnx

    path = proven(make("mlp"), "onnx", tmp_path)
    whole = onnx.load(path)
    outside = onnx.load(path)
    tensor = max(outside.graph.initializer, key=lambda one: len(one.raw_data))
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": "../../../../../../etc/passwd", "offset": "0", "length": str(size)}
    tensor.external_data.extend(
        onnx.StringStringEntryProto(key=key, value=value) for key, value in entries.items()
    )
    del whole.metadata_props[:]
    onnx.helper.set_model_props(whole, {"netwright": "{"})
    for model, said in ((outside, "onnxruntime cannot open it"), (whole, "the card in it is no JSON")):
        path.write_bytes(model.SerializeToString())
        resealed(path)
        with pytest.raises(ArtefactError, match=said):
            open_artefact(path)


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def test_a_pt2_that_would_execute_something_is_not_read(make: Any, tmp_path: Path, monkeypatch: Any) -> None:
    import hashlib

    monkeypatch.chdir(tmp_path)
    path = proven(make("mlp"), "pt2", tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    inputs = next(name for name in parts if "sample_inputs" in name)
    config = next(name for name in parts if name.endswith("weights_config.json"))
    written = io.BytesIO()
    torch.save(Trap(), written)
    entries = json.loads(parts[config])
    for payload in entries["config"].values():
        payload["use_pickle"] = True
    tensors = {name: pickle.dumps(Trap()) for name in parts if "/weights/weight_" in name}
    for changed in ({inputs: written.getvalue()}, {config: json.dumps(entries).encode(), **tensors}):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**parts, **changed}.items():
                archive.writestr(name, content)
        content = path.read_bytes()
        sidecar = read_sidecar(path) | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        write_sidecar(path, sidecar)
        with pytest.raises(
            ArtefactError, match=r"without executing it|pickled objects, which are never loaded"
        ):
            open_artefact(path)
        assert not (tmp_path / "trapped").exists()


def test_a_pt2_with_packed_parts_fills_no_memory(make: Any, tmp_path: Path) -> None:
    path = proven(make("mlp"), "pt2", tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    resealed(path)
    with pytest.raises(ArtefactError, match="its parts are packed"):
        open_artefact(path)


def test_a_class_of_ones_own_is_shipped_beside_its_weights(shipped_as: Any, tmp_path: Path) -> None:
    from netwright.data.preparation import FeaturePreparation

    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__()\n        self.only = nn.Linear(*input_shape, num_outputs)\n\n"
        "    def forward(self, x):\n        return self.only(x)\n"
    )
    from netwright.architectures import network

    name = f"{file}:Net"
    built = network(name, input_shape=(5,), num_outputs=3)
    ready = shipped_as(
        built, FeaturePreparation((5,)), torch.randn(7, 5), 3, False, {"network": {"name": name}}
    )
    out = tmp_path / "out"
    out.mkdir()
    path = out / "model.safetensors"
    sidecar = write_artefact("safetensors", Work(ready.shipped, ready.card, ready.raw, file=file), path)
    write_sidecar(path, {**sidecar, "certificate": {"passed": True}})
    file.unlink()
    moved = Path(shutil.move(out, tmp_path / "elsewhere")) / path.name
    torch.testing.assert_close(open_artefact(moved).forward(ready.raw)[0], ready.shipped(ready.raw)[0])
    (moved.parent / "model.py").write_text("raise SystemExit('executed')\n")
    with pytest.raises(ArtefactError, match=r"model\.py: its checksum is not the one"):
        open_artefact(moved)
