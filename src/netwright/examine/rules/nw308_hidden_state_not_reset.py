"""NW308: recurrent state is carried from step to step with its graph, or between unrelated sequences."""

from __future__ import annotations

import linecache
import re
from bisect import bisect_right
from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Operand, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW308",
    slug="hidden-state-not-reset",
    level="warning",
    by="2",
    title="recurrent state is carried over to the next training step",
    what="A recurrent layer starts from the state that an earlier training step left, with the graph of that step behind it, or "
    "though the batches are shuffled and have nothing to do with each other.",
    why="With the graph, backward runs into steps that are already done: PyTorch stops with an error, or, with retain_graph, every step "
    "takes longer than the one before and mixes old weights in. Between unrelated sequences the state is noise that depends on the "
    "order.",
    fix="Start each sequence with a fresh state (pass none), or cut the graph with hidden = hidden.detach() where the sequence really "
    "goes on.",
    example="out, hidden = self.rnn(x, hidden)                  # wrong from the second step on\n"
    "out, hidden = self.rnn(x, hidden.detach())         # right if x continues the last batch\nout, _ = self.rnn(x)"
    "                               # right if it does not",
    limits="Needs the trace of the first steps. Silent on truncated back-propagation with detach over data that come in order.",
    explains=frozenset({"NW609", "NW606"}),
)
_LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    turns = _turns(observation)
    for op in observation.ops:
        if not _iteration(turns, op) or op.module < 0 or not op.grad:
            continue
        for number, operand in enumerate(op.inputs):
            made = observation.made(operand)
            if made is None or operand.parameter >= 0:
                continue
            if (
                operand.grad
                and made.grad
                and _iteration(turns, made) < _iteration(turns, op)
                and _backward_between(observation, made, op)
            ):
                if (op.name in _LAYERS and number) or _same_owner(observation, made, op):
                    yield _evidence(observation, op, made, "graph", turns)
                    return
            elif op.name in _LAYERS and number and not operand.grad and _shuffled(observation, op):
                old = _carried(observation, operand)
                if old is not None and _iteration(turns, old) < _iteration(turns, op):
                    yield _evidence(observation, op, old, "shuffled", turns)
                    return


def _turns(observation: Observation) -> list[int]:
    """Returns, of a program without an optimizer, the orders at which it began to change parameters itself after a backward."""
    if observation.step_count:
        return []
    changed = [event.order for event in observation.of_kind("manual_update")]
    backwards = [record.order for record in observation.backwards]
    ends: dict[int, int] = {}
    for order in changed:
        ends.setdefault(bisect_right(backwards, order), order)
    return sorted(order for number, order in ends.items() if number)


def _iteration(turns: list[int], op: Op) -> int:
    """Returns how many training steps were done before an operation."""
    return bisect_right(turns, op.order) if turns else op.step


def _backward_between(observation: Observation, made: Op, op: Op) -> bool:
    return any(made.order < record.order < op.order for record in observation.backwards)


def _same_owner(observation: Observation, made: Op, op: Op) -> bool:
    """Returns whether both operations are steps of the same module's own forward."""
    return made.module >= 0 and _owner(observation, made) == _owner(observation, op)


def _owner(observation: Observation, op: Op) -> tuple[int, str]:
    module = observation.modules[op.module]
    name = module.name.rpartition(".")[0] if module.torch and not module.children else module.name
    return module.root, name


def _carried(observation: Observation, operand: Operand) -> Op | None:
    """Returns the recurrent operation that left a state, behind detach and the like."""
    made = observation.made(operand)
    for _ in range(6):
        if made is None or made.name in _LAYERS:
            return made
        if made.name not in ("detach", "data", "clone", "contiguous", "getitem", "to") or not made.inputs:
            return None
        made = observation.made(made.inputs[0])
    return None


def _shuffled(observation: Observation, op: Op) -> bool:
    forward = next((entry for entry in reversed(observation.forwards) if entry.order < op.order), None)
    return (
        forward is not None
        and forward.loader >= 0
        and observation.loaders[forward.loader].sampler == "RandomSampler"
    )


def _evidence(observation: Observation, op: Op, made: Op, how: str, turns: list[int]) -> Evidence:
    graph = how == "graph"
    first, later = _iteration(turns, made), _iteration(turns, op)
    crash = observation.crash
    stopped = crash is not None and "backward through the graph a second time" in crash.message
    title = (
        f"the state of step {first} goes into step {later} with its graph"
        if graph
        else f"the state of step {first} goes into step {later}, though the batches are shuffled"
    )
    return evidence(
        observation,
        op.place if op.caller is None or _kept_inside(op.place) else op.caller,
        seen={"state_of_step": first, "used_in_step": later, "with_graph": graph},
        expected={"state_of_step": f"{later}, or detached and in order"},
        layer=op.module,
        step=later,
        title=title + ("; PyTorch stopped at it" if stopped and graph else ""),
        harm="measured" if stopped and graph else "likely",
    )


def _kept_inside(place: Place | None) -> bool:
    """Returns whether a line reads something of self that it does not call: the module keeps the state itself."""
    line = linecache.getline(place.file, place.line) if place is not None else ""
    return bool(re.search(r"\bself\.\w+(?!\w|\s*[.(])", line))


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
series = torch.randn(8, 61, 4).cumsum(1) / 5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 16, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x, hidden=None):
        out, hidden = self.rnn(x, hidden)
        return self.head(out), hidden


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
hidden = None
for start in range(0, 60, 10):
    prediction, hidden = network(series[:, start : start + 10], hidden)
    loss = F.mse_loss(prediction, series[:, start + 1 : start + 11])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    {after}
"""
bad = _PROGRAM.replace("{after}", "print(start, loss.item())")
good = _PROGRAM.replace("{after}", "hidden = None")
near_miss = _PROGRAM.replace("{after}", "hidden = hidden.detach()  # the series goes on")
