import collections
import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

from netwright.architectures import BinaryStep, activations, network
from netwright.errors import NetwrightError
from netwright.source import (
    definitions,
    expression,
    extract,
    foreign,
    joined,
    layers_source,
    literal,
    qualified,
)
from netwright.training.losses import losses, make_loss
from netwright.training.optimizers import optimizer_arguments, optimizers, takes_network
from netwright.training.schedules import make_schedule, schedules, warmup_factor


def run(code, *needed):
    """What an ejected script sees: torch, nn, and the definitions that are printed with it."""
    scope = {"torch": torch, "nn": nn, "collections": collections, "functools": functools}
    if needed:
        exec(definitions(needed), scope)
    return eval(code, scope)


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a
    )


def test_expression_merges_partials_and_options():
    written = expression(optimizers["sgd-momentum"], {"lr": 0.1}, "network.parameters()")
    assert written == "torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)"
    written = expression(optimizers["sgd-momentum"], {"momentum": 0.5}, "{params}")
    assert written == "torch.optim.SGD({params}, momentum=0.5)"
    assert expression(functools.partial(nn.Softmax, 1), {}) == "nn.Softmax(1)"
    assert expression(losses["cross-entropy"], {}) == "nn.CrossEntropyLoss()"


@pytest.mark.parametrize("name", optimizers)
def test_every_optimizer_prints_as_code_that_makes_it(name):
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("torch.optim.Muon came with torch 2.9")
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    entry = optimizers[name]
    arguments = optimizer_arguments(name, net, weight_decay=0.1)
    written = expression(entry, arguments, "network" if takes_network(entry) else "network.parameters()")
    scope = {"torch": torch, "nn": nn, "network": net}
    exec(definitions([entry]), scope)
    made = eval(written, scope)
    expected = entry(net if takes_network(entry) else net.parameters(), **arguments)
    assert type(made).__name__ == type(expected).__name__
    assert str(made) == str(expected)


@pytest.mark.parametrize("name", schedules)
def test_every_schedule_prints_as_code_that_makes_it(name):
    def optimizer():
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)

    schedule = make_schedule(name, optimizer(), total_steps=20, steps_per_epoch=5)
    if schedule.scheduler is None:
        return
    written = expression(type(schedule.scheduler), schedule.arguments, "optimizer")
    scope = {"torch": torch, "functools": functools, "optimizer": optimizer()}
    exec("import math\n" + definitions([warmup_factor]), scope)
    made = eval(written, scope)
    states = [one.state_dict() for one in (made, schedule.scheduler)]
    assert states[0] == states[1]


def test_names_of_pytorchs_and_ones_own():
    assert qualified(nn.functional.mse_loss) == "nn.functional.mse_loss"
    assert qualified(BinaryStep) == "BinaryStep"
    with pytest.raises(NetwrightError, match="has no name to print"):
        qualified(lambda: 0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -0.1,
        float("inf"),
        "a'b",
        b"x",
        [1, [2.5]],
        (1,),
        (),
        {"a": (1, 2)},
        1 + 2j,
        torch.float16,
    ],
)
def test_literals_evaluate_to_themselves(value):
    assert eval(literal(value)) == value


def test_literal_tensors_are_exact():
    for tensor in (torch.randn(3, 2), torch.randn(2).double(), torch.tensor(3), torch.tensor([True])):
        again = eval(literal(tensor))
        assert torch.equal(again, tensor)
        assert again.dtype is tensor.dtype


def test_what_has_no_literal():
    with pytest.raises(NetwrightError, match=r"object .* cannot be printed as Python"):
        literal(object())


LAYERS = [
    lambda: nn.Linear(3, 2, bias=False),
    lambda: nn.Linear(3, 2, dtype=torch.float64),
    lambda: nn.Conv2d(2, 4, (3, 5), stride=2, padding="valid", bias=False, padding_mode="reflect"),
    lambda: nn.Conv2d(2, 4, 3, padding="same", groups=2, dilation=2),
    lambda: nn.ConvTranspose2d(2, 4, 3, output_padding=1, stride=2),
    lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=None, affine=False),
    lambda: nn.BatchNorm1d(3, track_running_stats=False),
    lambda: nn.LayerNorm((3, 4), elementwise_affine=False),
    lambda: nn.LayerNorm(3, bias=False),
    lambda: nn.GroupNorm(2, 4),
    lambda: nn.Embedding(5, 3, padding_idx=0, max_norm=1.0),
    lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1),
    lambda: nn.RNN(3, 4, nonlinearity="relu", bias=False),
    lambda: nn.GRU(3, 4),
    lambda: nn.MultiheadAttention(8, 2, bias=False, batch_first=True),
    lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=3),
    lambda: nn.MaxPool2d(2, ceil_mode=True),
    lambda: nn.AvgPool2d((2, 3), count_include_pad=False),
    lambda: nn.AdaptiveAvgPool2d((1, None)),
    lambda: nn.Flatten(2),
    lambda: nn.Unflatten(1, (2, 2)),
    lambda: nn.Dropout(0.1, inplace=True),
    lambda: nn.LeakyReLU(0.2),
    lambda: nn.ReLU(inplace=True),
    lambda: nn.PReLU(3, init=0.1),
    lambda: nn.GELU(approximate="tanh"),
    lambda: nn.Softmax(dim=1),
    lambda: nn.Identity(),
    lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    lambda: nn.Sequential(),
    lambda: nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Tanh(), nn.Linear(2, 2))),
    lambda: nn.Sequential(
        collections.OrderedDict([("first", nn.Linear(2, 2)), ("last", nn.Sequential(nn.ReLU()))])
    ),
]


@pytest.mark.parametrize("make", LAYERS)
def test_layers_print_as_code_that_makes_them_with_the_same_weights(make):
    torch.manual_seed(0)
    layer = make()
    state = torch.get_rng_state()
    written = layers_source(layer)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(0)
    again = run(written)
    assert repr(again) == repr(layer)
    assert equal(again, layer)
    assert vars_of(again) == vars_of(layer)


def vars_of(module):
    return [
        {key: value for key, value in vars(part).items() if isinstance(value, (int, float, str, tuple, bool))}
        for part in module.modules()
    ]


@pytest.mark.parametrize("name", activations)
def test_every_activation_prints(name):
    layer = activations[name]()
    needed = foreign(layer)
    assert needed == ([BinaryStep] if name == "binary-step" else [])
    again = run(layers_source(layer), *needed)
    inputs = torch.randn(3, 4)
    assert torch.equal(again(inputs), layer(inputs))


@pytest.mark.parametrize("name", ["mlp", "cnn"])  # those for texts: tests/architectures/test_text.py
def test_every_network_prints_and_has_the_same_weights(name):
    torch.manual_seed(4)
    made = network(
        name, input_shape=(1, 28, 28), num_outputs=10, dropout=0.2, batch_norm=True, activation="binary-step"
    )
    torch.manual_seed(4)
    again = run(layers_source(made), *foreign(made))
    assert equal(again, made)


def test_a_network_prints_as_people_write_it():
    made = network("mlp", input_shape=(1, 28, 28), num_outputs=10, hidden=[128, 64], dropout=0.5)
    assert layers_source(made) == (
        "nn.Sequential(\n"
        "    nn.Flatten(),\n"
        "    nn.Linear(784, 128),\n"
        "    nn.ReLU(),\n"
        "    nn.Dropout(),\n"
        "    nn.Linear(128, 64),\n"
        "    nn.ReLU(),\n"
        "    nn.Dropout(),\n"
        "    nn.Linear(64, 10),\n"
        ")"
    )


@pytest.mark.parametrize("name", losses)
def test_every_loss_prints(name):
    options = {"class_weights": [1, 2, 3]} if name in ("cross-entropy", "nll") else {}
    loss = make_loss(name, task="classification", num_classes=3, **options)
    again = run(layers_source(loss))
    assert repr(again) == repr(loss)
    outputs = torch.rand(4, 3)
    targets = torch.tensor([0, 1, 2, 1]) if options else torch.rand(4, 3)
    assert torch.equal(again(outputs, targets), loss(outputs, targets))


class Forgetful(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, width)


class Doubling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = 2 * width
        self.layer = nn.Linear(self.width, 1)


def test_layers_that_cannot_be_printed():
    with pytest.raises(NetwrightError, match=r"Forgetful does not keep its argument 'width'.*self.width"):
        layers_source(nn.Sequential(Forgetful(3)))
    with pytest.raises(
        NetwrightError, match=r"Doubling cannot be printed as code: made again with {'width': 6} it is"
    ):
        layers_source(Doubling(3))
    with pytest.raises(NetwrightError, match="ParametrizedLinear"):
        layers_source(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    shared = nn.Linear(2, 2)
    with pytest.raises(NetwrightError, match=r"the layer 2 \(Linear\) is used twice"):
        layers_source(nn.Sequential(shared, nn.ReLU(), shared))
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(NetwrightError, match="two layers share a weight"):
        layers_source(tied)


def test_definitions_leave_out_pytorchs_and_repetitions():
    assert definitions([nn.ReLU, torch.optim.SGD, functools.partial(nn.Softmax, dim=1)]) == ""
    assert definitions([BinaryStep, BinaryStep(), BinaryStep]).count("class BinaryStep") == 1


def test_definitions_without_a_source():
    with pytest.raises(NetwrightError, match="so its source cannot be printed alone"):
        definitions([lambda: 0])
    scope = {}
    exec("class Made: pass", scope)
    scope["Made"].__module__ = "nowhere"
    with pytest.raises(NetwrightError, match="has no source to print"):
        definitions([scope["Made"]])


SCRIPT = '''#!/usr/bin/env python
"""Trains."""
from __future__ import annotations
import os
import numpy as np, torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
print("side effect")

# The width of the hidden layer.
WIDTH = 6
DEPTH: int = 2
UNUSED = open("/no/such/file")
TABLE = {"relu": F.relu}
TABLE["tanh"] = torch.tanh
if WIDTH > 3:
    BIAS = True
else:
    BIAS = False
try:
    import no_such_module as fast
except ImportError:
    fast = None

def decorate(kind):
    kind.decorated = True
    return kind

class Base(nn.Module):
    def forward(self, x):
        loss = helper(self.inner(x))
        return loss

@decorate
class Net(Base):
    scale = DEPTH

    def __init__(self, width=WIDTH):
        super().__init__()
        self.inner = nn.Linear(4, width, bias=BIAS)

def helper(x):
    return TABLE["tanh"](x) * Net.scale * (1 if fast is None else 2)

def other():
    return os.environ["X"], np.zeros(3)

x = torch.zeros(1)
for epoch in range(3):
    loss = x * 2
    print("training")

if __name__ == "__main__":
    WIDTH = 1000
    print("main")
'''


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_extract_is_what_the_name_needs_and_nothing_else(script, capsys):
    text = extract(script, "Net")
    scope = {}
    exec(text, scope)
    assert capsys.readouterr().out == ""
    assert scope["Net"].decorated
    assert scope["Net"]()(torch.zeros(2, 4)).shape == (2, 6)
    assert text.startswith("from __future__ import annotations\n")
    assert "# The width of the hidden layer.\nWIDTH = 6" in text
    for absent in (
        "UNUSED",
        "manual_seed",
        "import os",
        "def other",
        "training",
        "__main__",
        "#!",
        "loss = x",
    ):
        assert absent not in text


def test_extract_keeps_the_order_and_weights(script):
    torch.manual_seed(0)
    expected = network(f"{_quiet(script)}:Net")
    scope = {}
    exec(extract(script, "Net"), scope)
    torch.manual_seed(0)
    assert equal(scope["Net"](), expected)


def _quiet(script):
    script.write_text(SCRIPT.replace('UNUSED = open("/no/such/file")\n', "").replace('print("', '("'))
    return script


def test_extract_of_several_names_and_of_a_constant(script):
    text = extract(script, "DEPTH", "other")
    assert "DEPTH: int = 2" in text and "def other" in text and "class Net" not in text
    assert "import numpy as np" in text


def test_extract_of_statements_that_share_a_line(tmp_path):
    path = tmp_path / "dense.py"
    path.write_text("import math; A = math.pi; print('no')\nB = A * 2\n")
    assert extract(path, "B") == "import math\n\nA = math.pi\nB = A * 2\n"


def test_extract_finds_neighbours(tmp_path):
    (tmp_path / "neighbour_of_net.py").write_text("WIDTH = 3\n")
    path = tmp_path / "net.py"
    path.write_text("from neighbour_of_net import WIDTH\nimport json\ndef f(): return WIDTH\n")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(extract(path, "f") + "print(f())\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_extract_with_a_star_import(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("from math import *\ndef f(): return cos(0)\n")
    scope = {}
    exec(extract(path, "f"), scope)
    assert scope["f"]() == 1


def test_extract_of_what_is_not_there(script, tmp_path):
    with pytest.raises(NetwrightError, match=r"script.py does not define 'Nett' at its top level"):
        extract(script, "Nett")
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(NetwrightError, match=r"broken.py:1: not valid Python"):
        extract(tmp_path / "broken.py", "f")


def test_definitions_of_a_persons_own_class_come_with_what_it_needs(script):
    made = network(f"{_quiet(script)}:Net")
    scope = {}
    exec(definitions([type(made)]), scope)
    assert scope["Net"]()(torch.zeros(2, 4)).shape == (2, 6)


def test_joined_keeps_strings_and_repeats_no_import():
    text = joined(
        "import torch\nfrom torch import nn\n",
        'from __future__ import annotations\nimport torch\n\nA = """a\n\n\n\n\nb"""\n',
        "import os; B = 1\n",
        "C = 2\n",
        "from torch import nn\n",
    )
    assert text.startswith("from __future__ import annotations\n\nimport torch\nfrom torch import nn\n\nA =")
    assert text.count("import torch\n") == 1
    assert 'a\n\n\n\n\nb"""' in text
    scope = {}
    exec(text, scope)
    assert (scope["B"], scope["C"], scope["nn"]) == (1, 2, nn)
    assert joined() == joined("", "\n") == ""
