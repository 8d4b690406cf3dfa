"""At which line a finding points, and programs of the rules 4xx to 9xx that are found, or must not be."""

from pathlib import Path

import pytest

from netwright.examine import Examination, Session

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

HEAD = """
import random
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
torch.manual_seed(0)
"""


def examined(source: str, path: Path) -> Examination:
    path.write_text(HEAD + source)
    session = Session(script=str(path))
    session.attach()
    exec(compile(HEAD + source, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
    session.close("end")
    assert session.result.notes == []
    assert not {code: why for code, why in session.result.not_run.items() if "the rule failed" in why}
    return session.result


#: A small classifier; {before} stands between the network and its optimizer.
CLASSIFIER = """
inputs = torch.randn(128, 20)
labels = (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()
{before}
optimizer = torch.optim.{optimizer}
for step in range({steps}):
    optimizer.zero_grad()
    F.cross_entropy(net(inputs), labels).backward()
    optimizer.step()
"""


def classifier(before: str, optimizer: str = "Adam(net.parameters(), lr=1e-3)", steps: int = 8) -> str:
    return CLASSIFIER.format(before=before, optimizer=optimizer, steps=steps)


PLAIN = "net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))\n"
OWN_LAYER = """
class Affine(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.w = nn.Parameter({start})
        self.b = nn.Parameter(torch.zeros(after))
    def forward(self, x):
        return x @ self.w + self.b
net = nn.Sequential(Affine(20, 32), nn.Tanh(), Affine(32, 32), nn.Tanh(), Affine(32, 4))
"""
DEEP = """
def bend(x):
    return torch.sigmoid(x)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 32)
        self.hidden = nn.ModuleList(nn.Linear(32, 32) for _ in range(6))
        self.last = nn.Linear(32, 4)
        self.act = nn.Sigmoid()
    def forward(self, x):
        x = {act}(self.first(x))
        for layer in self.hidden:
            x = {act}(layer(x))
        return self.last(x)
net = Net()
"""
STEEP = """
class Bend(nn.Module):
    def __init__(self, steepness):
        super().__init__()
        self.steepness = steepness
    def forward(self, x):
        return {bend}
net = nn.Sequential(nn.Linear(20, 32), Bend({steepness}), nn.Linear(32, 4))
"""
CUT = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(20, 16), nn.ReLU()), nn.Linear(16, 4)
{forward}
net = Net()
"""
EPOCHS = """
inputs, labels = torch.randn(96, 8), torch.randint(0, 3, (96,))
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
def train(x, y):
    net.train()
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
def evaluate(rows):
    net.eval()
    with torch.no_grad():
        return (net(inputs[rows]).argmax(1) == labels[rows]).float().mean().item()
{epochs}
"""
BATCHES = "    for part in order.split(16):\n        train(inputs[part], labels[part])\n"
WEIGHTED = """
inputs = torch.randn(200, 6)
labels = (inputs[:, 0] > 0.2).long() + (inputs[:, 0] > 1.2).long()
counts = torch.bincount(labels)
net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
{weights}
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(8):
    optimizer.zero_grad()
    {loss}.backward()
    optimizer.step()
"""
PIXELS = """
class Images(Dataset):
    def __init__(self):
        self.pixels = torch.randint(0, 256, (128, 12, 12), dtype=torch.uint8)
        self.labels = (self.pixels.float().mean((1, 2)) > 127).long()
    def __len__(self):
        return len(self.labels)
    def __getitem__(self, index):
        image = {image}
        return image.float().unsqueeze(0), self.labels[index]
loader = DataLoader(Images(), batch_size=32, shuffle=True)
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
"""
SPREAD = """
class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(1, 32), nn.Linear(32, 1), nn.Linear(32, 1)
    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.mean(h), self.spread(h)
net = Both()
nn.init.normal_(net.spread.weight, std=0.5)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(60):
    x = torch.rand(48, 1) * 4 - 2
    y = torch.sin(2 * x) + 0.3 * torch.randn(48, 1)
    mean, spread = net(x)
    variance = {variance}
    loss = (torch.log(variance) + (y - mean) ** 2 / variance).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LONG = """
net, head = nn.RNN(1, 40, batch_first=True), nn.Linear(40, 1)
nn.init.orthogonal_(net.weight_hh_l0, gain=1.8)
nn.init.normal_(net.weight_ih_l0, std=0.3)
optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr={lr})
for step in range(30):
    x = torch.randn(32, 90 if step == 14 else 8, 1)
    loss = F.binary_cross_entropy_with_logits(head(net(x)[0][:, -1]), (x[:, -4:].sum(1) > 0).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GLITCHES = """
net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
for step in range(120):
    x = torch.randn(32, 4)
    y = x[:, :1] - x[:, 1:2] * x[:, 2:3]
    if step > 30 and step % 8 == 0:
        y[3] = 4000.0
    loss = F.mse_loss(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

#: name -> (code, what stands on the line, program)
FOUND = {
    "401 apply": (
        "NW401",
        "zeros_(m.weight)",
        classifier(
            "def start(m):\n    if isinstance(m, nn.Linear):\n        nn.init.zeros_(m.weight)\n        nn.init.zeros_(m.bias)\n"
            + PLAIN
            + "net.apply(start)"
        ),
    ),
    "401 data": (
        "NW401",
        "fill_(0.02)",
        classifier(PLAIN + "for p in net.parameters():\n    p.data.fill_(0.02)"),
    ),
    "401 own layer": ("NW401", "torch.full", classifier(OWN_LAYER.format(start="torch.full((before, after), 0.05)"))),
    "402 drawn": (
        "NW402",
        "p.uniform_(-4, 4)",
        classifier(PLAIN + "with torch.no_grad():\n    for p in net.parameters():\n        p.uniform_(-4, 4)"),
    ),
    "402 helper": (
        "NW402",
        "nn.init.normal_(tensor",
        classifier(
            "def draw(tensor):\n    nn.init.normal_(tensor, std=2.0)\n"
            + PLAIN
            + "for layer in net[::2]:\n    draw(layer.weight)"
        ),
    ),
    "402 scaled": (
        "NW402",
        "mul_(40)",
        classifier(PLAIN + "with torch.no_grad():\n    for layer in net[::2]:\n        layer.weight.mul_(40)"),
    ),
    "402 own layer": ("NW402", "3 * torch.randn", classifier(OWN_LAYER.format(start="3 * torch.randn(after, before)").replace("x @ self.w + self.b", "F.linear(x, self.w, self.b)").replace("Tanh", "ReLU"))),
    "404 gain": (
        "NW404",
        "2 * torch.sigmoid",
        classifier(STEEP.format(bend="2 * torch.sigmoid(self.steepness * x) - 1", steepness=80), steps=24),
    ),
    "404 written out": (
        "NW404",
        "1 / (1 + torch.exp",
        classifier(STEEP.format(bend="1 / (1 + torch.exp(-self.steepness * x))", steepness=25), steps=24),
    ),
    "503 function": ("NW503", "return torch.sigmoid(x)", classifier(DEEP.format(act="bend"), "SGD(net.parameters(), lr=0.1)", 60)),
    "503 layer": ("NW503", "self.act = nn.Sigmoid()", classifier(DEEP.format(act="self.act"), "SGD(net.parameters(), lr=0.1)", 60)),
    "504 weights jump": ("NW504", "optimizer.step()", LONG.format(lr=0.02)),
    "504 glitches": ("NW504", "optimizer.step()", GLITCHES),
    "605 decorator": (
        "NW605",
        "@torch.no_grad()",
        classifier(
            CUT.format(
                forward="    @torch.no_grad()\n    def features(self, x):\n        return self.body(x)\n"
                "    def forward(self, x):\n        return self.head(self.features(x))"
            )
        ),
    ),
    "605 with": (
        "NW605",
        "with torch.no_grad():",
        classifier(
            CUT.format(
                forward="    def forward(self, x):\n        with torch.no_grad():\n            x = self.body(x)\n        return self.head(x)"
            )
        ),
    ),
    "702 square": ("NW702", "torch.log(variance)", SPREAD.format(variance="spread ** 2")),
    "704 dataset": ("NW704", "// 255", PIXELS.format(image="self.pixels[index] // 255")),
    "704 weights of the module": (
        "NW704",
        "// (3 * counts)",
        WEIGHTED.format(
            weights="weight = len(labels) // (3 * counts)\nloss = nn.CrossEntropyLoss(weight=weight.float())",
            loss="loss(net(inputs), labels)",
        ),
    ),
    "704 weights of the function": (
        "NW704",
        "counts.min() //",
        WEIGHTED.format(
            weights="weight = (counts.min() // counts).float()",
            loss="F.cross_entropy(net(inputs), labels, weight=weight)",
        ),
    ),
    "905 helper": (
        "NW905",
        "    everything(7)",
        EPOCHS.format(
            epochs="def everything(seed):\n    random.seed(seed)\n    torch.manual_seed(seed)\neverything(1)\n"
            "loader = DataLoader(TensorDataset(inputs, labels), batch_size=16, shuffle=True)\n"
            "for epoch in range(4):\n    everything(7)\n    for x, y in loader:\n        train(x, y)\n"
        ),
    ),
    "905 own generator": (
        "NW905",
        "random.Random(3)",
        EPOCHS.format(
            epochs="for epoch in range(5):\n    order = list(range(96))\n    random.Random(3).shuffle(order)\n"
            "    order = torch.tensor(order)\n" + BATCHES + "    evaluate(slice(0, 40))\n"
        ),
    ),
    "905 numpy": (
        "NW905",
        "default_rng(3)",
        EPOCHS.format(
            epochs="for epoch in range(5):\n    order = torch.from_numpy(np.random.default_rng(3).permutation(96))\n"
            + BATCHES
        ),
    ),
}  # fmt: skip

NOT_FOUND = {
    "401 filled, then drawn": (
        "NW401",
        classifier(
            PLAIN + "for layer in net[::2]:\n    nn.init.zeros_(layer.weight)\n    nn.init.xavier_uniform_(layer.weight)"
        ),
    ),
    "404 gentle": ("NW404", classifier(STEEP.format(bend="2 * torch.sigmoid(self.steepness * x) - 1", steepness=2), steps=24)),
    "404 gate with a gain": (
        "NW404",
        classifier(
            "class Gated(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            "        self.a, self.g, self.out = nn.Linear(20, 32), nn.Linear(20, 32), nn.Linear(32, 4)\n"
            "        nn.init.normal_(self.g.weight, std=4.0)\n"
            "    def forward(self, x):\n        gate = 1 - torch.sigmoid(self.g(x))\n"
            "        return self.out(gate * self.a(x)) + self.out(gate)\nnet = Gated()",
            steps=24,
        ),
    ),
    "504 weights stay": ("NW504", LONG.format(lr=1e-6)),
    "501 glitches": ("NW501", GLITCHES),
    "605 frozen body": (
        "NW605",
        classifier(
            CUT.format(
                forward="    def forward(self, x):\n        with torch.no_grad():\n            x = self.body(x)\n        return self.head(x)"
            )
            + "net.body.requires_grad_(False)",
            "Adam(net.head.parameters(), lr=1e-3)",
        ),
    ),
    "702 floor": ("NW702", SPREAD.format(variance="spread ** 2 + 0.01")),
    "702 exponential": ("NW702", SPREAD.format(variance="torch.exp(spread)")),
    "704 dataset, divided": ("NW704", PIXELS.format(image="self.pixels[index] / 255")),
    "704 dataset, two levels": ("NW704", PIXELS.format(image="self.pixels[index] // 128")),
    "704 dataset, bytes on the way": ("NW704", PIXELS.format(image="(self.pixels[index] * 0.5).to(torch.uint8) / 127")),
    "704 weights, divided": (
        "NW704",
        WEIGHTED.format(
            weights="weight = len(labels) / (3 * counts)",
            loss="F.cross_entropy(net(inputs), labels, weight=weight)",
        ),
    ),
    "704 weights, whole": (
        "NW704",
        WEIGHTED.format(
            weights="weight = (counts.max() // counts).float()",
            loss="F.cross_entropy(net(inputs), labels, weight=weight)",
        ),
    ),
    "905 generator kept": (
        "NW905",
        EPOCHS.format(
            epochs="rng = np.random.default_rng(3)\nfor epoch in range(5):\n    order = torch.from_numpy(rng.permutation(96))\n"
            + BATCHES
        ),
    ),
    "905 another seed": (
        "NW905",
        EPOCHS.format(
            epochs="for epoch in range(5):\n    order = torch.from_numpy(np.random.default_rng(epoch).permutation(96))\n"
            + BATCHES
        ),
    ),
    "905 the same rows evaluated": (
        "NW905",
        EPOCHS.format(
            epochs="for epoch in range(5):\n"
            "    evaluate(torch.from_numpy(np.random.default_rng(3).permutation(96)[:30]))\n"
            "    for start in range(0, 96, 16):\n        train(inputs[start:start + 16], labels[start:start + 16])\n"
        ),
    ),
}  # fmt: skip


SPLIT = """
inputs, labels = torch.randn(160, 20), torch.randint(0, 3, (160,))
{networks}
def train(net, optimizer, epochs=1):
    net.train()
    for epoch in range(epochs):
        for part in torch.randperm(120).split(20):
            optimizer.zero_grad()
            F.cross_entropy(net(inputs[part]), labels[part]).backward()
            optimizer.step()
"""
DROPPED = "nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.4), nn.Linear(32, 3))"
FUNCTIONAL = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(20, 32), nn.Linear(32, 3)
    def forward(self, x):
        return self.second(F.dropout(F.relu(self.first(x)), 0.5, self.training))
net = Net()
optimizer = torch.optim.Adam(net.parameters())
"""
SCORED = """
for epoch in range(4):
    train(net, optimizer)
    {mode}
    with torch.no_grad():
        scores = net(inputs[120:]){numpy}
    print((scores.argmax(1) == labels[120:]{numpy}).mean())
"""
ENSEMBLE = """
for epoch in range(3):
    for net, optimizer in zip(nets, optimizers):
        train(net, optimizer)
    {mode}
    with torch.inference_mode():
        mean = sum(net(inputs[120:]).softmax(-1) for net in nets)
    print((mean.argmax(1) == labels[120:]).float().mean())
"""
NETS = f"nets = [{DROPPED}, {DROPPED}]\noptimizers = [torch.optim.Adam(net.parameters()) for net in nets]"
RESTORED = """
from contextlib import contextmanager
@contextmanager
def evaluating(net):
    {keep}
    try:
        with torch.no_grad():
            yield
    finally:
        net.train(was)
for epoch in range(3):
    for part in torch.randperm(120).split(20):
        optimizer.zero_grad()
        F.cross_entropy(net(inputs[part]), labels[part]).backward()
        optimizer.step()
    with evaluating(net):
        print((net(inputs[120:]).argmax(1) == labels[120:]).float().mean())
"""
ACTOR = """
actor, critic = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)), nn.Linear(4, 1)
first, second = torch.optim.Adam(actor.parameters()), torch.optim.Adam(critic.parameters())
for step in range(30):
    state = torch.randn(32, 4)
    drawn = torch.distributions.Categorical(logits=actor(state))
    action = drawn.sample()
    reward, value = (action == (state[:, 0] > 0)).float(), critic(state)[:, 0]
    first.zero_grad(); second.zero_grad()
    (((reward - value) ** 2).mean() - (drawn.log_prob(action) * (reward - value.detach())).mean()).backward()
    first.step()
    {second}
"""
REWRAPPED = """
for step in range(8):
    rows = F.cross_entropy(net(inputs), labels, reduction="none")
    terms = [(entry ** 2).item() for entry in rows]
    loss = {loss}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
SMALL = "net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3))\noptimizer = torch.optim.Adam(net.parameters())"
NUMPY = """
class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classes = nn.Linear(20, 8), nn.Parameter(torch.randn(4, 8))
    def forward(self, x):
        z = self.body(x)
        length = z.{cut}
        return torch.einsum("bd,kd->bk", {features}, self.classes)
net = Embedder()
"""
PHASES = """
import copy
train(net, optimizer, 4)
net.first = {new}
train(net, optimizer, 16)
"""
TWO = """
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(20, 16), nn.Linear(16, 3)
    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))
net = Two()
optimizer = torch.optim.Adam(net.parameters())
"""
LATER = """
for epoch in range(14):
    for part in torch.randperm(120).split(20):
        F.cross_entropy(net(inputs[part]), labels[part]).backward()
        {end}
"""
MASKS = """
net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, {channels}, 1))
pixels = torch.rand(48, 1, 8, 8)
masks = (pixels > 0.5).float()
optimizer = torch.optim.Adam(net.parameters())
for epoch in range(3):
    for part in torch.randperm(40).split(8):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(pixels[part])[:, -1:], masks[part]).backward()
        optimizer.step()
    with torch.no_grad():
        found = torch.max(net(pixels[40:]), dim=1)[1].bool()
    print((found & masks[40:, 0].bool()).sum())
"""

FOUND |= {
    "506 an equal net in its place": (
        "NW506",
        "torch.optim",
        SPLIT.format(networks=TWO) + PHASES.format(new="copy.deepcopy(net.first)"),
    ),
    "603 one of two": ("NW603", "backward()", ACTOR.format(second="pass")),
    "604 a list of numbers": (
        "NW604",
        "torch.tensor(terms",
        SPLIT.format(networks=SMALL) + REWRAPPED.format(loss="torch.tensor(terms, requires_grad=True).mean()"),
    ),
    "604 made to ask": (
        "NW604",
        "requires_grad_()",
        SPLIT.format(networks=SMALL)
        + REWRAPPED.format(loss="torch.as_tensor(np.mean(rows.detach().numpy())).requires_grad_()"),
    ),
    "605 numpy, unseen on its way back": (
        "NW605",
        "numpy()",
        classifier(NUMPY.format(cut="detach().numpy()", features="torch.from_numpy(length / np.linalg.norm(length))")),
    ),
    "801 dropout as a function, scored by numpy": (
        "NW801",
        "net(inputs[120:])",
        SPLIT.format(networks=FUNCTIONAL) + SCORED.format(mode="", numpy=".numpy()"),
    ),
    "801 one of an ensemble": (
        "NW801",
        "net(inputs[120:])",
        SPLIT.format(networks=NETS) + ENSEMBLE.format(mode="nets[0].eval()"),
    ),
    "802 restored to what eval() made it": (
        "NW802",
        "net.eval()",
        SPLIT.format(networks=f"net = {DROPPED}\noptimizer = torch.optim.Adam(net.parameters())")
        + RESTORED.format(keep="net.eval(); was = net.training"),
    ),
    "804 masks": ("NW804", "torch.max", MASKS.format(channels=1)),
}  # fmt: skip

NOT_FOUND |= {
    "506 both in the optimizer": (
        "NW506",
        SPLIT.format(networks=TWO)
        + PHASES.format(new="copy.deepcopy(net.first); optimizer = torch.optim.Adam(net.parameters())"),
    ),
    "603 both step": ("NW603", ACTOR.format(second="second.step()")),
    "604 stacked": (
        "NW604",
        SPLIT.format(networks=SMALL) + REWRAPPED.format(loss="torch.stack([entry ** 2 for entry in rows]).mean()"),
    ),
    "604 an input is sought": (
        "NW604",
        SPLIT.format(networks=SMALL)
        + """
train(net, optimizer)
net.requires_grad_(False)
start = net(inputs[:1]).max().item()
noise = torch.tensor([start] * 20, requires_grad=True)
for step in range(4):
    F.cross_entropy(net(inputs + noise), labels).backward()
net.requires_grad_(True)
train(net, optimizer)
""",
    ),
    "605 normalised, a constant from numpy": (
        "NW605",
        classifier(
            NUMPY.format(
                cut="detach().numpy()",
                features="z / torch.from_numpy(np.linalg.norm(length, axis=1, keepdims=True))",
            )
        ),
    ),
    "801 dropout as a function, told": (
        "NW801",
        SPLIT.format(networks=FUNCTIONAL) + SCORED.format(mode="net.eval()", numpy=".numpy()"),
    ),
    "801 many passes, averaged": (
        "NW801",
        SPLIT.format(networks=FUNCTIONAL)
        + SCORED.format(mode="", numpy=".numpy()").replace(
            "net(inputs[120:]).numpy()", "torch.stack([net(inputs[120:]) for _ in range(5)]).mean(0).numpy()"
        ),
    ),
    "801 an ensemble, told": (
        "NW801",
        SPLIT.format(networks=NETS) + ENSEMBLE.format(mode="[net.eval() for net in nets]"),
    ),
    "802 restored": (
        "NW802",
        SPLIT.format(networks=f"net = {DROPPED}\noptimizer = torch.optim.Adam(net.parameters())")
        + RESTORED.format(keep="was = net.training; net.eval()"),
    ),
    "804 two channels": ("NW804", MASKS.format(channels=2)),
    "602 two phases": (
        "NW602",
        SPLIT.format(networks=SMALL)
        + "train(net, optimizer, 4)\n"
        + LATER.format(end="optimizer.step(); optimizer.zero_grad()"),
    ),
}  # fmt: skip

FOUND |= {
    "602 in the second phase": (
        "NW602",
        "optimizer.zero_grad(); optimizer.step()",
        SPLIT.format(networks=SMALL)
        + "train(net, optimizer, 4)\n"
        + LATER.format(end="optimizer.zero_grad(); optimizer.step()"),
    ),
}  # fmt: skip

#: Attention over the positions of a sequence; {scores} become weights over dimension {dim}.
POOLED = """
class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.GRU(6, 16, batch_first=True)
        self.score = nn.Linear(16, 1)
        self.head = nn.Linear(16, 2)
    def forward(self, x):
        states, _ = self.encode(x)
        scores = self.score(torch.tanh(states))
        weights = torch.softmax({scores}, dim={dim})
        return self.head({pooled})
net = Pooled()
inputs = torch.randn(96, 10, 6)
labels = (inputs[:, :, 0].max(1).values > 1.5).long()
optimizer = torch.optim.Adam(net.parameters())
for epoch in range(3):
    for x, y in DataLoader(TensorDataset(inputs, labels), batch_size=12, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
"""
WEIGHTED = "(weights.unsqueeze(-1) * states).sum(1)"

#: Accuracy as one expression over a loader of {held}.
COMPREHENDED = """
def accuracy(loader):
    net.eval()
    with torch.no_grad():
        right = {expression}
    net.train()
    return float(right)
net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2))
inputs = torch.randn(300, 20)
labels = (inputs[:, 0] > 0).long()
optimizer = torch.optim.Adam(net.parameters())
trained = TensorDataset(inputs[:200], labels[:200])
held = TensorDataset({held})
for epoch in range(4):
    for x, y in DataLoader(trained, batch_size=20, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    score = accuracy(DataLoader(held, batch_size=50))
    print("test accuracy", score)
"""
LISTED = "torch.cat([net(x).argmax(1) == y for x, y in loader]).float().mean()"
SUMMED = "sum((net(x).argmax(1) == y).sum() for x, y in loader) / len(loader.dataset)"
SEEN, UNSEEN = "inputs[:200], labels[:200]", "inputs[200:], labels[200:]"

FOUND |= {
    "304 weights over the batch": (
        "NW304",
        "torch.softmax(",
        POOLED.format(scores="scores.squeeze(-1)", dim=0, pooled=WEIGHTED),
    ),
    "304 weights over the batch, time first": (
        "NW304",
        "torch.softmax(",
        POOLED.format(scores="scores.squeeze(-1).T", dim=1, pooled=WEIGHTED.replace("weights", "weights.T")),
    ),
    "804 masks, compared with 0": (
        "NW804",
        "torch.max",
        MASKS.format(channels=1).replace("[1].bool()", "[1] > 0"),
    ),
    "805 a list": ("NW805", "score =", COMPREHENDED.format(expression=LISTED, held=SEEN)),
    "805 a generator": ("NW805", "score =", COMPREHENDED.format(expression=SUMMED, held=SEEN)),
}  # fmt: skip
NOT_FOUND |= {
    "304 weights over the positions": (
        "NW304",
        POOLED.format(scores="scores.squeeze(-1)", dim=1, pooled=WEIGHTED),
    ),
    "304 weights over the positions, time first": (
        "NW304",
        POOLED.format(scores="scores.squeeze(-1).T", dim=0, pooled=WEIGHTED.replace("weights", "weights.T")),
    ),
    "304 one weight for each example": (
        "NW304",
        POOLED.format(scores="scores.mean(1)", dim=0, pooled="states.mean(1) * weights * len(weights)"),
    ),
    "304 examples compared with examples": (
        "NW304",
        POOLED.format(
            scores="states.mean(1) @ states.mean(1).T", dim=0, pooled="weights.T @ states.mean(1)"
        ),
    ),
    "804 the value itself": (
        "NW804",
        MASKS.format(channels=1).replace("[1].bool()", "[0] > 0"),
    ),
    "805 a list of others": ("NW805", COMPREHENDED.format(expression=LISTED, held=UNSEEN)),
    "805 a generator over others": ("NW805", COMPREHENDED.format(expression=SUMMED, held=UNSEEN)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_found_at_the_line(name: str, tmp_path: Path) -> None:
    code, text, source = FOUND[name]
    result = examined(source, tmp_path / "train.py")
    found = [finding for finding in result if finding.code == code]
    assert len(found) == 1, str(result)
    assert text in (HEAD + source).splitlines()[found[0].line - 1], (found[0].line, str(result))
    assert result.codes("error") in ([], [code]), str(result)


@pytest.mark.parametrize("name", NOT_FOUND)
def test_not_found(name: str, tmp_path: Path) -> None:
    code, source = NOT_FOUND[name]
    result = examined(source, tmp_path / "train.py")
    assert code not in [*result.codes(), *(finding.code for finding in result.attached)], str(result)
    assert result.codes("error") == [], str(result)
