"""`netwright.inspect`: what it gives, and what it says of what it cannot take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import netwright as nw
from netwright.errors import DataError, NetworkError, RecipeError
from netwright.inspecting import inspect_source

NETS = """
import torch
from torch import nn

class Convolutional(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

class Tokens(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(7, 4), nn.Flatten(), nn.LazyLinear(2))

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 4), nn.Linear(7, 2)
    def forward(self, row, token):
        return self.out(torch.cat([row, self.table(token).mean(1) if token.dim() == 2 else self.table(token)], 1))

class Wide(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Linear(4, width))

class Unshaped(nn.Module):
    def forward(self, x):
        return x.no_such_thing

number = 3
"""


@pytest.fixture
def nets(tmp_path: Path) -> str:
    (tmp_path / "nets.py").write_text(NETS)
    return str(tmp_path / "nets.py")


def test_printed_it_is_tree_and_tour_and_json_has_all_of_it() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    found = nw.inspect(network, torch.zeros(2, 4))
    text = repr(found)
    assert "67 parameters (268 bytes)" in text and "0 Linear" in text and "y = max(0, x)" in text
    content = json.loads(json.dumps(found.to_dict()))
    assert content["parameters"] == 67 and [stop["kind"] for stop in content["tour"]["stops"]] == [
        "Linear",
        "ReLU",
        "Linear",
    ]
    assert content["tree"]["children"][0]["outputs"] == [{"shape": [2, 8], "dtype": "float32"}]
    assert content["named_parameters"][1]["name"] == "0.bias"


def test_a_notebook_gets_html_that_stays_in_its_cell() -> None:
    view = nw.inspect(nn.Linear(4, 2), torch.zeros(1, 4))._repr_html_()
    assert view.startswith('<div class="netwright-tour">') and view.rstrip().endswith("</div>")
    assert "<html" not in view and "<script" not in view and "@scope (.netwright-tour)" in view


@pytest.mark.parametrize(
    ("thing", "said"),
    [(nn.Linear, "make one first, Linear"), ("mlp", "not a str"), (None, "not a NoneType")],
)
def test_what_is_no_network(thing: object, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        nw.inspect(thing, torch.zeros(1))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "shape"), [("Convolutional", (1, 3, 32, 32)), ("Tokens", (1, 16))])
def test_a_shape_is_guessed_and_said(nets: str, name: str, shape: tuple[int, ...]) -> None:
    found = inspect_source(f"{nets}:{name}")
    assert found.structure.inputs[0].shape == shape
    assert any("is guessed from the first layer" in note for note in found.notes)


def test_shapes_of_several_inputs(nets: str) -> None:
    found = inspect_source(f"{nets}:Pair", shape="3, 1:int", options={})
    assert [spec.dtype for spec in found.structure.inputs] == ["float32", "int64"]
    with pytest.raises(NetworkError, match="refused"):
        inspect_source(f"{nets}:Pair", shape="3")


def test_a_network_that_takes_one_example_only_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "from torch import nn\n\nclass One(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Linear(4, 2))\n"
        "    def forward(self, x):\n        return super().forward(x.view(1, 4))\n"
    )
    found = inspect_source(f"{tmp_path}/one.py:One")
    assert found.together is None and any(
        "but not 3 at once: the network, One" in note for note in found.notes
    )


def test_an_inspection_takes_two_forward_passes(tmp_path: Path) -> None:
    calls = []
    network = nn.Sequential(nn.Linear(4, 2))
    network.register_forward_hook(lambda *_: calls.append(1))
    nw.inspect(network, torch.zeros(1, 4))
    assert len(calls) == 1
    counted = "from pathlib import Path\nfrom torch import nn\n\nnetwork = nn.Sequential(nn.Linear(4, 2))\n"
    counted += f"calls = Path({str(tmp_path / 'calls')!r})\n"
    counted += "network.register_forward_hook(lambda *_: calls.write_text((calls.read_text() if calls.exists() else '') + 'x') and None)\n"
    (tmp_path / "count.py").write_text(counted)
    found = inspect_source(f"{tmp_path}/count.py:network", shape="4")
    assert found.together is not None and found.together.stops[0].given.shape == (3, 2)
    assert (tmp_path / "calls").read_text() == "xx"


def test_arguments_of_the_class(nets: str) -> None:
    assert inspect_source(f"{nets}:Wide", options={"width": 9}).structure.parameters == 45
    with pytest.raises(NetworkError, match="missing a required argument: 'width'"):
        inspect_source(f"{nets}:Wide")


def test_an_example_from_a_file(nets: str, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "rot ü.png")
    found = inspect_source(f"{nets}:Convolutional", example=tmp_path / "rot ü.png")
    assert found.structure.inputs[0].shape == (1, 3, 10, 20) and found.tour.stops[0].taken.high == 1.0
    torch.save((torch.zeros(2, 3), torch.tensor([1, 4])), tmp_path / "pair.pt")
    assert inspect_source(f"{nets}:Pair", example=tmp_path / "pair.pt").structure.outputs[0].shape == (2, 2)


def test_examples_that_cannot_be(nets: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04rubbish")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    for name in ("text.png", "broken.pt", "module.pt"):
        with pytest.raises(DataError, match="cannot be read as an example"):
            inspect_source(f"{nets}:Convolutional", example=tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        inspect_source(f"{nets}:Convolutional", example=tmp_path / "none.png")


@pytest.mark.parametrize("shape", ["", "1x", "1x-2", "axb", "0x3", "1x2:word", "28*28"])
def test_shapes_that_are_none(nets: str, shape: str) -> None:
    with pytest.raises(RecipeError, match="--input is a shape without N"):
        inspect_source(f"{nets}:Convolutional", shape=shape)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Unshaped", "its first layer does not tell"),
        ("number", "should be an nn.Module"),
        ("Convolutonal", "did you mean Convolutional"),
    ],
)
def test_files_that_hold_no_such_network(nets: str, name: str, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        inspect_source(f"{nets}:{name}")
