"""Optimizers without torch.compile's machinery: not imported, the same steps, and all as PyTorch has it once it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import sys, torch, netwright as nw
from torch import nn
from netwright.training.optimizers import make_optimizer, optimizers

def trained(optimizer, network, steps=3):
    x = torch.linspace(-1, 1, 40).reshape(10, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    return network

def made():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
"""


def run(code: str, folder: Path) -> str:
    ended = subprocess.run([sys.executable, "-c", HEAD + code], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_run_imports_neither_the_compiler_nor_scipy(tmp_path: Path) -> None:
    code = (
        "nw.fit('mlp', 'digits', epochs=1, quiet=True, out='run')\n"
        "print([name for name in ('torch._dynamo', 'sympy', 'sklearn', 'scipy') if name in sys.modules])"
    )
    assert run(code, tmp_path) == "[]"


@pytest.mark.parametrize("name", ["sgd", "sgd-nesterov", "adam", "adamw", "rmsprop", "nadam", "muon"])
def test_steps_and_states_are_the_same_with_the_compiler_and_without(name: str, tmp_path: Path) -> None:
    code = f"""
one = made()
optimizer = make_optimizer({name!r}, one)
trained(optimizer, one)
before = optimizer.state_dict()
assert "torch._dynamo" not in sys.modules
import torch._dynamo
trained(optimizer, one)
other = made()
optimizer = make_optimizer({name!r}, other)
trained(optimizer, other, 6)
assert same(one, other)
again = make_optimizer({name!r}, made())
again.load_state_dict(before)
print("same")
"""
    assert run(code, tmp_path) == "same"


def test_errors_closures_and_gradients_are_as_ever(tmp_path: Path) -> None:
    code = """
network = made()
optimizer = make_optimizer("sgd", network)
def closure():
    assert torch.is_grad_enabled()
    optimizer.zero_grad()
    loss = network(torch.ones(1, 4)).sum()
    loss.backward()
    return loss
assert optimizer.step(closure).requires_grad and torch.is_grad_enabled()
try:
    optimizer.step(lambda: 1 / 0)
except ZeroDivisionError:
    assert torch.is_grad_enabled()
weight = torch.ones(1, requires_grad=True)
by_steps = torch.optim.SGD([weight.clone()], lr=0.1, differentiable=True)
by_steps.param_groups[0]["params"][0].grad = torch.ones(1)
by_steps.step()
assert by_steps.param_groups[0]["params"][0].grad_fn is not None
assert torch.optim.SGD.step.__name__ == "step" and "closure" in torch.optim.SGD.step.__doc__
hooked = []
optimizer.register_step_post_hook(lambda *_: hooked.append(1))
optimizer.step()
assert hooked == [1] and "torch._dynamo" not in sys.modules
print("as ever")
"""
    assert run(code, tmp_path) == "as ever"


def test_what_is_compiled_afterwards_is_compiled(tmp_path: Path) -> None:
    code = """
network, plain = made(), made()
optimizer = make_optimizer("adam", network, fused=False, foreach=True)
trained(optimizer, network)
graphs = []
def counted(graph, inputs):
    graphs.append(graph)
    return graph.forward
compiled, step = torch.compile(network, backend=counted), torch.compile(optimizer.step, backend=counted)
x = torch.linspace(-1, 1, 40).reshape(10, 4)
for _ in range(3):
    optimizer.zero_grad()
    compiled(x).square().mean().backward()
    step()
trained(make_optimizer("adam", plain, fused=False, foreach=True), plain, 6)
assert "torch._dynamo" in sys.modules and len(graphs) >= 2, len(graphs)
print(all(torch.allclose(a, b, atol=1e-6) for a, b in zip(network.parameters(), plain.parameters(), strict=True)))
"""
    assert run(code, tmp_path) == "True"
