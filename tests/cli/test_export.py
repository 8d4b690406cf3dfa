"""`netwright export` as a person uses it: a file, its proof, and what is said where there can be none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TINY = ("--epochs", 1, "--quiet", "--no-examine")


def test_onnx_from_run_to_stranger(netwright: Any, run: Path, folder: Path) -> None:
    import onnxruntime
    from sklearn.datasets import load_digits

    said = netwright("export", "run", "--to", "onnx", "--json")
    found = said.json
    assert said.stderr == ""
    certificate = found["certificate"]
    tested = netwright("test", "run", "--json").json["test"]
    assert found["artefact"] == "run/export/model.onnx" and (folder / found["artefact"]).is_file()
    assert (
        certificate["passed"] and certificate["equal_decisions"] == 1 and certificate["max_difference"] < 1e-5
    )
    assert certificate["accuracy_before"] == certificate["accuracy_after"] == tested["accuracy"]
    assert certificate["examples"] == sum(map(sum, tested["confusion"])), "the whole test part"
    assert set(certificate["latency_ms"]) >= {"one", "batch", "batch_size", "threads", "before"}
    sidecar = json.loads((folder / "run/export/model.onnx.json").read_text())
    assert sidecar["certificate"] == certificate and sidecar["card"]["test"]["accuracy"] == tested["accuracy"]
    assert sidecar["inputs"][0] | {"meaning": ""} == {
        "name": "input",
        "dtype": "uint8",
        "shape": [None, 1, 8, 8],
        "meaning": "",
    }

    # A stranger: onnxruntime and the pixels as they are in the files.
    session = onnxruntime.InferenceSession(str(folder / found["artefact"]))
    images = load_digits().images[:40].astype(np.uint8)[:, None]
    answered = session.run(["probabilities"], {"input": images})[0]
    assert answered.shape == (40, 10) and np.allclose(answered.sum(1), 1, atol=1e-5)
    rows = json.dumps(images.tolist())
    by_run = netwright("predict", "run", "-", "--json", stdin=rows).json
    by_file = netwright("predict", found["artefact"], "-", "--json", stdin=rows).json
    for one, other, row in zip(by_run, by_file, answered, strict=True):
        assert one["label"] == other["label"] == str(row.argmax())
        assert list(one["probabilities"].values()) == pytest.approx(
            list(other["probabilities"].values()), abs=1e-5
        )


def test_what_is_printed(netwright: Any, run: Path, folder: Path) -> None:
    said = netwright("export", "run", "--to", "pt2", "--out", "digits.pt2").stdout
    shape = re.sub(r"\d[\d,.e-]*", "#", said).splitlines()
    assert shape == [
        "digits.pt#  as tested  (# bytes, run by torch.export.load)",
        "  #% of # decisions equal; answers differ by # at most (probability)",
        "  accuracy # before, # after",
        "  one example # ms (PyTorch #), # at once # ms (PyTorch #), # threads",
    ]
    assert not list(folder.glob("**/.partly*"))
    netwright("export", "run", "--to", "pt2", "--out", "digits.pt2")  # its own artefact is written over


def test_safetensors_with_the_plain_class(netwright: Any, script: Any, run: Path, folder: Path) -> None:
    netwright("export", "run", "--to", "safetensors", "--out", "net.safetensors")
    (folder / "stranger.py").write_text(
        "import json, sys, torch\nfrom safetensors import safe_open\nfrom safetensors.torch import load_file\nfrom net import network\n"
        "told = json.loads(safe_open('net.safetensors', 'pt').metadata()['netwright'])\n"
        "assert told['meaning'] == 'logits'\n"
        "made = network().eval()\nmade.load_state_dict(load_file('net.safetensors'))\n"
        "how = json.load(open('net.safetensors.json'))['card']['preparation']\n"
        "x = (torch.full((1, 1, 8, 8), 7.0) / how['scale'] - how['mean'][0]) / how['std'][0]\n"
        "print(json.dumps((made(x) / told['temperature']).softmax(1)[0].tolist()))\n"
    )
    found = script("stranger.py").json
    want = netwright("predict", "run", "-", "--json", stdin=json.dumps([[[7] * 8] * 8])).json[0]
    assert found == pytest.approx(list(want["probabilities"].values()), abs=1e-6)


def test_int8_states_what_it_costs(netwright: Any, run: Path) -> None:
    found = netwright("export", "run", "--to", "onnx", "--int8", "--json", code=None)
    assert found.code in (0, 1) and found.json["artefact"] == "run/export/model.int8.onnx"
    certificate = found.json["certificate"]
    assert certificate["tolerance"]["decisions"] == 0.02 and certificate["max_difference"] > 0
    assert (
        (found.code == 0)
        == certificate["passed"]
        == (certificate["differing"] <= 0.02 * certificate["examples"])
    )


NET = """
import torch
from torch import nn

class Two(nn.Module):
    '''Answers otherwise where it is exported, as a network does whose code asks how it is run.'''
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.last = nn.Linear(64, num_outputs)
    def forward(self, x):
        found = self.last(x.flatten(1))
        return -found if torch.compiler.is_exporting() else found

class Chooses(Two):
    def forward(self, x):
        found = self.last(x.flatten(1))
        if found.max() > 3:
            return found * 2
        return found

class Rare(Two):
    def forward(self, x):
        return torch.digamma(self.last(x.flatten(1)).abs() + 1)
"""


def test_an_artefact_that_answers_otherwise_fails(netwright: Any, folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    netwright("fit", "digits", "--network", "net.py:Two", "--out", "run", *TINY)
    ended = netwright("export", "run", "--to", "pt2", "--json", code=1)
    certificate = ended.json["certificate"]
    assert not certificate["passed"] and certificate["equal_decisions"] < 0.5
    assert certificate["accuracy_after"] < certificate["accuracy_before"]
    assert "the certificate failed" in ended.stderr and "decisions differ" in ended.stderr
    refused = netwright("predict", ended.json["artefact"], "-", stdin="[]", code=2)
    assert "its certificate failed" in refused.stderr and "do not use it" in refused.stderr
    shown = netwright("export", "run", "--to", "pt2", code=1)
    assert "NOT as tested" in shown.stdout


def test_networks_that_a_format_cannot_hold(netwright: Any, folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    netwright("fit", "digits", "--network", "net.py:Chooses", "--out", "chooses", *TINY)
    said = netwright("export", "chooses", "--to", "pt2", code=2).stderr
    assert "depends on the values of an example" in said and "Traceback" not in said and "net.py" in said
    netwright("fit", "digits", "--network", "net.py:Rare", "--out", "rare", *TINY)
    said = netwright("export", "rare", "--to", "onnx", code=2).stderr
    assert "ONNX has no operation for digamma" in said and "use --to pt2" in said
    assert netwright("export", "rare", "--to", "pt2", "--json").json["certificate"]["passed"]
    assert not list((folder / "rare" / "export").glob("*.onnx*"))


def test_misuse(netwright: Any, run: Path, folder: Path) -> None:
    def refused(*arguments: Any) -> str:
        said = netwright("export", *arguments, code=2).stderr
        assert "Traceback" not in said
        return said

    assert "Missing option '--to'" in refused("run")
    assert "unknown format 'onx': did you mean 'onnx'?" in refused("run", "--to", "onx")
    assert "no folder nowhere" in refused("run", "--to", "onnx", "--out", "nowhere/model.onnx")
    assert "run is a folder: --out is the file" in refused("run", "--to", "onnx", "--out", "run")
    (folder / "mine.onnx").write_text("precious")
    assert "not written over" in refused("run", "--to", "onnx", "--out", "mine.onnx")
    assert (folder / "mine.onnx").read_text() == "precious"
    assert "/proc/model.onnx: cannot be written: " in refused(
        "run", "--to", "onnx", "--out", "/proc/model.onnx"
    )
    (folder / "run" / "export").write_text("")
    assert "run/export: cannot be made: File exists\nName another" in refused("run", "--to", "onnx")
    assert "--batch is at most 65,536 examples at a time" in refused("run", "--to", "onnx", "--batch", 10**12)
    assert "--int8 goes with --to onnx" in refused("run", "--to", "pt2", "--int8")
    assert "--tolerance is a share" in refused("run", "--to", "onnx", "--tolerance", 3)
    assert "--batch is a whole number" in refused("run", "--to", "onnx", "--batch", "many")
    assert "onnx2tf -i model.onnx" in refused("run", "--to", "tensorflow")
    (folder / "run" / "result.json").unlink()
    assert "is not finished" in refused("run", "--to", "onnx")
    assert "is not a run" in refused("nothing", "--to", "onnx")


@pytest.mark.parametrize("to", ["onnx", "pt2", "safetensors"])
def test_a_disk_that_is_full(netwright: Any, run: Path, folder: Path, to: str) -> None:
    said = netwright("export", "run", "--to", to, "--out", "model", code=2, limit=5000).stderr
    assert said == "netwright: model: cannot be written: File too large\n"
    assert [path.name for path in folder.iterdir()] == ["run"]


def test_an_exported_file_is_tested_as_its_run_is(netwright: Any, run: Path, folder: Path) -> None:
    netwright("export", "run", "--to", "pt2", "--out", "digits.pt2")
    want, found = (
        netwright("test", of, "--data", "digits", "--json").json["test"] for of in ("run", "digits.pt2")
    )
    assert found["accuracy"] == want["accuracy"] and found["confusion"] == want["confusion"]
    assert found["interval"] == want["interval"] and found["per_class"] == want["per_class"]
    shown = netwright("test", "digits.pt2", "--data", "digits").stdout
    assert "digits · mlp" in shown and f"{100 * want['accuracy']:.2f} %" in shown
    assert "--data SOURCE" in netwright("test", "digits.pt2", code=2).stderr
    (folder / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    assert "Traceback" not in netwright("test", "digits.pt2", "--data", "rows.csv", code=2).stderr
    assert "Traceback" not in netwright("test", "digits.pt2", "--data", "nowhere", code=2).stderr


def test_a_package_that_is_not_installed(netwright: Any, run: Path, folder: Path) -> None:
    (folder / "onnxruntime.py").write_text("raise ModuleNotFoundError('No module', name='onnxruntime')\n")
    said = netwright("export", "run", "--to", "onnx", code=2).stderr
    assert (
        said.startswith("netwright: ONNX needs the package onnxruntime")
        and "pip install 'netwright[onnx]'" in said
    )
    (folder / "litert_torch.py").write_text("raise ModuleNotFoundError('No module', name='litert_torch')\n")
    assert "pip install 'netwright[tflite]'" in netwright("export", "run", "--to", "tflite", code=2).stderr


def test_an_artefact_that_was_changed(netwright: Any, run: Path, folder: Path) -> None:
    netwright("export", "run", "--to", "pt2", "--out", "model.pt2")
    path = folder / "model.pt2"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    said = netwright("predict", "model.pt2", "-", stdin="[]", code=2).stderr
    assert (
        said == "netwright: model.pt2: its checksum is not the one in model.pt2.json: the file was changed\n"
    )


def test_a_language_model_is_refused(netwright: Any, folder: Path) -> None:
    (folder / "corpus.txt").write_text("to be or not to be\n" * 60)
    netwright(
        "fit", "corpus.txt", "--out", "run", *TINY, "--set", "text.length=8", "--set", "network.width=8"
    )
    said = netwright("export", "run", "--to", "onnx", code=2).stderr
    assert "answers token by token" in said and "netwright write run" in said


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_texts_and_tables_and_series(netwright: Any, folder: Path, to: str) -> None:
    rng = np.random.default_rng(0)
    lines = ["hour,load,size,kind,word,left"]
    for hour in range(300):
        size, kind = rng.normal(), str(rng.choice(["x", "y"]))
        left = "yes" if size > 0 else "no"
        word = "great film" if left == "yes" else "dull and long"
        lines.append(f"{hour},{np.sin(hour / 4):.3f},{size:.3f},{kind},{word} {hour % 9},{left}")
    (folder / "all.csv").write_text("\n".join(lines) + "\n")
    kinds = {
        "table": ("--target", "left", "--set", "network.hidden=[8]"),
        "numbers": ("--target", "size", "--set", "network.hidden=[8]"),
        "texts": ("--text", "word", "--target", "left"),
        "series": ("--target", "load", "--set", "series.horizon=3", "--set", "series.window=12"),
    }
    for name, asked in kinds.items():
        netwright("fit", "all.csv", *asked, *TINY, "--out", name)
        found = netwright("export", name, "--to", to, "--out", f"{name}.file", "--json").json["certificate"]
        score = "accuracy" if "accuracy_after" in found else "rmse"
        tested = netwright("test", name, "--json").json["test"]
        assert found["passed"] and found[f"{score}_before"] == tested[score], name
        assert found[f"{score}_after"] == pytest.approx(tested[score], rel=1e-5), name
        if to == "onnx":
            continue
        # On other data the file has the scores that the run has.
        again = [
            netwright("test", source, "--data", "all.csv", "--json").json["test"]
            for source in (name, f"{name}.file")
        ]
        for key, value in again[1].items():
            if isinstance(value, float):
                assert value == pytest.approx(again[0][key], rel=1e-3, abs=1e-5), (name, key)
        assert set(again[0]) - set(again[1]) <= {"loss", "two_classes", "beside", "skill"}, name
