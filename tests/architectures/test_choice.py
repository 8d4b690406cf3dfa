import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from netwright.architectures import network, networks
from netwright.errors import NetworkError, UnknownNameError

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, depth=1):
        super().__init__()
        self.flatten = nn.Flatten()
        self.first = nn.Linear(8, width)
        self.last = nn.Linear(width, 3)

    def forward(self, x):
        return self.last(self.first(self.flatten(x)).relu())

class Shaped(nn.Sequential):
    def __init__(self, num_outputs, input_shape, *, scale):
        super().__init__(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1], num_outputs))
        self.scale = scale

def make(width: int) -> nn.Module:
    return Net(width)

def not_a_network():
    return 3

class Faulty(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError("no luck")

ready = Net(5)
NUMBER = 3

class Data:
    pass

if __name__ == "__main__":
    raise SystemExit("trains")
"""


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture
def data():
    return SimpleNamespace(
        input_shape=(2, 4), num_outputs=3, task="classification", example=torch.zeros(1, 2, 4)
    )


def test_registered_name_gets_its_shapes_from_the_data(data):
    made = network("mlp", data, hidden=[6])
    assert (made[1].in_features, made[-1].out_features) == (8, 3)
    assert network("mlp", data, num_outputs=3, input_shape=[8], hidden=[])[1].in_features == 8


def test_example_may_be_a_pair(data):
    data.example = (data.example, torch.tensor([0]))
    assert network("mlp", data) is not None


def test_module_is_returned_as_it_is(data):
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    assert network(module, data) is module
    assert network(module) is module


def test_class_and_function(data):
    class Mine(nn.Sequential):
        def __init__(self, width):
            super().__init__(nn.Flatten(), nn.Linear(8, width), nn.Linear(width, 3))

    assert network(Mine, data, width=2)[1].out_features == 2
    assert network(lambda width: Mine(width), data, width=5)[1].out_features == 5


def test_registered_entries_of_ones_own(monkeypatch, data):
    monkeypatch.setitem(networks, "tiny", lambda input_shape, num_outputs, **rest: nn.Linear(4, num_outputs))
    assert network("tiny", input_shape=(4,), num_outputs=2, anything=1).out_features == 2
    monkeypatch.setitem(networks, "fixed", lambda width=2: nn.Sequential(nn.Flatten(), nn.Linear(8, 3)))
    assert network("fixed", data, width=3)[1].out_features == 3


def test_names_from_a_file(nets, data):
    assert network(f"{nets}:Net", data, width=7).first.out_features == 7
    assert network(f"{nets}:make", data, width=6).first.out_features == 6
    assert network(f"{nets}:ready", data).first.out_features == 5


def test_file_classes_get_the_shapes_that_they_ask_for(nets, data):
    made = network(f"{nets}:Shaped", data, scale=2)
    assert (made[1].in_features, made[1].out_features, made.scale) == (8, 3, 2)


def test_file_finds_its_neighbours_and_only_meanwhile(tmp_path, data):
    for folder, width in (("one", 5), ("two", 6)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "blocks_beside.py").write_text(f"WIDTH = {width}\n")
        (tmp_path / folder / "net.py").write_text(
            "from torch import nn\nfrom blocks_beside import WIDTH\n"
            "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(8, WIDTH), nn.Linear(WIDTH, 3))\n"
        )
    before = list(sys.path)
    assert network(f"{tmp_path}/one/net.py:make", data)[1].out_features == 5
    assert network(f"{tmp_path}/two/net.py:make", data)[1].out_features == 6
    assert sys.path == before


def test_relative_path(nets, data, monkeypatch):
    monkeypatch.chdir(nets.parent)
    assert network("nets.py:Net", data).first.out_features == 4


def test_file_that_was_changed_is_read_again(nets, data):
    network(f"{nets}:Net", data)
    nets.write_text(NETS.replace("width=4", "width=44"))
    assert network(f"{nets}:Net", data).first.out_features == 44


def failing(message, *arguments, error=NetworkError, **options):
    with pytest.raises(error) as caught:
        network(*arguments, **options)
    text = str(caught.value)
    assert message in text
    assert 1 <= len(text.splitlines()) <= 4


def test_unknown_names_and_options(data):
    failing("unknown network 'mpl': did you mean 'mlp'", "mpl", data, error=UnknownNameError)
    failing("unknown mlp option 'hiden': did you mean 'hidden'", "mlp", data, hiden=3, error=UnknownNameError)
    failing("needs input_shape and num_outputs: give data, or input_shape=... and num_outputs=...", "mlp")


def test_missing_file(tmp_path, nets):
    failing(f"no such file: {tmp_path}/nest.py (asked for by", f"{tmp_path}/nest.py:Net")
    failing("Did you mean nets.py?", f"{tmp_path}/nest.py:Net")
    failing("no such file: nowhere/net.py", "nowhere/net.py:Net")


def test_missing_name(nets):
    failing(f"write {nets}:Name. It defines: Net, Shaped, make, not_a_network, Faulty, Data", str(nets))
    failing(f"{nets} has no 'Nett': did you mean Net", f"{nets}:Nett")
    failing("it has: Net, Shaped, make", f"{nets}:xyzzy")


def test_file_that_is_not_python(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import torch\n\ndef f(:\n    pass\n")
    failing(f"{path}:3: not valid Python: invalid syntax", f"{path}:f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch\n1 / 0\n", "stopped while it was loaded: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "stopped while it was loaded: SystemExit: 3"),
        ("import no_such_module_anywhere\n", "No module named 'no_such_module_anywhere'"),
    ],
)
def test_file_that_stops(tmp_path, text, message):
    path = tmp_path / "stops.py"
    path.write_text(text)
    modules = set(sys.modules)
    failing(message, f"{path}:f")
    failing(f"at {path}:{text.count(chr(10))}", f"{path}:f")
    assert not {name for name in set(sys.modules) - modules if name.startswith("stops")}


def test_objects_that_are_no_network(nets, data):
    failing(
        "should be an nn.Module, or a class or function that makes one; it is a int", f"{nets}:NUMBER", data
    )
    failing("it is the class Data", f"{nets}:Data", data)
    failing("should make an nn.Module; it made a int", f"{nets}:not_a_network", data)
    failing("should be an nn.Module", 3, data)


def test_options_of_file_classes(nets, data):
    failing("Net option 'widht': did you mean 'width'", f"{nets}:Net", data, widht=3, error=UnknownNameError)
    failing(
        "missing a required argument: 'width'.\nIt takes (width: int); give what is missing as options",
        f"{nets}:make",
    )
    failing("missing a required", f"{nets}:Shaped", data)
    failing("already built, so it takes no options; got width", f"{nets}:ready", data, width=3)
    failing("already built, so it takes no options; got width", nn.Linear(1, 1), width=3)


def test_constructor_that_fails(nets, data):
    line = NETS.split("\n").index('        raise RuntimeError("no luck")') + 1
    failing(f"RuntimeError: no luck\nat {nets}:{line}", f"{nets}:Faulty", data)
    failing("could not be built with width='a'", f"{nets}:make", data, width="a")


def test_network_that_does_not_fit(nets, data):
    data.num_outputs = 10
    failing(
        "the network gives (1, 3) for one example, but (1, 10) is needed: 10 classes", f"{nets}:Net", data
    )
