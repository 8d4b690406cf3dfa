"""Programs of several phases, long quiet runs, and what is not the program's own doing."""

import itertools
import json
import math
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright.examine import examine, rules
from netwright.examine.judge import Judge
from netwright.examine.observation import Observation

INPUTS, OTHERS, LABELS = torch.randn(64, 8), torch.randn(64, 8), torch.randint(0, 3, (64,))


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 60) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(INPUTS), LABELS).backward()
        optimizer.step()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))


def test_a_head_replaced_behind_the_optimizer_in_a_second_phase() -> None:
    with examine() as findings:
        net = network()
        train(net, torch.optim.Adam(net.parameters(), lr=1e-3))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        net[2] = nn.Linear(16, 3)
        train(net, optimizer)
    assert findings.codes("error") == ["NW506"]
    assert findings[0].step == 60


def test_a_head_replaced_before_the_optimizer_in_a_second_phase() -> None:
    with examine() as findings:
        net = network()
        train(net, torch.optim.Adam(net.parameters(), lr=1e-3))
        net[2] = nn.Linear(16, 3)
        train(net, torch.optim.Adam(net.parameters(), lr=1e-3))
    assert findings.codes("error") == []


def test_a_frozen_body_in_the_optimizer_of_a_second_phase() -> None:
    with examine() as findings:
        body, head = network(), nn.Linear(3, 3)
        train(body, torch.optim.Adam(body.parameters(), lr=1e-3))
        body.requires_grad_(False)
        train(nn.Sequential(body, head), torch.optim.Adam(body.parameters(), lr=1e-3))
    assert findings.codes("error") == ["NW507"] and findings[0].consequences == ("NW505",)


def test_a_probe_on_a_frozen_body_in_a_second_phase() -> None:
    with examine() as findings:
        body, head = network(), nn.Linear(3, 3)
        train(body, torch.optim.Adam(body.parameters(), lr=1e-3))
        body.requires_grad_(False)
        train(nn.Sequential(body, head), torch.optim.Adam(head.parameters(), lr=1e-3))
    assert findings.codes("error") == []


@pytest.mark.parametrize("losses", [1, 2])
def test_every_backward_of_a_long_run_is_counted(losses: int) -> None:
    with examine() as findings:
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(437):
            optimizer.zero_grad()
            for _ in range(losses):
                F.cross_entropy(net(INPUTS), LABELS).backward()
            optimizer.step()
    observation = findings.observation
    assert observation.backward_count == 437 * losses and observation.step_count == 437
    assert len(observation.curve) == 437 * losses
    steps = [step for step, _ in observation.curve]
    assert steps == sorted(steps) and steps[-1] == 436


def test_a_number_that_is_not_finite_is_seen_at_its_step_in_a_quiet_run() -> None:
    with examine() as findings:
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for step in range(400):
            optimizer.zero_grad()
            factor = math.inf if step == 333 else 1.0
            (F.cross_entropy(net(INPUTS), LABELS) * factor).backward()
            optimizer.step()
    (finding,) = [entry for entry in findings if entry.code == "NW701"]
    assert finding.step == 333


def test_an_evaluation_after_a_quiet_run_is_seen() -> None:
    with examine() as findings:
        net = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 3))
        train(net, torch.optim.Adam(net.parameters(), lr=1e-3), 300)
        with torch.no_grad():
            (net(INPUTS).argmax(1) == LABELS).float().mean().item()
        train(net, torch.optim.Adam(net.parameters(), lr=1e-3), 5)
    assert "NW801" in findings.codes("error")


def test_set_grad_enabled_after_a_quiet_run_is_seen_if_the_program_uses_it() -> None:
    with examine() as findings:
        net = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _, training in itertools.product(range(2), (True, False)):
            with torch.set_grad_enabled(training):
                if training:
                    train(net, optimizer, 150)
                else:
                    (net(INPUTS).argmax(1) == LABELS).float().mean().item()
        train(net, optimizer, 5)
    assert "NW801" in findings.codes("error")


def test_an_exception_in_a_step_does_not_blind_the_watching() -> None:
    class Failing(torch.optim.SGD):
        fail = True

        def step(self, closure: object = None) -> None:  # type: ignore[override]
            if self.fail:
                raise OSError("once")
            super().step()

    with examine() as findings:
        net = nn.Sequential(nn.Linear(8, 3), nn.ReLU())
        optimizer = Failing(net.parameters(), lr=1e-2)
        for _ in range(6):
            try:
                train(net, optimizer, 1)
            except OSError:
                optimizer.fail = False
    assert "NW104" in findings.codes("error")


def test_dropout_of_another_library_may_be_told_the_mode_otherwise() -> None:
    class Dropout(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(x, 0.5, torch.is_grad_enabled())

    with examine() as findings:
        net = nn.Sequential(nn.Linear(8, 16), Dropout(), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        train(net, optimizer, 10)
        with torch.no_grad():
            (net(INPUTS).argmax(1) == LABELS).float().mean().item()
        train(net, optimizer, 5)
    assert "NW801" not in findings.codes()


@pytest.mark.parametrize(
    ("draw", "wanted"), [("import library", False), ("import random; random.random()", True)]
)
def test_random_numbers_that_a_library_draws_are_not_the_programs(
    tmp_path: Path, draw: str, wanted: bool
) -> None:
    script, told = tmp_path / "train.py", tmp_path / "told.json"
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "library.py").write_text("import random\nrandom.random()\n")
    script.write_text(
        f"import sys, torch\nsys.path.append({str(tmp_path / 'site-packages')!r})\n{draw}\nfrom torch import nn\ntorch.manual_seed(0)\nnet = nn.Linear(8, 3)\n"
        "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "for _ in range(5):\n    optimizer.zero_grad()\n"
        "    nn.functional.cross_entropy(net(torch.randn(8, 8)), torch.arange(8) % 3).backward()\n    optimizer.step()\n"
    )
    command = [sys.executable, "-m", "netwright"]
    subprocess.run([*command, "examine", "--json", str(told), str(script)], check=True, capture_output=True)
    codes = [finding["code"] for finding in json.loads(told.read_text())["findings"]]
    assert ("NW904" in codes) == wanted


def test_a_rule_whose_file_does_not_load_is_reported_as_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rules.importlib.import_module

    def fails(name: str, *args: object) -> types.ModuleType:
        if name.endswith("nw104_relu_on_logits"):
            raise SyntaxError("half an edit")
        return real(name)

    monkeypatch.setattr(rules.importlib, "import_module", fails)
    rules._load.cache_clear()
    try:
        judge = Judge()
        assert judge.not_run["NW104"] == "the rule does not load: SyntaxError: half an edit"
        assert len(judge.rules) > 50
        judge.moment("end", Observation())
        assert "NW104" in judge.not_run
    finally:
        monkeypatch.undo()
        rules._load.cache_clear()


def test_a_cell_of_a_notebook_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "/tmp/ipykernel_77/1234.py"
    shell = types.SimpleNamespace(compile=types.SimpleNamespace(_filename_map={name: 7}))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    text = (
        "net = nn.Sequential(nn.Linear(8, 3), nn.ReLU())\n"
        "train(net, torch.optim.SGD(net.parameters(), lr=0.1), 4)\n"
    )
    sys.modules["linecache"].cache[name] = (len(text), None, text.splitlines(True), name)
    with examine() as findings:
        exec(compile(text, name, "exec"), {"nn": nn, "torch": torch, "train": train})
    (finding,) = [entry for entry in findings if entry.code == "NW104"]
    assert (finding.file, finding.line) == ("cell 7", 1)
    assert "-net = nn.Sequential(nn.Linear(8, 3), nn.ReLU())" in finding.diff
    assert "NW104 error" in repr(findings)


def test_the_first_step_is_traced_after_an_evaluation() -> None:
    with examine() as findings:
        net = network()
        with torch.no_grad():
            nn.init.normal_(net[2].weight, std=8.0)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        net.eval()
        with torch.no_grad():
            for _ in range(6):
                F.cross_entropy(net(INPUTS), LABELS)
        net.train()
        train(net, optimizer)
    assert findings.codes("warning") == ["NW402"]


def test_an_optimizer_whose_closure_runs_after_gradients_were_dropped() -> None:
    net, optimizer = network(), None
    with examine() as findings:
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

        def closure() -> torch.Tensor:
            loss = F.cross_entropy(net(INPUTS), LABELS)
            optimizer.zero_grad()
            loss.backward()
            return loss

        for _ in range(8):
            for _ in range(40):
                optimizer.step(closure)
            net.zero_grad()
            net.eval()
            with torch.no_grad():
                (net(OTHERS).argmax(1) == LABELS).float().mean()
            net.train()
    assert {step.backwards for step in findings.observation.steps} == {0}
    assert findings.codes("error") == []


def test_a_closure_that_clears_nothing() -> None:
    with examine() as findings:
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)

        def closure() -> torch.Tensor:
            loss = F.cross_entropy(net(INPUTS), LABELS)
            loss.backward()
            return loss

        for _ in range(10):
            optimizer.step(closure)
    assert findings.codes("error") == ["NW601"]


def test_a_new_head_of_another_size_long_after_the_start() -> None:
    with examine() as findings:
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
        train(net, optimizer, 137)
        net[2] = nn.Linear(16, 5)
        train(net, optimizer, 20)
    assert findings.codes("error") == ["NW506"]


def test_the_trace_takes_no_optimizer_for_an_update_by_hand() -> None:
    with examine() as findings:
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
        for _ in range(4):
            train(net, optimizer, 17)
            net.eval()
            with torch.no_grad():
                (net(INPUTS).argmax(1) == LABELS).float().mean()
            net.train()
    assert not list(findings.observation.of_kind("manual_update"))


def test_a_long_run_without_an_optimizer_is_not_looked_at_for_ever() -> None:
    weight, inputs = torch.zeros(3, 1, requires_grad=True), torch.randn(16, 3)
    with examine() as findings:
        for _ in range(400):
            (inputs @ weight - 1).square().mean().backward()
            with torch.no_grad():
                weight -= 0.01 * weight.grad
                weight.grad = None
    observation = findings.observation
    assert observation.backward_count == 400
    assert len(observation.glances) <= 40
    assert torch._C._len_torch_function_stack() == 0
