"""Look-alikes of the rules about layers, initial values and activations: what must be found, and what must not."""

from pathlib import Path

import pytest

from netwright.examine import Examination, Session

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

HEAD = """
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
"""


def examined(source: str, path: Path) -> Examination:
    path.write_text(HEAD + source)
    session = Session(script=str(path))
    session.attach()
    try:
        exec(compile(HEAD + source, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
    except Exception as error:
        session.close("crash", script_exit=1, error=error)
    finally:
        session.close("end")
    assert session.result.notes == []
    failed = {code: why for code, why in session.result.not_run.items() if "the rule failed" in why}
    assert not {code for code in failed if code.startswith(("NW3", "NW4"))}, failed
    return session.result


def indented(text: str) -> str:
    return "\n".join("        " + line for line in text.strip().splitlines())


# -- NW304 -----------------------------------------------------------------------------------------------------------

SEQUENCES = """
inputs, labels = torch.randn({shape}), torch.randint(0, 3, (24,))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
{init}
        self.head = nn.LazyLinear(3)
    def forward(self, x):
{forward}
        return self.head(x)
net = Net()
net({first})
optimizer = torch.optim.Adam(net.parameters())
{loop}
"""
WHOLE = "for i in range(3):\n    optimizer.zero_grad(); F.cross_entropy(net(inputs), labels).backward(); optimizer.step()"
LOADER = (
    "for x, y in DataLoader(TensorDataset(inputs, labels), batch_size=8, shuffle=True):\n"
    "    optimizer.zero_grad(); F.cross_entropy(net({x}), y).backward(); optimizer.step()"
)
DRAWN = (
    "for i in range(3):\n    b = torch.randperm(24)[:8]\n"
    "    optimizer.zero_grad(); F.cross_entropy(net(inputs[b]), labels[b]).backward(); optimizer.step()"
)


def sequences(init: str, forward: str, loop: str, shape: str = "24, 10, 6", first: str = "inputs") -> str:
    return SEQUENCES.format(
        shape=shape, init=indented(init), forward=indented(forward), loop=loop, first=first
    )


MIXED = {
    "whole data, lstm": sequences("self.r = nn.LSTM(6, 8)", "x = self.r(x)[0][:, -1]", WHOLE),
    "same sizes, loader": sequences(
        "self.r = nn.GRU(6, 8)", "x = self.r(x)[0][:, -1]", LOADER.format(x="x"), "24, 8, 6"
    ),
    "encoder": sequences(
        "self.p = nn.Linear(6, 8)\nlayer = nn.TransformerEncoderLayer(8, 2, 16)\nself.r = nn.TransformerEncoder(layer, 2)",
        "x = self.r(self.p(x) + torch.zeros(1, 10, 8)).mean(1)",
        WHOLE,
    ),
    "attention": sequences(
        "self.r = nn.MultiheadAttention(6, 2)", "x = self.r(x, x, x)[0].mean(1)", LOADER.format(x="x")
    ),
    "permuted and batch_first": sequences(
        "self.r = nn.LSTM(6, 8, batch_first=True)", "x = self.r(x.permute(1, 0, 2))[0][-1]", WHOLE
    ),
    "rows of a table": sequences("self.r = nn.LSTM(6, 8)", "x = self.r(x)[0]", LOADER.format(x="x"), "24, 6"),
    "rows of a table, unsqueezed": sequences(
        "self.r = nn.LSTM(6, 8)", "x = self.r(x.unsqueeze(1))[0].squeeze(1)", DRAWN, "24, 6"
    ),
    "states of both directions": sequences(
        "self.r = nn.LSTM(6, 8, batch_first=True, bidirectional=True)",
        "x = self.r(x)[1][0].view(x.size(0), -1)",
        DRAWN,
    ),
    "view for transpose": sequences("self.r = nn.LSTM(6, 8)", "x = self.r(x.view(10, -1, 6))[0][-1]", DRAWN),
    "view for transpose, before the net": sequences(
        "self.r = nn.LSTM(6, 8)",
        "x = self.r(x)[0][-1]",
        LOADER.format(x="x.view(10, -1, 6)"),
        first="inputs.view(10, 24, 6)",
    ),
    "image rows": sequences(
        "self.r = nn.LSTM(10, 8)", "x = self.r(x.reshape(-1, 10, 10))[0][:, -1]", DRAWN, "24, 1, 10, 10"
    ),
    "back to the batch": sequences(
        "self.r = nn.GRU(6, 8)",
        "x = self.r(x.transpose(0, 1))[0].reshape(x.size(0), -1)",
        LOADER.format(x="x"),
    ),
    "words": sequences(
        "self.e = nn.Embedding(20, 6)\nself.r = nn.GRU(6, 8)",
        "x = self.r(self.e(x.abs().long()))[0].mean(1)",
        WHOLE,
        "24, 10",
    ),
    "after convolutions": sequences(
        "self.c = nn.Conv1d(6, 5, 3)\nself.r = nn.GRU(5, 8)",
        "x = self.r(F.relu(self.c(x.transpose(1, 2))).permute(0, 2, 1))[0][:, -1]",
        DRAWN,
    ),
}
NOT_MIXED = {
    "batch first": sequences("self.r = nn.LSTM(6, 8, batch_first=True)", "x = self.r(x)[1][0][-1]", DRAWN),
    "time first": sequences("self.r = nn.LSTM(6, 8)", "x = self.r(x)[0][-1]", WHOLE, "10, 24, 6"),
    "turned in the loop": sequences(
        "self.r = nn.LSTM(6, 8)",
        "x = self.r(x)[0][-1]",
        LOADER.format(x="x.transpose(0, 1)"),
        first="inputs.transpose(0, 1)",
    ),
    "both directions": sequences(
        "self.r = nn.LSTM(6, 8, 2, bidirectional=True)",
        "h = self.r(x.permute(1, 0, 2))[1][0]\nx = h.view(2, 2, -1, 8)[-1].permute(1, 0, 2).reshape(x.size(0), -1)",
        DRAWN,
    ),
    "encoder": sequences(
        "self.r = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 16, batch_first=True), 1)",
        "x = self.r(x)[:, 0]",
        DRAWN,
    ),
    "encoder, time first": sequences(
        "self.r = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 16), 1)",
        "x = self.r(x.transpose(0, 1))[0]",
        DRAWN,
    ),
    "attention over the batch": sequences(
        "self.r = nn.MultiheadAttention(6, 2, batch_first=True)",
        "x = self.r(*[x.unsqueeze(0)] * 3)[0].squeeze(0)",
        DRAWN,
        "24, 6",
    ),
    "one sequence": sequences(
        "self.r = nn.LSTM(6, 8)", "x = self.r(x.view(len(x), 1, -1))[0].view(len(x), -1)", WHOLE, "24, 6"
    ),
    "one long series": sequences("self.r = nn.LSTM(6, 8)", "x = self.r(x)[0]", WHOLE, "24, 6"),
    "heads by hand": sequences(
        "self.q = nn.Linear(6, 18)",
        "q, k, v = self.q(x).view(*x.shape[:2], 3, 2, 3).permute(2, 0, 3, 1, 4)\n"
        "x = (q @ k.transpose(-2, -1)).softmax(-1) @ v\nx = x.transpose(1, 2).reshape(-1, 10, 6).mean(1)",
        LOADER.format(x="x"),
    ),
    "windows": sequences(
        "self.l = nn.Linear(6, 6)",
        "b, t, c = x.shape\nx = self.l(x.view(b, t // 2, 2, c).view(-1, 2, c))\nx = x.view(b, t // 2, 2, c).reshape(b, -1)",
        DRAWN,
    ),
    "time distributed": sequences(
        "self.l = nn.Linear(6, 5)\nself.r = nn.GRU(5, 8, batch_first=True)",
        "b, t, c = x.shape\nx = self.r(self.l(x.reshape(b * t, c)).view(b, t, -1))[0][:, -1]",
        LOADER.format(x="x"),
    ),
    "groups of the batch": sequences(
        "self.l = nn.Linear(60, 8)",
        "x = self.l(x.flatten(1))\ny = x.view(2, -1, 8)\nx = torch.cat([x, (y - y.mean(0)).view(-1, 8)], 1)",
        DRAWN,
    ),
    "a value for each step": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.r, self.v = nn.GRU(4, 8), nn.Linear(8, 1)
    def forward(self, x):
        return self.v(self.r(x)[0]).squeeze(-1)
net = Net()
optimizer = torch.optim.Adam(net.parameters())
for step in range(3):
    optimizer.zero_grad(); F.mse_loss(net(torch.randn(16, 8, 4)), torch.randn(16, 8)).backward(); optimizer.step()
""",
    "graph": sequences(
        "self.l = nn.Linear(6, 8)\nself.register_buffer('a', torch.rand(24, 24))",
        "x = F.relu(self.a @ self.l(x))",
        WHOLE,
        "24, 6",
    ),
    "sequence of windows": sequences(
        "self.r = nn.GRU(1, 8, batch_first=True)", "x = self.r(x.unsqueeze(-1))[0][:, -1]", DRAWN, "24, 10"
    ),
    "batch of pairs": sequences(
        "self.l = nn.Linear(60, 8)",
        "z = self.l(torch.cat([x, x.flip(1)]).flatten(1))\nx = z.view(2, -1, 8).mean(0)",
        DRAWN,
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_mixed_batch_is_found(name: str, tmp_path: Path) -> None:
    result = examined(MIXED[name], tmp_path / "train.py")
    assert result.crash is None
    assert result.codes("error") == ["NW304"], str(result)
    assert result[0].step == 0 and result[0].line


@pytest.mark.parametrize("name", NOT_MIXED)
def test_batches_that_only_look_mixed(name: str, tmp_path: Path) -> None:
    result = examined(NOT_MIXED[name], tmp_path / "train.py")
    assert result.crash is None
    assert "NW304" not in result.codes(), str(result)


# -- the other rules: (code, program) in which it must be found, or must not ------------------------------------------

TRAINED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
{init}
    def forward(self, x):
{forward}
net = Net()
{before}
optimizer = torch.optim.{optimizer}
inputs, labels = torch.randn({shape}), torch.randint(0, 4, (32,))
for step in range({steps}):
    net.train()
    optimizer.zero_grad()
    loss = {loss}
    loss.backward()
    optimizer.step()
{after}
"""


def net(init: str, forward: str, **others: object) -> str:
    given = {
        "shape": "32, 20",
        "steps": 12,
        "loss": "F.cross_entropy(net(inputs), labels)",
        "optimizer": "Adam(net.parameters())",
        "before": "",
        "after": "",
        **others,
    }
    return TRAINED.format(init=indented(init), forward=indented(forward), **given)


BY_HAND = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.i, self.h, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)
    def forward(self, x, state):
        for t in range(x.shape[1]):
            state = torch.tanh(self.i(x[:, t]) + self.h(state))
        return self.c(state), state
net = Net()
state = torch.zeros(16, 8)
for step in range(6):
    x, y = torch.randn(16, 5, 6), torch.randint(0, 4, (16,))
{body}
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * p.grad
"""


def by_hand(body: str) -> str:
    """Returns a recurrent network that is trained without an optimizer."""
    return BY_HAND.format(body="\n".join("    " + line for line in body.splitlines()))


FOUND = {
    "302 a shortcut that is never added": (
        "NW302",
        net(
            "self.a, self.c = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 4)\n"
            "self.s = nn.Sequential(nn.Conv2d(1, 8, 1), nn.BatchNorm2d(8))",
            "residual = F.relu(self.s(x))\nreturn self.c(F.relu(self.a(x)).mean((2, 3)))",
            shape="32, 1, 8, 8",
        ),
    ),
    "308 without an optimizer": (
        "NW308",
        by_hand(
            "out, state = net(x, state)\nnet.zero_grad()\nF.cross_entropy(out, y).backward(retain_graph=True)"
        ),
    ),
    "303 by name": (
        "NW303",
        net("self.a, self.b = nn.Linear(20, 30), nn.Linear(30, 4)", "return self.b(self.a(x))"),
    ),
    "303 convolution into linear": (
        "NW303",
        net(
            "self.a, self.b = nn.Conv2d(1, 8, 3), nn.Linear(8 * 36, 4)",
            "return self.b(self.a(x).flatten(1))",
            shape="32, 1, 8, 8",
        ),
    ),
    "303 two convolutions": (
        "NW303",
        net(
            "self.a, self.b, self.c = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)",
            "return self.c(F.relu(self.b(self.a(x))).mean((2, 3)))",
            shape="32, 1, 8, 8",
        ),
    ),
    "303 features and classifier": (
        "NW303",
        net(
            "self.f = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30)); self.c = nn.Linear(30, 4)",
            "return self.c(self.f(x))",
        ),
    ),
    "302 a whole block": (
        "NW302",
        net(
            "self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4)\nself.b = nn.Sequential(nn.Linear(30, 30), nn.ReLU())",
            "return self.c(F.relu(self.a(x)))",
        ),
    ),
    "302 the last of a list": (
        "NW302",
        net(
            "self.b = nn.ModuleList([nn.Linear(20, 20) for _ in range(4)]); self.c = nn.Linear(20, 4)",
            "for b in self.b[:-1]:\n    x = F.relu(b(x))\nreturn self.c(x)",
            optimizer="SGD(net.parameters(), lr=0.1)",
        ),
    ),
    "403 relu layers, convolutions": (
        "NW403",
        net(
            "self.a, self.r, self.c = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Linear(8, 4)\nnn.init.constant_(self.a.bias, -6.0)",
            "return self.c(self.r(self.a(x)).mean((2, 3)))",
            shape="32, 1, 8, 8",
        ),
    ),
    "403 method of the tensor, pooled": (
        "NW403",
        net(
            "self.a, self.c = nn.Conv2d(1, 8, 3), nn.Linear(72, 4)\nnn.init.constant_(self.a.bias, -6.0)",
            "return self.c(F.max_pool2d(self.a(x).relu(), 2).flatten(1))",
            shape="32, 1, 8, 8",
        ),
    ),
    "404 functional sigmoid": (
        "NW404",
        net(
            "self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4)\nnn.init.normal_(self.a.weight, std=4.0)",
            "return self.c(torch.sigmoid(self.a(x)))",
        ),
    ),
    "405 sign": (
        "NW405",
        net("self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4)", "return self.c(torch.sign(self.a(x)))"),
    ),
    "405 round on the output": (
        "NW405",
        net(
            "self.a = nn.Linear(20, 4)",
            "return torch.round(self.a(x))",
            loss="F.mse_loss(net(inputs), labels.float()[:, None].expand(-1, 4))",
        ),
    ),
    "405 hard gate": (
        "NW405",
        net(
            "self.g, self.a, self.c = nn.Linear(20, 30), nn.Linear(20, 30), nn.Linear(30, 4)",
            "return self.c(F.relu(self.a(x)) * (torch.sigmoid(self.g(x)) > 0.5))",
        ),
    ),
    "405 argmax into an embedding": (
        "NW405",
        net(
            "self.a, self.e, self.c = nn.Linear(20, 6), nn.Embedding(6, 8), nn.Linear(8, 4)",
            "return self.c(self.e(self.a(x).softmax(1).argmax(1)))",
        ),
    ),
    "306 on the logits": (
        "NW306",
        net(
            "self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4)",
            "return F.dropout(self.c(F.relu(self.a(x))), 0.5, self.training)",
        ),
    ),
    "306 layer on the logits": (
        "NW306",
        net(
            "self.a = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4), nn.Dropout(0.5))",
            "return self.a(x)",
        ),
    ),
    "306 nearly everything": (
        "NW306",
        net(
            "self.a = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(0.9), nn.Linear(30, 4))",
            "return self.a(x)",
        ),
    ),
    "305 images": (
        "NW305",
        net(
            "self.a, self.n, self.c = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)",
            "return self.c(F.relu(self.n(self.a(x))).mean((2, 3)))",
            shape="32, 1, 5, 5",
            loss="F.cross_entropy(net(inputs[step : step + 1]), labels[step : step + 1])",
        ),
    ),
    "309 sequence": (
        "NW309",
        net(
            "block = nn.Sequential(nn.Linear(20, 20), nn.ReLU())\nself.a = nn.Sequential(*[block] * 3)\nself.c = nn.Linear(20, 4)",
            "return self.c(self.a(x))",
        ),
    ),
    "402 growing": (
        "NW402",
        net(
            "self.a = nn.Sequential(*[m for i in range(5) for m in (nn.Linear(20 if i == 0 else 64, 64), nn.ReLU())], nn.Linear(64, 4))\n"
            "for p in self.a.parameters():\n    p.data.normal_(0, 1)",
            "return self.a(x)",
        ),
    ),
    "402 shrinking": (
        "NW402",
        net(
            "self.a = nn.Sequential(*[m for i in range(5) for m in (nn.Linear(20 if i == 0 else 64, 64), nn.Tanh())], nn.Linear(64, 4))\n"
            "for m in self.a:\n    if isinstance(m, nn.Linear):\n        nn.init.normal_(m.weight, std=0.005)\n        nn.init.zeros_(m.bias)",
            "return self.a(x)",
        ),
    ),
    "402 tied to an embedding": (
        "NW402",
        net(
            "self.e, self.c = nn.Embedding(50, 64), nn.Linear(64, 50, bias=False)\nself.c.weight = self.e.weight",
            "return self.c(F.layer_norm(self.e(x.abs().long()).mean(1), (64,)))",
        ),
    ),
    "308 shuffled": (
        "NW308",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.r, self.c, self.state = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 4), None
    def forward(self, x):
        out, state = self.r(x, self.state)
        self.state = tuple(s.detach() for s in state)
        return self.c(out[:, -1])
net = Net()
optimizer = torch.optim.Adam(net.parameters())
data = TensorDataset(torch.randn(64, 10, 6), torch.randint(0, 4, (64,)))
for x, y in DataLoader(data, batch_size=16, shuffle=True):
    optimizer.zero_grad(); F.cross_entropy(net(x), y).backward(); optimizer.step()
""",
    ),
    "308 by hand": (
        "NW308",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.i, self.h, self.c, self.state = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4), torch.zeros(16, 8)
    def forward(self, x):
        for t in range(x.shape[1]):
            self.state = torch.tanh(self.i(x[:, t]) + self.h(self.state))
        return self.c(self.state)
net = Net()
optimizer = torch.optim.Adam(net.parameters())
for step in range(4):
    x, y = torch.randn(16, 5, 6), torch.randint(0, 4, (16,))
    optimizer.zero_grad(); F.cross_entropy(net(x), y).backward(); optimizer.step()
""",
    ),
}
NOT_FOUND = {
    "403 ordinary": (
        "NW403",
        net(
            "self.a = nn.Sequential(*[m for i in range(6) for m in (nn.Linear(20 if i == 0 else 32, 32), nn.ReLU())], nn.Linear(32, 4))",
            "return self.a(x)",
        ),
    ),
    "403 sparse autoencoder": (
        "NW403",
        net(
            "self.a, self.c = nn.Linear(20, 90), nn.Linear(90, 20)\nnn.init.constant_(self.a.bias, -3.0)",
            "h = F.relu(self.a(x))\nreturn self.c(h), h",
            loss="(lambda o: F.mse_loss(o[0], inputs) + o[1].abs().mean())(net(inputs))",
        ),
    ),
    "403 hinge": (
        "NW403",
        net(
            "self.c = nn.Linear(20, 4)",
            "return self.c(x)",
            loss="F.relu(net(inputs) - 50).mean() + F.cross_entropy(net(inputs), labels)",
        ),
    ),
    "404 squeeze and excite": (
        "NW404",
        net(
            "self.a, self.g, self.c = nn.Linear(20, 30), nn.Linear(20, 30), nn.Linear(30, 4)\nnn.init.constant_(self.g.bias, 8.0)",
            "return self.c(F.relu(self.a(x)) * torch.sigmoid(self.g(x)))",
        ),
    ),
    "405 relu by hand": (
        "NW405",
        net(
            "self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4)",
            "h = self.a(x)\nreturn self.c(h * (h > 0))",
        ),
    ),
    "405 relu by hand, last layer at zero": (
        "NW405",
        net(
            "self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4)\nnn.init.zeros_(self.c.weight)",
            "h = self.a(x)\nreturn self.c(h * (h > 0).float())",
        ),
    ),
    "405 vector quantisation": (
        "NW405",
        net(
            "self.a, self.e, self.c = nn.Linear(20, 6), nn.Embedding(9, 6), nn.Linear(6, 4)",
            "z = self.a(x)\nq = self.e(torch.cdist(z, self.e.weight).argmin(1))\nreturn self.c(z + (q - z).detach()), z, q",
            loss="(lambda o: F.cross_entropy(o[0], labels) + F.mse_loss(o[1], o[2].detach()) + F.mse_loss(o[2], o[1].detach()))(net(inputs))",
        ),
    ),
    "405 policy gradient": (
        "NW405",
        net(
            "self.a = nn.Linear(20, 4)",
            "return self.a(x)",
            loss="(lambda d: -(d.log_prob(a := d.sample()) * (a == labels).float()).mean())"
            "(torch.distributions.Categorical(logits=net(inputs)))",
        ),
    ),
    "405 confident pseudo labels": (
        "NW405",
        net(
            "self.a = nn.Linear(20, 4)",
            "return self.a(x)",
            loss="(lambda o: (F.cross_entropy(o, o.argmax(1), reduction='none') * (o.softmax(1).max(1)[0] > 0.3).float()).mean())(net(inputs))",
        ),
    ),
    "306 hidden": (
        "NW306",
        net(
            "self.a = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 4))",
            "return self.a(x)",
        ),
    ),
    "306 denoising": (
        "NW306",
        net(
            "self.a = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 20))",
            "return self.a(F.dropout(x, 0.8, self.training))",
            loss="F.mse_loss(net(inputs), inputs)",
        ),
    ),
    "305 frozen": (
        "NW305",
        net(
            "self.a, self.n, self.c = nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)",
            "self.n.eval()\nreturn self.c(F.relu(self.n(self.a(x))))",
            loss="F.cross_entropy(net(inputs[step : step + 2]), labels[step : step + 2])",
        ),
    ),
    "305 odd last batch": (
        "NW305",
        net(
            "self.a, self.n, self.c = nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)",
            "return self.c(F.relu(self.n(self.a(x))))",
            loss="F.cross_entropy(net(inputs[: 2 if step % 4 == 3 else 16]), labels[: 2 if step % 4 == 3 else 16])",
        ),
    ),
    "309 siamese": (
        "NW309",
        net(
            "self.a, self.c = nn.Linear(10, 20), nn.Linear(20, 4)",
            "return self.c((self.a(x[:, :10]) - self.a(x[:, 10:])).abs())",
        ),
    ),
    "309 deep copies": (
        "NW309",
        net(
            "self.e = nn.TransformerEncoder(nn.TransformerEncoderLayer(20, 2, 20, batch_first=True), 3); self.c = nn.Linear(20, 4)",
            "return self.c(self.e(x[:, None])[:, 0])",
        ),
    ),
    "402 default, deep": (
        "NW402",
        net(
            "self.a = nn.Sequential(*[m for i in range(9) for m in (nn.Linear(20 if i == 0 else 64, 64), nn.ReLU())], nn.Linear(64, 4))",
            "return self.a(x)",
        ),
    ),
    "402 as in language models": (
        "NW402",
        net(
            "self.e = nn.TransformerEncoder(nn.TransformerEncoderLayer(20, 2, 20, batch_first=True), 4); self.c = nn.Linear(20, 4)\n"
            "for m in self.modules():\n    if isinstance(m, nn.Linear):\n        nn.init.normal_(m.weight, std=0.02)",
            "return self.c(self.e(x[:, None])[:, 0])",
        ),
    ),
    "402 sirens and large inputs": (
        "NW402",
        net(
            "self.a, self.c = nn.Linear(20, 64), nn.Linear(64, 4)", "return self.c(torch.sin(30 * self.a(x)))"
        ),
    ),
    "307 layer norm": (
        "NW307",
        net(
            "self.a = nn.Sequential(nn.Linear(20, 30), nn.LayerNorm(30), nn.ReLU(), nn.Linear(30, 4))",
            "return self.a(x)",
        ),
    ),
    "308 generator kept for its own step": (
        "NW308",
        """
G, D = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 20)), nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 1))
g, d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for step in range(6):
    fake, real = G(torch.randn(32, 8)), torch.randn(32, 20)
    d.zero_grad()
    (F.softplus(D(fake.detach())) + F.softplus(-D(real))).mean().backward()
    d.step()
    g.zero_grad()
    F.softplus(-D(fake)).mean().backward()
    g.step()
""",
    ),
    "303 metric learning": (
        "NW303",
        net(
            "self.a, self.b = nn.Linear(20, 30), nn.Linear(30, 4)",
            "e = self.a(x)\nreturn self.b(e), e",
            loss="F.cross_entropy(net(inputs)[0], labels) + net(inputs)[1].pow(2).mean()",
        ),
    ),
    "303 low rank": (
        "NW303",
        net(
            "self.a, self.b, self.c = nn.Linear(20, 5), nn.Linear(5, 30), nn.Linear(30, 4)",
            "return self.c(F.relu(self.b(self.a(x))))",
        ),
    ),
    "303 lora on a small head": (
        "NW303",
        net(
            "self.h = nn.Linear(20, 4).requires_grad_(False)\n"
            "self.a, self.b = nn.Linear(20, 8, bias=False), nn.Linear(8, 4, bias=False)",
            "return self.h(x) + 0.5 * self.b(self.a(x))",
            optimizer="Adam([p for p in net.parameters() if p.requires_grad])",
        ),
    ),
    "303 depthwise": (
        "NW303",
        net(
            "self.s, self.a, self.b = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)\nself.c = nn.Linear(16, 4)",
            "return self.c(F.relu(self.b(self.a(F.relu(self.s(x))))).mean((2, 3)))",
            shape="32, 1, 8, 8",
        ),
    ),
    "303 mixer": (
        "NW303",
        net(
            "self.a, self.b, self.c = nn.Linear(6, 12), nn.Linear(10, 10), nn.Linear(12, 4)",
            "x = self.b(self.a(x).transpose(1, 2)).transpose(1, 2)\nreturn self.c(F.gelu(x).mean(1))",
            shape="32, 10, 6",
        ),
    ),
    "303 generator into discriminator": (
        "NW303",
        net(
            "self.g = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30))\n"
            "self.d = nn.Sequential(nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 4))",
            "return self.d(self.g(x))",
        ),
    ),
    "302 used later for the loss alone": (
        "NW302",
        net(
            "self.a, self.c = nn.Linear(20, 30), nn.Linear(30, 4); self.proto = nn.Embedding(4, 30)",
            "e = F.relu(self.a(x))\nreturn self.c(e) + e @ self.proto.weight.t()",
        ),
    ),
    "302 head for evaluation": (
        "NW302",
        net(
            "self.a, self.c, self.p = nn.Linear(20, 30), nn.Linear(30, 4), nn.Linear(30, 2)",
            "e = F.relu(self.a(x))\nreturn self.c(e) if self.training else self.p(e)",
            after="    if step % 4 == 3:\n        net.eval()\n        with torch.no_grad(): print(net(inputs).argmax(1).sum())",
        ),
    ),
    "302 a head that runs along for the evaluation": (
        "NW302",
        net(
            "self.a, self.c, self.p = nn.Linear(20, 30), nn.Linear(30, 4), nn.Linear(30, 2)",
            "e = F.relu(self.a(x))\nreturn self.c(e), self.p(e)",
            loss="F.cross_entropy(net(inputs)[0], labels)",
            after="    if step % 4 == 3:\n        net.eval()\n        with torch.no_grad(): print(net(inputs)[1].argmax(1).sum())",
        ),
    ),
    "302 a head that is only watched": (
        "NW302",
        net(
            "self.a, self.c, self.p = nn.Linear(20, 30), nn.Linear(30, 4), nn.Linear(30, 1)",
            "e = F.relu(self.a(x))\nself.level = self.p(e).mean().item()\nreturn self.c(e)",
        ),
    ),
    "308 without an optimizer, cut": (
        "NW308",
        by_hand(
            "out, state = net(x, state.detach())\nnet.zero_grad()\nF.cross_entropy(out, y).backward(retain_graph=True)"
        ),
    ),
    "308 without an optimizer, two losses of one state": (
        "NW308",
        by_hand(
            "out, _ = net(x, state)\nnet.zero_grad()\nF.cross_entropy(out, y).backward(retain_graph=True)\n"
            "(net.c(_) ** 2).mean().backward()"
        ),
    ),
    "302 frozen copy": (
        "NW302",
        net(
            "self.a, self.c, self.old = nn.Linear(20, 30), nn.Linear(30, 4), nn.Linear(30, 4).requires_grad_(False)",
            "return self.c(F.relu(self.a(x)))",
        ),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, tmp_path: Path) -> None:
    code, source = FOUND[name]
    result = examined(source, tmp_path / "train.py")
    assert result.crash is None or code == "NW308", result.crash  # PyTorch stops at some of these
    found = [finding for finding in result if finding.code == code]
    assert len(found) == 1, str(result)
    assert found[0].line
    assert result.codes("error") in ([], [code]), str(result)


@pytest.mark.parametrize("name", NOT_FOUND)
def test_not_found(name: str, tmp_path: Path) -> None:
    code, source = NOT_FOUND[name]
    result = examined(source, tmp_path / "train.py")
    assert result.crash is None, result.crash
    assert code not in result.codes(), str(result)
    assert result.codes("error") == [], str(result)
