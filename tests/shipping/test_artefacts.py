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


@pytest.fixture(params=["onnx", "pt2", "safetensors"])
def artefact(request: Any, make: Any, tmp_path: Path) -> Path:
    """A proven artefact of a small network."""
    return proven(make("mlp"), request.param, tmp_path)


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
