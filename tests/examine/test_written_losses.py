"""Losses that a program writes out itself: faults before and in them are found, and their look-alikes are not."""

from pathlib import Path

import pytest

from netwright.examine import Examination, Session

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
x = torch.randn(96, 8)
ids = x[:, :4].argmax(1)
hot = F.one_hot(ids, 4).float()
sign = torch.sign(x[:, :4])
soft = torch.softmax(x[:, 4:] * 2, 1)
body = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
"""
LOOP = """
optimizer = torch.optim.Adam(body.parameters(), lr=1e-3)
for step in range(4):
    for rows in torch.arange(96).split(24):
        out = body(x[rows])
        loss = {loss}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
PICK = "[torch.arange(len(rows)), ids[rows]]"


def program(loss: str, before: str = "") -> str:
    return before + LOOP.format(loss=loss)


LOSS = "loss = "
FAULTY = {  # code, name -> program, words of its line
    ("NW101", "log-softmax and a table"): (
        program("-(hot[rows] * out.softmax(1).log_softmax(1)).sum(1).mean()"),
        LOSS,
    ),
    ("NW101", "logsumexp"): (
        program(f"(out.logsumexp(1) - out{PICK}).mean()", "body.append(nn.Softmax(1))"),
        "Softmax(1)",
    ),
    ("NW101", "exp over its sum"): (
        program("F.cross_entropy(out.exp() / out.exp().sum(1, keepdim=True), ids[rows])").replace(
            "out.exp() / out.exp().sum", "(e := out.exp()) / e.sum"
        ),
        LOSS,
    ),
    ("NW103", "softplus"): (
        program("(F.softplus(out) - out * hot[rows]).mean()", "body.append(nn.Sigmoid())"),
        "Sigmoid()",
    ),
    ("NW103", "log-sigmoid of both signs"): (
        program("-F.logsigmoid(-out).mean()", "body.append(nn.Sigmoid())"),
        "Sigmoid()",
    ),
    ("NW104", "logsumexp"): (
        program(f"-(out - out.logsumexp(1, keepdim=True)){PICK}.mean()", "body.append(nn.ReLU())"),
        "ReLU()",
    ),
    ("NW104", "ReLU6"): (program("F.cross_entropy(out, ids[rows])", "body.append(nn.ReLU6())"), "ReLU6()"),
    ("NW105", "raw outputs"): (program(f"-out{PICK}.mean()"), LOSS),
    ("NW107", "probabilities of the true class"): (
        program(f"-(out{PICK} + 1e-8).log().mean()", "body.append(nn.Softmax(0))"),
        "Softmax(0)",
    ),
    ("NW107", "a map of classes"): (
        program(
            "F.nll_loss(out[:, :, None].expand(-1, -1, 3).log_softmax(0), ids[rows][:, None].expand(-1, 3))"
        ),
        LOSS,
    ),
    ("NW108", "cross-entropy"): (program("-(F.log_softmax(hot[rows], 1) * out).sum(1).mean()"), LOSS),
    ("NW108", "divergence inside a module"): (
        program(
            "own(out, soft[rows])",
            "class Own(nn.Module):\n    def forward(self, s, t):\n"
            "        return F.kl_div(t.softmax(1), s.log_softmax(1), reduction='sum')  # swapped\nown = Own()",
        ),
        "# swapped",
    ),
    ("NW109", "cosh"): (program("torch.log(torch.cosh(out[:, :1] - x[rows, 0])).mean()"), LOSS),
    ("NW109", "absolute, chosen on the same line"): (
        program("(out[:, :1] - x[:, 0][rows]).abs().mean()"),
        LOSS,
    ),
    ("NW111", "divergence"): (
        program("(soft[rows] * (soft[rows].log() - out.softmax(1))).sum(1).mean()"),
        LOSS,
    ),
    ("NW114", "both logarithms"): (
        program(
            "-(y * p.log() + (1 - y) * (1 - p).log()).mean()",
        ).replace(
            "        loss =", "        y, p = sign[rows], out.sigmoid().clamp(1e-4, 1 - 1e-4)\n        loss ="
        ),
        LOSS,
    ),
    ("NW114", "softplus"): (program("(F.softplus(out) - out * sign[rows]).mean()"), LOSS),
    ("NW203", "a target"): (
        program("(1 + (out[:, 0] - y[rows]) ** 2).sqrt().mean()", "y = x[:, 0].abs()\ny[61] = float('nan')"),
        "float('nan')",
    ),
    ("NW204", "counted from the end"): (
        program(f"-out.log_softmax(1){PICK}.mean()", "ids = ids - 1"),
        LOSS,
    ),
    ("NW204", "beyond the last"): (
        program("-out.log_softmax(1).gather(1, ids[rows][:, None]).mean()", "ids[60] = 4"),
        LOSS,
    ),
    ("NW204", "one_hot"): (program("F.cross_entropy(out, F.one_hot(ids[rows] + 1, 4).float())"), LOSS),
}
HEALTHY = {
    "log-softmax of logits": program("-(hot[rows] * out.log_softmax(1)).sum(1).mean()"),
    "entropy beside it": program(
        "F.cross_entropy(out, ids[rows]) - 0.01 * -(out.softmax(1) * out.log_softmax(1)).sum(1).mean()"
    ),
    "binary on logits": program("(F.softplus(out) - out * hot[rows]).mean()"),
    "binomial counts": program("(3 * F.softplus(out) - out * (hot[rows] * 3)).mean()"),
    "softplus as an activation after ReLU": program(
        "(F.softplus(out) - hot[rows]).pow(2).mean()", "body.append(nn.ReLU())"
    ),
    "positive targets of a ReLU": program("(out - hot[rows]).abs().mean()", "body.append(nn.ReLU())"),
    "negative ids that are masked": program(
        "-((z := out.log_softmax(1))[torch.arange(len(rows)), y[rows]] * (y[rows] >= 0)).mean()",
        "y = ids.clone()\ny[::5] = -1",
    ),
    "pairs on purpose": program("F.softplus(-(out[:, :1] - x[rows, 0])).mean()"),
    "policy gradient": program(f"-(out.log_softmax(1){PICK} * x[rows, 0]).mean()"),
    "values of actions": program(f"(out{PICK} - x[rows, 0]).pow(2).mean()"),
    "divergence": program("(soft[rows] * (soft[rows].log() - out.log_softmax(1))).sum(1).mean()"),
    "a softmax on the target": program("F.cross_entropy(out, soft[rows])"),
    "a softmax over the batch as attention": program(
        "F.cross_entropy(out + ((s := out).softmax(0) * s).sum(0), ids[rows])"
    ),
}


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
    assert session.result.notes == [] or session.result.crash
    assert not {code: why for code, why in session.result.not_run.items() if "the rule failed" in why}
    return session.result


@pytest.mark.parametrize(("code", "name"), FAULTY)
def test_found(code: str, name: str, tmp_path: Path) -> None:
    source, words = FAULTY[code, name]
    result = examined(source, tmp_path / "train.py")
    assert result.crash is None or code == "NW204", result.crash
    assert result.codes("error") == [code], str(result)
    line = next(finding.line for finding in result if finding.code == code)
    assert words in (HEAD + source).splitlines()[line - 1]


@pytest.mark.parametrize("name", HEALTHY)
def test_silent(name: str, tmp_path: Path) -> None:
    result = examined(HEALTHY[name], tmp_path / "train.py")
    assert result.crash is None, result.crash
    assert result.codes("error") == [], str(result)
