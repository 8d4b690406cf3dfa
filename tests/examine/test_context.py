"""The context manager: findings around a loop, suppression, and nothing left behind."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import netwright.examine
from netwright.examine import Observation, examine
from netwright.examine.judge import _attach
from netwright.finding import Finding


def train(network: nn.Module, steps: int = 4) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()


def test_findings_of_a_loop_with_line_and_layer() -> None:
    with netwright.examine() as findings:
        train(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    (finding,) = [entry for entry in findings if entry.level == "error"]
    assert (finding.code, finding.layer, finding.step) == ("NW104", "1", 0)
    assert Path(finding.file).name == "test_context.py"
    assert "nn.ReLU()" in Path(__file__).read_text().splitlines()[finding.line - 1]
    assert findings.steps == 4 and findings.exit_code() == 1 and findings.exit_code("never") == 0


def test_a_comment_silences_a_rule_on_its_line() -> None:
    with examine() as findings:
        train(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))  # netwright: allow relu-on-logits
    assert "NW104" not in findings.codes()
    with examine(allow=["relu-on-logits"]) as findings:
        train(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    assert "NW104" not in findings.codes()


def test_everything_is_put_back() -> None:
    from torch.nn.modules import module
    from torch.optim import optimizer

    def state() -> list[object]:
        return [
            torch.autograd.backward, torch.autograd.grad, nn.Module.__init__, nn.Module.train, nn.Module.zero_grad,
            torch.optim.Optimizer.__init__, torch.optim.Optimizer.zero_grad, torch.no_grad.__enter__, torch.manual_seed,
            torch.compile, nn.utils.clip_grad_norm_, torch.amp.GradScaler.step, torch.optim.lr_scheduler.LRScheduler.step,
            torch.utils.data.DataLoader.__iter__, F.cross_entropy, len(module._global_forward_hooks),
            len(module._global_forward_pre_hooks), len(optimizer._global_optimizer_pre_hooks),
            len(optimizer._global_optimizer_post_hooks), torch._C._len_torch_function_stack(),
        ]  # fmt: skip

    before = state()
    try:
        with examine():
            assert state() != before
            train(nn.Linear(4, 3), 30)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert state() == before


def test_a_mode_of_the_program_may_outlive_or_underlie_the_watching() -> None:
    with torch.device("cpu"), examine() as findings:
        network = nn.Linear(4, 3)
        with torch.device("meta"):
            train(network.to("cpu") if False else network, 0)
            assert torch.empty(1).device.type == "meta"
        assert torch.empty(1).device.type == "cpu"
        train(network, 6)
    assert findings.notes == [] and torch._C._len_torch_function_stack() == 0


def test_older_optimizers_count_if_they_hold_what_runs() -> None:
    stale = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    body, head = nn.Linear(4, 4), nn.Linear(4, 3)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (body, head)]
    with examine() as findings:
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
            F.cross_entropy(head(body(torch.randn(8, 4))), torch.randint(0, 3, (8,))).backward()
            for optimizer in optimizers:
                optimizer.step()
    assert len(findings.observation.optimizers) == 2 and stale is not None
    assert findings.codes("error") == []


def test_no_tensor_is_kept_alive() -> None:
    import gc
    import weakref

    with examine():
        network = nn.Linear(4, 3)
        inputs = torch.randn(8, 4)
        loss = F.cross_entropy(network(inputs), torch.zeros(8, dtype=torch.long))
        loss.backward()
        alive = [weakref.ref(inputs), weakref.ref(loss), weakref.ref(network)]
        del inputs, loss, network
        gc.collect()
        assert [entry() for entry in alive] == [None, None, None]


def test_a_failing_rule_and_a_failing_observation_do_not_reach_the_program(monkeypatch) -> None:
    from netwright.examine import measure, rules

    monkeypatch.setattr(measure, "dead_units", lambda output: 1 / 0)
    broken = rules.RuleFile(rules.find_rule("NW104").rule, lambda observation: 1 / 0, "", "", "")
    monkeypatch.setattr("netwright.examine.judge.load_rules", lambda: [broken])
    with examine() as findings:
        train(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    assert findings.not_run["NW104"] == "the rule failed: ZeroDivisionError: division by zero"
    assert any("a part of the observation failed" in note for note in findings.notes)


def finding(code: str, step: int = 0, level: str = "error") -> Finding:
    return Finding(code, code, level, "", "", 0, "", step, {}, {}, "", "", "", {})


def test_a_consequence_is_attached_to_its_cause() -> None:
    explains = {"A": {"B", "C"}, "B": {"D"}, "C": {"A"}}
    (kept,) = _attach([finding("A"), finding("B", 2, "warning"), finding("D", 3, "advice")], explains)
    assert (kept.code, kept.consequences) == ("A", ("B", "D"))
    # seen before its cause: no consequence; an error is not hidden below a warning
    assert len(_attach([finding("A", 5), finding("B", 2)], explains)) == 2
    assert len(_attach([finding("B", 0, "warning"), finding("D")], explains)) == 2


def test_an_observation_survives_json() -> None:
    with examine() as findings:
        train(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    entries = findings.observation.to_dict()
    assert Observation.from_dict(entries) == findings.observation
    assert entries["ops"] and entries["losses"] and entries["layers"]
